"""Resolves the argument of a lineage command: a path, `REV:PATH`, an oid or the start of one, a SHA-256, a run, any file on disk.

What is on disk comes first and is hashed as `add` would; then ids, runs, revisions, and tracked paths that are not in the workspace.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dvlite.errors import DvliteError, UsageError
from dvlite.formats import lockfile, manifest
from dvlite.formats.manifest import SYMLINK
from dvlite.formats.pointer import SUFFIX
from dvlite.lineage.context import LineageContext
from dvlite.lineage.provenance import Provenance, tracked_artefact
from dvlite.oid import FILE, MANIFEST, RUN, Oid, digest_bytes, format_oid, parse_oid
from dvlite.repo import ignore
from dvlite.repo.repository import Repo
from dvlite.repo.tracked_paths import Tracked
from dvlite.runs.filters import Filters
from dvlite.runs.names import find_run, is_run
from dvlite.runs.outputs import at_start
from dvlite.runs.queries import Artefact
from dvlite.show import quote, some, word
from dvlite.workspace.hashing import Snapshot, identify
from dvlite.workspace.path_args import guess
from dvlite.workspace.scan import scan
from dvlite.workspace.workspace import Workspace

_OID = re.compile(r"(blake3|manifest|run):[0-9a-f]{64}")
_SHA256 = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_SHA256_PREFIX = re.compile(r"sha256:([0-9a-f]{8,63})")
_PREFIX = re.compile(r"(?:(?:blake3|manifest):)?([0-9a-f]{8,63})")
_RUN = re.compile(r"(?:run:[0-9a-f]{4,64}|.+-[0-9a-f]{4,64})")
_MOST_LISTED = 4
_FILE_LIMIT_BYTES = 64 << 20  # of a file in git


@dataclass(frozen=True, slots=True)
class Target:
    """A run, or content; `nodes` is the listing of a folder hashed by this command. `size_bytes` is None if unknown."""

    text: str
    oid: Oid
    path: str = ""  # in the repository
    size_bytes: int | None = None
    files: int | None = None
    nodes: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def is_run(self) -> bool:
        return self.oid.startswith(RUN)

    def artefact(self) -> Artefact:
        """Returns the content as walks use it."""
        return Artefact(self.oid, self.path, self.size_bytes or 0, self.files or 1)


def find_target(text: str, provenance: Provenance) -> Target:
    """Returns what an argument names; raises UsageError if it names nothing or is ambiguous."""
    if _OID.fullmatch(text):
        return _by_oid(text, Oid(text), provenance)
    context = provenance.context
    if "\0" not in text and os.path.exists(_place(text, context.repo)):
        return _on_disk(text, context)
    target = _by_id(text, provenance) or _by_run(text, context)
    if target is None and context.repo is not None:
        target = _at_revision(text, context.repo, provenance) or _tracked(text, context.repo, provenance)
    if target is None and is_run(context.index, text):
        target = Target(text, find_run(context.index, text, context.relative))
    if target is None:
        hint = (
            "a path, REV:PATH, blake3:<64 hex>, 8 or more digits of one, sha256:<8 to 64 hex>, or a run (dvlite runs)"
        )
        if context.repo is not None and (inside := _inside(context.repo, text)):
            tracked = (item.path for item in context.repo.work_tree.tracked(broken=[]))
            hint = guess(inside, tracked, context.repo.display) + hint
        if context.index.find(Filters(stage=text, limit=1)):
            hint = f"it is a stage; its newest run: dvlite lineage {word(f'last:{text}')}"
        raise UsageError(f"{quote(text)} is not a known file, tracked path, object id or run", hint=hint)
    return target


# --- on disk ---


def _on_disk(text: str, context: LineageContext) -> Target:
    repo = context.repo
    path = os.path.realpath(_place(text, repo))
    inside = None if repo is None else _inside(repo, text)
    if repo is not None and os.path.isdir(path):
        _refuse_many(text, inside or "", path, repo)
    if repo is not None and inside:
        workspace = Workspace(repo, context.cache, context.progress)
        in_workspace = workspace.scan(inside)
        if in_workspace is not None and in_workspace.flags[:1] != bytes([SYMLINK]):
            return _hashed(text, inside, identify(in_workspace, workspace.stat_rows(inside), context.progress))
    scanned = scan(Path(path), text, None, ignore.BUILT_IN, context.progress)
    if scanned is None:
        raise UsageError(f"{quote(text)} does not exist any more", hint="give a path that exists")
    return _hashed(text, inside or "", identify(scanned, None, context.progress))


def _place(text: str, repo: Repo | None) -> str:
    """Returns a path on disk: in a repository it starts at its current folder, which need not be the process's."""
    return text if repo is None else os.path.join(repo.cwd, text)


def _refuse_many(text: str, inside: str, path: str, repo: Repo) -> None:
    """Raises UsageError for a folder that contains the repository or several tracked paths."""
    if repo.root.is_relative_to(path):
        raise UsageError(f"{quote(text)} contains the whole repository", hint="name a file or folder in it: dvlite ls")
    if not inside:
        return
    held = [item.path for item in repo.work_tree.tracked(broken=[]) if item.path.startswith(inside + "/")]
    if held:
        listed = some([quote(repo.display(path)) for path in held], 1)
        raise UsageError(
            f"{quote(text)} is not tracked as a whole, it contains {listed}",
            hint=f"name one of them: dvlite lineage {word(repo.display(held[0]))}",
        )


def _inside(repo: Repo, text: str) -> str | None:
    """Returns a path relative to the repository; None for one outside and for the root."""
    try:
        return repo.relative(text) or None
    except UsageError:
        return None


def _hashed(text: str, path: str, snapshot: Snapshot) -> Target:
    if snapshot.scan.paths == [b""]:
        return Target(text, format_oid(FILE, snapshot.digest(0)), path, snapshot.scan.sizes[0], 1)
    tree = manifest.build(snapshot.entries())
    oid = format_oid(MANIFEST, tree.root)
    return Target(text, oid, path, tree.size_bytes, tree.files, {bytes(name): data for name, data in tree.nodes})


# --- ids and runs ---


def _by_oid(text: str, oid: Oid, provenance: Provenance) -> Target:
    if oid.startswith(RUN):
        if provenance.context.index.run(oid) is None:
            raise UsageError(f"there is no run {oid[:12]} in {provenance.context.label}", hint="list them: dvlite runs")
        return Target(text, oid)
    artefact = provenance.named(oid)
    if artefact is not None:
        return Target(text, oid, artefact.path, artefact.size_bytes, artefact.files)
    amount = provenance.queries.amount(oid)
    return Target(text, oid) if amount is None else Target(text, oid, "", *amount)


def _by_id(text: str, provenance: Provenance) -> Target | None:
    index, lower = provenance.context.index, text.lower()
    whole, start = _SHA256.fullmatch(lower), _PREFIX.fullmatch(lower)
    sha256 = whole or _SHA256_PREFIX.fullmatch(lower)
    if sha256 is not None:
        is_plain = not lower.startswith("sha256:")  # may be a BLAKE3 too
        oids = [*(_starting(sha256[1], provenance) if is_plain else ()), *index.by_sha256(sha256[1])]
        if not oids:
            raise _no_sha256(sha256[1], provenance.context)
    elif start is not None:
        oids = _starting(start[1], provenance)
    else:
        return None
    kind = lower.partition(":")[0] if ":" in lower else ""
    if kind in (FILE, MANIFEST):
        oids = [oid for oid in oids if oid.startswith(kind)]
    oids = list(dict.fromkeys(oids))
    if len(oids) > 1:
        names = some(oids, _MOST_LISTED)
        raise UsageError(f"{quote(text)} may mean {len(oids)} things: {names}", hint="give more digits")
    return _by_oid(text, oids[0], provenance) if oids else None


def _no_sha256(digits: str, context: LineageContext) -> DvliteError:
    return DvliteError(
        f"no run in {context.label} made content with the sha256 {digits[:8]} ({context.searched()})",
        hint="give the file itself, or its blake3: that finds content recorded without a sha256",
    )


def _starting(digits: str, provenance: Provenance) -> list[Oid]:
    index = provenance.context.index
    return [*index.objects(digits), *provenance.pointers_starting(digits)] or index.named(f"run:{digits}")


def _by_run(text: str, context: LineageContext) -> Target | None:
    if text == "last" or (_RUN.fullmatch(text) and is_run(context.index, text)):
        return Target(text, find_run(context.index, text, context.relative))
    if text.startswith("last:"):  # or an output of it
        with contextlib.suppress(UsageError):
            return Target(text, find_run(context.index, text, context.relative))
    return None


# --- in git ---


def _at_revision(text: str, repo: Repo, provenance: Provenance) -> Target | None:
    revision, colon, name = text.partition(":")
    if not colon or not revision or "//" in name[:2]:
        return None
    try:
        at = repo.at(revision)
    except UsageError:
        return _at_run(text, repo, provenance)
    path = repo.relative(name or ".")
    target = _tracked_at(text, path, at.tracked(), provenance)
    if target is not None:
        return target
    for lockfile_path in at.lockfiles():
        target = _locked(text, path, lockfile_path, at.read(lockfile_path, lockfile.LIMIT_BYTES) or b"")
        if target is not None:
            return target
    content = at.read(path, _FILE_LIMIT_BYTES)
    if content is None:
        raise UsageError(
            f"{quote(path)} is not tracked at {quote(revision)}", hint=f"list paths: dvlite ls --rev {word(revision)}"
        )
    return Target(text, format_oid(FILE, digest_bytes(content)), path, len(content), 1)


def _at_run(text: str, repo: Repo, provenance: Provenance) -> Target | None:
    """Returns the run that `TAG:STAGE` means, else what `RUN:PATH` does. Raises UsageError if the first part names nothing."""
    context = provenance.context
    try:
        return Target(text, find_run(context.index, text, context.relative))
    except UsageError:
        tag, _, stage = text.partition(":")
        if context.index.find(Filters(tags=(tag,), stage=stage, limit=1)):
            raise  # several runs of that stage
    found = at_start(repo, text, context.progress, in_git=True)
    return None if found is None else _tracked_at(text, repo.relative(found[1] or "."), found[0].tracked, provenance)


def _tracked(text: str, repo: Repo, provenance: Provenance) -> Target | None:
    path = _inside(repo, text)
    tracked = repo.work_tree.tracked(broken=[])
    return None if path is None else _tracked_at(text, path.removesuffix(SUFFIX), tracked, provenance)


def _tracked_at(text: str, path: str, tracked: Sequence[Tracked], provenance: Provenance) -> Target | None:
    """Returns what is tracked at a path, or the content of a tracked directory there."""
    for item in tracked:
        if item.path == path:
            return Target(text, item.pointer.oid, path, item.pointer.size_bytes, item.pointer.files)
        if path.startswith(item.path + "/"):
            inner = path[len(item.path) + 1 :]
            entry = provenance.listings.entry(tracked_artefact(item.path, item.pointer), inner)
            if entry is None:
                raise UsageError(
                    f"nothing in {quote(item.path)} is named {quote(inner)}",
                    hint=f"list its files: dvlite ls -R {word(item.path)}",
                )
            return Target(text, entry.oid, path, entry.size_bytes, entry.files)
    return None


def _locked(text: str, path: str, lockfile_path: str, data: bytes) -> Target | None:
    """Returns an output that a lockfile names and git keeps."""
    folder = posixpath.dirname(lockfile_path)
    for stage in lockfile.parse(data, lockfile_path).stages:
        for item in stage.outs:
            if posixpath.normpath(posixpath.join(folder, item.path)) == path:
                return Target(text, item.oid, path, item.size_bytes, item.files)
    return None


def short_name(oid: Oid) -> str:
    """Returns an oid as messages show it: `blake3:11aa03fe`."""
    kind, digest = parse_oid(oid)
    return f"{kind}:{digest.hex()[:8]}"
