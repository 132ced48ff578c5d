"""What is meant by a word in a question about lineage: a path, `REV:PATH`, an oid or the start of one, a SHA-256, a run, any file on disk.

What lies on disk comes first and is hashed as `add` would; then ids, runs, revisions, and tracked paths that are not in the workspace.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dvlite.errors import DvliteError, UsageError
from dvlite.files import quote
from dvlite.formats import lockfile, manifest
from dvlite.formats.manifest import SYMLINK
from dvlite.formats.pointer import SUFFIX
from dvlite.lineage.context import Context
from dvlite.lineage.provenance import Sources, thing_of
from dvlite.oid import FILE, MANIFEST, RUN, Oid, digest_bytes, format_oid, parse_oid
from dvlite.repo import ignore
from dvlite.repo.repository import Repo
from dvlite.repo.tracked_paths import Tracked
from dvlite.runs.filters import Filters
from dvlite.runs.names import chosen
from dvlite.runs.queries import Node
from dvlite.show import some
from dvlite.workspace.hashing import Snapshot, identify
from dvlite.workspace.scan import scan
from dvlite.workspace.workspace import Workspace

_OID = re.compile(r"(blake3|manifest|run):[0-9a-f]{64}")
_SHA256 = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_SHA256_PREFIX = re.compile(r"sha256:([0-9a-f]{8,63})")
_PREFIX = re.compile(r"(?:(?:blake3|manifest):)?([0-9a-f]{8,63})")
_RUN = re.compile(r"(?:run:[0-9a-f]{4,64}|.+-[0-9a-f]{4,64})")
_NAMED = 4
_FILE_LIMIT_BYTES = 64 << 20  # of a file that git keeps


@dataclass(frozen=True, slots=True)
class Subject:
    """What is meant: a run, or content; `nodes` is the listing of a folder that was hashed here. `size_bytes` None: nobody knows."""

    text: str
    oid: Oid
    path: str = ""  # in the repository
    size_bytes: int | None = None
    files: int | None = None
    nodes: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def is_run(self) -> bool:
        return self.oid.startswith(RUN)

    def thing(self) -> Node:
        """Returns the content as walks know it; a path is known only where the repository gave it."""
        return Node(self.oid, self.path, self.size_bytes or 0, self.files or 1)


def subject_of(text: str, world: Context, sources: Sources) -> Subject:
    """Returns what a word means; raises UsageError if it means nothing or several things."""
    if _OID.fullmatch(text):
        return _by_oid(text, Oid(text), world, sources)
    if "\0" not in text and os.path.exists(text):
        return _on_disk(text, world)
    found = _by_id(text, world, sources) or _by_run(text, world)
    if found is None and world.repo is not None:
        found = _at_revision(text, world.repo, sources) or _tracked(text, world.repo, sources)
    if found is None:
        hint = (
            "a path, REV:PATH, blake3:<64 hex>, 8 or more digits of one, sha256:<8 to 64 hex>, or a run (dvlite runs)"
        )
        if world.index.find(Filters(stage=text, limit=1)):
            hint = f"it is a stage; its newest run: dvlite lineage last:{text}"
        raise UsageError(f"{quote(text)} is no file, tracked path, object id or run that is known here", hint=hint)
    return found


# --- on disk ---


def _on_disk(text: str, world: Context) -> Subject:
    path = os.path.realpath(text)
    repo = world.repo
    inside = None if repo is None else _inside(repo, text)
    if repo is not None and os.path.isdir(path):
        _refuse_many(text, inside or "", path, repo)
    if repo is not None and inside:
        work = Workspace(repo, world.cache, world.progress)
        found = work.scan(inside)
        if found is not None and found.flags[:1] != bytes([SYMLINK]):
            return _hashed(text, inside, identify(found, work.stat_rows(inside), work.progress))
    raw = scan(Path(path), text, lambda _inner, _folder: False, ignore.BUILT_IN, world.progress)
    if raw is None:
        raise UsageError(f"{quote(text)} is gone", hint="give a path that exists")
    return _hashed(text, inside or "", identify(raw, None, world.progress))


def _refuse_many(text: str, inside: str, path: str, repo: Repo) -> None:
    """Raises UsageError for a folder that is not one thing: it holds the repository, or tracked paths."""
    if repo.root.is_relative_to(path):
        raise UsageError(f"{quote(text)} holds the whole repository", hint="ask of something in it: dvlite ls")
    if not inside:
        return
    held = [item.path for item in repo.work_tree.tracked(broken=[]) if item.path.startswith(inside + "/")]
    if held:
        listed = some([quote(repo.display(path)) for path in held], 1)
        raise UsageError(
            f"{quote(text)} is not tracked as a whole, it holds {listed}",
            hint=f"ask of one of them: dvlite lineage {quote(repo.display(held[0]))}",
        )


def _inside(repo: Repo, text: str) -> str | None:
    """Returns a path relative to the repository, None for one outside; the whole repository is not content."""
    try:
        return repo.relative(text) or None
    except UsageError:
        return None


def _hashed(text: str, path: str, have: Snapshot) -> Subject:
    if have.scan.paths == [b""]:
        return Subject(text, format_oid(FILE, have.digest(0)), path, have.scan.sizes[0], 1)
    tree = manifest.build(have.entries())
    oid = format_oid(MANIFEST, tree.root)
    return Subject(text, oid, path, tree.size_bytes, tree.files, {bytes(name): data for name, data in tree.nodes})


# --- ids and runs ---


def _by_oid(text: str, oid: Oid, world: Context, sources: Sources) -> Subject:
    if oid.startswith(RUN):
        if world.index.run(oid) is None:
            raise UsageError(f"there is no run {oid[:12]} in {world.label}", hint="see which there are: dvlite runs")
        return Subject(text, oid)
    return _with_size(Subject(text, oid), sources)


def _with_size(subject: Subject, sources: Sources) -> Subject:
    """Fills in how large content is, and what the repository calls it, from whoever names it."""
    thing = sources.named(subject.oid)
    if thing is not None:
        return replace(subject, path=thing.path, size_bytes=thing.size_bytes, files=thing.files)
    amount = sources.lookups.amount(subject.oid)
    return subject if amount is None else replace(subject, size_bytes=amount[0], files=amount[1])


def _by_id(text: str, world: Context, sources: Sources) -> Subject | None:
    lower = text.lower()
    whole, start = _SHA256.fullmatch(lower), _PREFIX.fullmatch(lower)
    if whole is not None:
        digits = whole[1]
        found = [] if lower.startswith("sha256:") else _starting(digits, world, sources)
        found += world.index.by_sha256(digits)
        if not found:
            raise _no_sha256(digits, world)
    elif (short := _SHA256_PREFIX.fullmatch(lower)) is not None:
        found = world.index.by_sha256(short[1])
        if not found:
            raise _no_sha256(short[1], world)
    elif start is not None:
        found = _starting(start[1], world, sources)
    else:
        return None
    kind = lower.partition(":")[0] if ":" in lower else ""
    if kind in (FILE, MANIFEST):
        found = [oid for oid in found if oid.startswith(kind)]
    return _only(text, list(dict.fromkeys(found)), world, sources)


def _no_sha256(digits: str, world: Context) -> DvliteError:
    runs = f"{world.count_runs():,} {'run' if world.count_runs() == 1 else 'runs'} searched"
    return DvliteError(
        f"no run in {world.label} made content with the sha256 {digits[:8]} ({runs})",
        hint="give the file itself, or its blake3: what was not recorded with a sha256 is found by it",
    )


def _starting(digits: str, world: Context, sources: Sources) -> list[Oid]:
    known = [*world.index.objects(digits), *sources.pointers_starting(digits)]
    return known or world.index.named(f"run:{digits}")


def _only(text: str, found: Sequence[Oid], world: Context, sources: Sources) -> Subject | None:
    if not found:
        return None
    if len(found) > 1:
        names = ", ".join(found[:_NAMED]) + (", ..." if len(found) > _NAMED else "")
        raise UsageError(f"{quote(text)} may mean {len(found)} things: {names}", hint="give more digits")
    return _by_oid(text, found[0], world, sources)


def _by_run(text: str, world: Context) -> Subject | None:
    if text == "last" or text.startswith("last:") or (_RUN.fullmatch(text) and world.index.named(text)):
        return Subject(text, chosen(world.index, text))
    return None


# --- what git names ---


def _at_revision(text: str, repo: Repo, sources: Sources) -> Subject | None:
    revision, colon, name = text.partition(":")
    if not colon or not revision or "//" in name[:2]:
        return None
    at = repo.at(revision)
    path = repo.relative(name or ".")
    found = _named(text, path, at.tracked(), sources)
    if found is not None:
        return found
    for where in at.lockfiles():
        found = _locked(text, path, where, at.read(where, lockfile.LIMIT_BYTES) or b"")
        if found is not None:
            return found
    kept = at.read(path, _FILE_LIMIT_BYTES)
    if kept is None:
        raise UsageError(
            f"{quote(path)} is not tracked at {quote(revision)}", hint=f"see what is: dvlite ls {revision}:"
        )
    return Subject(text, format_oid(FILE, digest_bytes(kept)), path, len(kept), 1)


def _tracked(text: str, repo: Repo, sources: Sources) -> Subject | None:
    path = _inside(repo, text)
    return None if path is None else _named(text, path.removesuffix(SUFFIX), repo.work_tree.tracked(broken=[]), sources)


def _named(text: str, path: str, tracked: Sequence[Tracked], sources: Sources) -> Subject | None:
    """Returns what is tracked at a path, or what a tracked directory has there."""
    for item in tracked:
        if item.path == path:
            known = item.pointer
            return Subject(text, known.oid, path, known.size_bytes, known.files)
        if path.startswith(item.path + "/"):
            inner = path[len(item.path) + 1 :]
            found = sources.listings.entry(thing_of(item.path, item.pointer), inner)
            if found is None:
                raise UsageError(
                    f"nothing in {quote(item.path)} is named {quote(inner)}",
                    hint=f"see what is there: dvlite ls -R {item.path}",
                )
            return Subject(text, found.oid, path, found.size_bytes, found.files)
    return None


def _locked(text: str, path: str, where: str, data: bytes) -> Subject | None:
    """Returns an output that a lockfile names and git keeps."""
    folder = where.rpartition("/")[0]
    for stage in lockfile.parse(data, where).stages:
        for item in stage.outs:
            if os.path.normpath(os.path.join(folder, item.path)) == path:
                return Subject(text, item.oid, path, item.size_bytes, item.files)
    return None


def short_name(oid: Oid) -> str:
    """Returns an oid as messages show it: `blake3:11aa03fe`."""
    kind, digest = parse_oid(oid)
    return f"{kind}:{digest.hex()[:8]}"
