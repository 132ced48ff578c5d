"""`dvlite get`: copies data out of a repository, near or far, without a clone or a checkout."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, ClassVar

from dvlite import files
from dvlite.errors import Dropped, DvliteError, NotARepository, ObjectCorrupt, ObjectMissing, UsageError
from dvlite.files import read_regular, write_atomic
from dvlite.formats import manifest, pointer
from dvlite.formats.manifest import EMPTY_DIR, EXECUTABLE, FILE, SYMLINK, Entries, Entry
from dvlite.formats.pointer import SUFFIX, Pointer
from dvlite.formats.snapshot import Version
from dvlite.git.discover import GitPlaces
from dvlite.git.output import TreeEntry, is_lockfile, is_pointer
from dvlite.git.program import Git, clone_silently, without_credentials
from dvlite.lineage.context import open_place
from dvlite.oid import FILE as FILE_OID
from dvlite.oid import MANIFEST, digest_bytes, format_oid
from dvlite.paths import is_inside, overlap
from dvlite.progress import Progress
from dvlite.repo import config_files
from dvlite.repo.open_stores import open_remote, plain_cache
from dvlite.repo.remotes import configured
from dvlite.repo.repository import Repo, open_cache, open_repo
from dvlite.repo.tracked_paths import Tracked
from dvlite.runs.outputs import at_start, at_word
from dvlite.share.fetch_plan import unfetched
from dvlite.share.needs import dropped_by
from dvlite.show import Show, quote, some, word
from dvlite.store import snapshots
from dvlite.store.cache import Cache
from dvlite.store.cache_writer import Writer
from dvlite.store.catalog import Catalog
from dvlite.store.pack import KIND_FILE
from dvlite.store.url import FOLDER, parse_url
from dvlite.workspace import export, sparse
from dvlite.workspace.fetch import FetchRequest, fetch_versions
from dvlite.workspace.purged import PurgedFile, failure_of, purged_in, without
from dvlite.workspace.workspace import entries_of

_LINK = "120000"
_FLAGS = {"100644": FILE, "100755": FILE | EXECUTABLE, _LINK: SYMLINK}  # by the modes of git; the rest is no file
_GIT_LIMIT_BYTES = 1 << 30
_CONFIG_LIMIT_BYTES = pointer.LIMIT_BYTES
_MOST_LINKS = 40  # followed from a symlink to a file, as the kernel does
_GLOB = re.compile(r"([*?\[])")


@dataclass(frozen=True, slots=True, kw_only=True)
class GetResult:
    """Data copied out of a repository without a checkout."""

    schema: ClassVar[str] = "dvlite.get/1"
    source: str
    path: str
    revision: str  # full commit id, or "" for a folder without one
    output: str  # as given by the user; "-" is standard output
    oid: str
    files: int
    size_bytes: int
    purged: tuple[PurgedFile, ...] = ()  # removed for good: not written
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    def failure(self, show: Show) -> DvliteError | None:
        """Returns what was not copied, because it was purged."""
        return failure_of(self.purged, show)


@dataclass(frozen=True, slots=True)
class _Source:
    """An opened repository, what it tracks, and what of it is meant. `commit` is empty for the pointers on disk."""

    repo: Repo | None
    cache: Cache
    tracked: Sequence[Tracked]
    path: str  # relative to the root
    commit: str = ""
    far: bool = False
    catalog: Catalog | None = None  # of the remote itself, without a repository
    remote: str | None = None  # of the repository, to fetch from; None: the default one
    of_run: bool = False  # `tracked` are the outputs of a run, and nothing else is there


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is written: its entries (one without a path for a file), and its oid if it has one."""

    entries: Entries
    oid: str


def get(
    source: str,
    path: str | None = None,
    *,
    revision: str | None = None,
    output: str | BinaryIO | None = None,
    environ: Mapping[str, str],
    jobs: int | None = None,
    remote: str | None = None,
    progress: Progress,
) -> GetResult:
    """Copies `[REV:]path` (a tracked path, one inside, a file of git, a folder above them) out of a git URL or a local repository.

    With a `remote` that is a place, `source` is SNAPSHOT[:PATH] there; else `remote` names the one of the repository to fetch from. Without
    `path`, `source` is a pointer file, or a path in the repository here. Of a URL the default branch counts, of a local repository
    what is on disk. Nothing that exists is overwritten; a stream gets the bytes of one file after they were verified. Raises Untrusted,
    ObjectMissing and ObjectCorrupt.
    """
    started = time.monotonic()
    where, stream = (output, None) if output is None or isinstance(output, str) else (None, output)
    if remote is not None and any(mark in remote for mark in "/:.~"):
        if path is not None or revision is not None:
            raise UsageError("a place takes one SNAPSHOT[:PATH]", hint="dvlite get --remote URL SNAPSHOT:PATH")
        opening = _snapshot(remote, source, environ, progress)
    else:
        is_version = os.path.isfile(source) and source.endswith(SUFFIX)
        if path is None and not is_version and "://" not in source and not _is_repository(Path(source)):
            source, path = ".", source
        opening = _opened(source, path, revision, environ, progress)
    with opening as found:
        if remote is not None and found.repo is not None:
            configured(found.repo.config, remote)
        opened = replace(found, remote=remote if found.repo is not None else None)
        target = _target(where, opened.path) if stream is None else None
        if target is not None:
            export.refuse_existing(target)
        wanted, gone = _bring(opened, jobs, progress)
        damaged = _write(wanted, opened.cache, target, stream, progress)
        if damaged:
            for digest, _ in damaged:
                opened.cache.discard(digest)
            try:
                wanted, gone = _bring(opened, jobs, progress)
            except (ObjectMissing, UsageError):  # there is no other copy
                raise damaged[0][1] from None
            damaged = _write(wanted, opened.cache, target, stream, progress)
        if damaged:
            raise damaged[0][1]
    return GetResult(
        source=source,
        path=opened.path if path is not None else "",
        revision=opened.commit,
        output="-" if target is None else os.path.relpath(target) if where is None else str(target),
        oid=wanted.oid,
        files=len(wanted.entries) - wanted.entries.flags.count(EMPTY_DIR),
        size_bytes=sum(wanted.entries.sizes),
        purged=gone,
        elapsed_seconds=time.monotonic() - started,
    )


def _target(output: str | None, path: str) -> Path:
    """Returns what is written: `output`, or the name of what is got in the folder that it names (the current one without it)."""
    name = path.rpartition("/")[2]
    folder = output is None or output.endswith("/") or os.path.isdir(output)
    if folder and not name:
        raise UsageError("the whole repository needs a name", hint="give it one: -o NAME")
    return Path(os.path.normpath(os.path.join(output or ".", name) if folder else str(output))).absolute()


def _write(
    wanted: _Wanted, cache: Cache, target: Path | None, stream: BinaryIO | None, progress: Progress
) -> export.Damaged:
    if target is not None:
        return export.to_path(wanted.entries, cache, target, progress)
    assert stream is not None
    if wanted.entries.paths != [b""]:
        raise UsageError(
            "only a single file can go to standard output, this is a folder", hint="give it a name: -o OUT"
        )
    return export.to_stream(wanted.entries[0], cache, stream.write)


# --- opening ---


@contextlib.contextmanager
def _snapshot(url: str, name: str, environ: Mapping[str, str], progress: Progress) -> Iterator[_Source]:
    """Opens a snapshot on a remote as if it were a repository. Raises UsageError for a path that has several versions in it."""
    digits, _, path = name.partition(":")
    path = "" if path in ("", ".") else os.path.normpath(path)
    with open_place(url, environ) as remote:
        remote.cache.create()
        progress.start(f"looking at {remote.store.label}")
        catalog = Catalog(remote, progress, to_read=True).look()
        digest = snapshots.chosen(remote, digits)
        versions = [item for item in snapshots.versions(catalog, digest) if overlap(item.path, path) or not path]
        progress.finish()
        if len({item.path for item in versions}) < len(versions):
            raise UsageError(
                f"{quote(path or '.')} has several versions in the snapshot {digits}",
                hint="choose a path or a snapshot that has one: dvlite ls --remote URL SNAPSHOT",
            )
        tracked = [Tracked(item.path, _pointer_of(item)) for item in versions]
        yield _Source(None, remote.cache, tracked, path, digest.hex(), catalog=catalog)


def _pointer_of(version: Version) -> Pointer:
    kind = "directory" if version.kind == MANIFEST else "file"
    return Pointer(kind, version.digest, version.size_bytes, executable=version.executable)


@contextlib.contextmanager
def _opened(
    source: str, path: str | None, revision: str | None, environ: Mapping[str, str], progress: Progress
) -> Iterator[_Source]:
    """Opens what `source` names; a far repository is cloned as briefly as its server allows, and gone afterwards."""
    if os.path.isfile(source) and source.endswith(SUFFIX):
        if path is not None or revision is not None:
            raise UsageError("a pointer file is a version already", hint=f"dvlite get {word(source)} -o OUT")
        yield _pointer_file(source, environ)
        return
    if path is None:
        raise UsageError(
            "say which path of it to get", hint=f"dvlite get {word(source)} PATH   (what is there: dvlite ls)"
        )
    if os.path.isdir(source) and not _is_bare(Path(source)):
        yield _near(Path(source), path, revision, environ, progress)
        return
    rev, colon, inner = path.partition(":")
    if colon and revision is None:
        revision, path = rev, inner
    if not os.path.exists(source) and "://" not in source and ":" not in source:
        raise UsageError(f"cannot find {quote(source)}", hint="give a git URL, or the folder of a repository")
    with tempfile.TemporaryDirectory(prefix="dvlite-") as folder:
        progress.start(f"reading {source}")
        opened = _far(source, path, revision, Path(folder) / "clone", environ)
        progress.finish()
        yield opened


def _pointer_file(source: str, environ: Mapping[str, str]) -> _Source:
    """Opens the repository that a pointer file lies in; for one that dvlite saved, that of the current folder."""
    data = read_regular(Path(source), source, pointer.LIMIT_BYTES + 1)
    version = pointer.parse(data or b"", source)
    try:
        repo = open_repo(Path(source).parent, environ)
    except NotARepository:
        repo = open_repo(Path(), environ)
    name = os.path.basename(source).removesuffix(SUFFIX)
    return _Source(repo, open_cache(repo), [Tracked(name, version)], name)


def _near(folder: Path, path: str, revision: str | None, environ: Mapping[str, str], progress: Progress) -> _Source:
    repo = open_repo(folder, environ)
    if revision is not None:
        at, inner = at_word(repo, revision, progress, in_git=True), path
    else:
        found = at_start(repo, path, progress, in_git=True)
        if found is None:
            return _Source(repo, open_cache(repo), repo.work_tree.tracked(), repo.relative(path))
        at, inner = found
    place = repo.relative(inner or ".")
    return _Source(repo, open_cache(repo), at.tracked, place, at.commit, of_run=not at.commit)


def _far(url: str, path: str, revision: str | None, target: Path, environ: Mapping[str, str]) -> _Source:
    """Reads config and pointers of a commit, nothing else; its config is that of a stranger, as in any clone."""
    git, commit = _clone_briefly(url, target, environ, revision, os.path.normpath(path or "."))
    config = git.read_file(commit, config_files.COMMITTED_FILE, limit_bytes=_CONFIG_LIMIT_BYTES)
    if config is None:
        raise NotARepository(
            f"{quote(url)} does not use dvlite at {commit[:8]}", hint="choose a revision that does: --rev R"
        )
    (target / config_files.FOLDER).mkdir()
    write_atomic(target / config_files.COMMITTED_FILE, config, sync=False)
    repo = open_repo(target, environ)
    return _Source(
        repo, _own_cache(repo, environ, target), repo.at(commit).tracked(), repo.relative(path), commit, far=True
    )


def _clone_briefly(
    url: str, target: Path, environ: Mapping[str, str], revision: str | None, path: str
) -> tuple[Git, str]:
    """Clones as little as the server allows and returns the commit that is meant: one commit for a branch, a tag or nothing.

    For any other revision it is the history. Files too large for a pointer are not fetched, but for lockfiles and what is at `path`: git
    fetches these as soon as their size is queried.
    """
    near = os.path.isdir(url)  # git ignores such options for a folder, and says so
    small = [] if near else [f"--filter=blob:limit={pointer.LIMIT_BYTES + 1}"]
    one = small if near else [*small, "--depth=1"]
    names = ["HEAD"]
    try:
        clone_silently(url, target, environ, one if revision is None else [*one, f"--branch={revision}"])
    except DvliteError:
        if revision is None:
            raise
        names = [revision, f"origin/{revision}"]
        shutil.rmtree(target, ignore_errors=True)
        clone_silently(url, target, environ, small)
    git = Git(GitPlaces(target, target / ".git", target / ".git"), environ)
    commit = next(filter(None, (_resolved(git, name) for name in names)), None)
    if commit is not None:
        large = [blob for name, blob in git.pointer_blobs(commit).items() if is_lockfile(name)]
        large += [entry.blob for entry in _listed(git, commit, "" if path == "." else path)]
        git.run("cat-file", "--batch-check", stdin="".join(f"{blob}\n" for blob in large).encode(), check=False)
    for key in ("remote.origin.promisor", "remote.origin.partialclonefilter", "extensions.partialClone"):
        git.run("config", "--local", "--unset-all", key, check=False)
    if commit is not None:
        return git, commit
    which = "" if revision is None else f" {quote(revision)}"
    raise UsageError(
        f"{quote(without_credentials(url))} has no commit{which}", hint="see what it has: git ls-remote URL"
    )


def _resolved(git: Git, name: str) -> str | None:
    with contextlib.suppress(UsageError):
        return git.resolve(name)
    return None


def _own_cache(repo: Repo, environ: Mapping[str, str], temporary: Path) -> Cache:
    """Returns the user's cache for what belongs to no clone: `cache.dir` if it is set, else in this platform's place for caches."""
    chosen = repo.config.cache_dir
    if chosen is not None:
        if repo.config.settings["cache.dir"].source != "DVLITE_CACHE_DIR":
            return open_cache(repo)
        return plain_cache(Path(os.path.abspath(os.path.expanduser(chosen))))
    return plain_cache(config_files.own_cache_folder(environ) or temporary / "cache")


def _is_repository(folder: Path) -> bool:
    return files.is_there(folder / ".git") or _is_bare(folder)


def _is_bare(folder: Path) -> bool:
    return not (folder / ".git").exists() and (folder / "HEAD").is_file() and (folder / "objects").is_dir()


# --- choosing and fetching ---


def _bring(opened: _Source, jobs: int | None, progress: Progress) -> tuple[_Wanted, tuple[PurgedFile, ...]]:
    """Returns what is meant by the path, with all of its bytes in the cache, and what of it was purged. Raises Purged if that is all."""
    whole = _whole(opened, jobs, progress)
    gone = purged_in(opened.cache, opened.path, whole.entries)
    failure = failure_of(gone.values()) if len(gone) == len(whole.entries) else None
    if failure is not None:
        raise failure
    return (_Wanted(without(whole.entries, gone), whole.oid) if gone else whole), tuple(gone.values())


def _whole(opened: _Source, jobs: int | None, progress: Progress) -> _Wanted:
    chosen: list[tuple[Tracked, str]] = []
    for item in opened.tracked:
        if is_inside(item.path, opened.path):
            chosen.append((item, ""))
        elif opened.path.startswith(item.path + "/"):
            chosen.append((item, opened.path[len(item.path) + 1 :]))
    if len(chosen) == 1 and chosen[0][0].path == opened.path:
        item = chosen[0][0]
        _fetch(opened, [FetchRequest(item.path, item.pointer, commit=opened.commit)], jobs, progress)
        return _Wanted(entries_of(item.pointer, opened.cache), item.pointer.oid)
    if chosen and chosen[0][1]:
        return _inside(opened, *chosen[0], jobs, progress)
    kept = _kept_by_git(opened)
    if not chosen and not kept:
        raise UsageError(f"there is no {quote(opened.path)} there", hint="see what is tracked: dvlite ls, in a clone")
    _fetch(opened, [FetchRequest(item.path, item.pointer, commit=opened.commit) for item, _ in chosen], jobs, progress)
    above = len(opened.path) + 1 if opened.path else 0
    rows: list[Entry] = []
    for item, _ in chosen:
        name = os.fsencode(item.path[above:])
        entries = entries_of(item.pointer, opened.cache)
        rows += [_moved(entries[i], name + b"/" + path if path else name) for i, path in enumerate(entries.paths)]
    rows += kept
    return _Wanted(manifest.from_entries(sorted(rows, key=lambda row: row.path)), "")


def _kept_by_git(opened: _Source) -> list[Entry]:
    """Returns the files that git keeps at the path or below it, but for pointers and git's own; their bytes go into the cache."""
    repo, above = opened.repo, len(opened.path) + 1 if opened.path else 0
    if repo is None or opened.of_run:
        return []
    if opened.commit:
        listed = _listed(repo.git, opened.commit, opened.path)
        contents = repo.git.read_blobs([entry.blob for entry in listed], limit_bytes=_GIT_LIMIT_BYTES)
        found = [(entry.path, entry.mode, contents[entry.blob]) for entry in listed]
    else:
        names = [name for name in repo.git.tracked_under([opened.path or "."]) if _is_wanted(name, opened.path)]
        found = [(name, *content) for name in names if (content := _on_disk(repo.root / name)) is not None]
    rows = []
    with Writer(opened.cache) as writer, tempfile.TemporaryFile() as file:
        for name, mode, data in found:
            digest = digest_bytes(data)
            if len(data) > opened.cache.pack_below_bytes:
                files.write_at(file.fileno(), data, 0)
                os.ftruncate(file.fileno(), len(data))
                writer.put_large(file.fileno(), name)
            else:
                writer.put(KIND_FILE, digest, data)
            rows.append(Entry(os.fsencode(name[above:]), _FLAGS[mode], len(data), digest))
        writer.commit()
    return rows


def _listed(git: Git, commit: str, path: str) -> list[TreeEntry]:
    entries = git.list_tree(commit, *([path] if path else []))
    return [entry for entry in entries if entry.mode in _FLAGS and _is_wanted(entry.path, path)]


def _is_wanted(name: str, path: str) -> bool:
    """Returns whether a file of git is meant by a path: one of git's or dvlite's own only by its name."""
    is_own = is_pointer(name) or name.rpartition("/")[2].startswith((".git", ".dvlite")) or name.startswith(".dvlite/")
    return name == path or not is_own


def _on_disk(path: Path) -> tuple[str, bytes] | None:
    """Returns mode and content of a file of the work tree, None where it is not there."""
    if path.is_symlink():
        return _LINK, os.fsencode(os.readlink(path))
    data = read_regular(path, str(path), _GIT_LIMIT_BYTES)
    return None if data is None else ("100755" if os.stat(path).st_mode & 0o100 else "100644", data)


def _inside(opened: _Source, item: Tracked, inner: str, jobs: int | None, progress: Progress) -> _Wanted:
    """Returns a file or folder of a tracked directory; a symlink stands for the file that it leads to."""
    for _ in range(_MOST_LINKS if item.pointer.kind == "directory" else 0):
        part = FetchRequest(item.path, item.pointer, (_GLOB.sub(r"[\1]", inner),), commit=opened.commit)
        _fetch(opened, [part], jobs, progress)
        entries = entries_of(item.pointer, opened.cache)
        name = os.fsencode(inner)
        entry = entries.find(name)
        if entry is None:
            rows = entries.subtree(name)
            if not rows:
                break
            return _Wanted(manifest.from_entries(rows), "")
        if entry.kind == EMPTY_DIR:
            return _Wanted(manifest.from_entries([]), "")
        if entry.kind != SYMLINK:
            return _Wanted(manifest.from_entries([_moved(entry, b"")]), format_oid(FILE_OID, entry.digest))
        link = os.fsdecode(opened.cache.read_file(entry.digest, entry.size_bytes))
        inner = os.path.normpath(os.path.join(os.path.dirname(inner), link))
    raise UsageError(
        f"nothing in {quote(item.path)} is named {quote(inner)}", hint="see what is there: dvlite ls -R, in a clone"
    )


def _moved(entry: Entry, path: bytes) -> Entry:
    return Entry(path, entry.flags, entry.size_bytes, entry.digest)


def _fetch(opened: _Source, parts: Sequence[FetchRequest], jobs: int | None, progress: Progress) -> None:
    """Brings what the cache lacks; makes no request if that is nothing."""
    if all(_is_cached(opened.cache, part) for part in parts):
        return
    repo = opened.repo
    if repo is None:
        assert opened.catalog is not None
        got = fetch_versions(opened.catalog, opened.cache, parts, progress)
        if got.missing:
            raise unfetched(got, opened.catalog)
        return
    if not repo.config.remote_names:
        _refuse_dropped(repo, parts)
        raise ObjectMissing(
            f"cannot get {quote(parts[0].path)}: it is not in the cache, and no remote is configured there",
            hint="dvlite remote add URL, in that repository, and dvlite push",
        )
    if opened.far:
        _refuse_relative_folder(repo)
    _, remote = open_remote(repo, opened.cache, opened.remote, jobs)
    with remote:
        catalog = Catalog(remote, progress, to_read=True).look()
        got = fetch_versions(catalog, opened.cache, parts, progress)
        if got.missing:
            _refuse_dropped(repo, parts)
            raise unfetched(got, catalog)


def _refuse_dropped(repo: Repo, parts: Sequence[FetchRequest]) -> None:
    """Raises Dropped if keep rules dropped one of these versions, which is not all there."""
    dropped = dropped_by(repo, [(part.pointer.oid_kind, part.pointer.digest) for part in parts])
    if dropped:
        raise Dropped(some([quote(part.path) for part in parts]), next(iter(dropped.values())))


def _is_cached(cache: Cache, part: FetchRequest) -> bool:
    try:
        entries = entries_of(part.pointer, cache)
    except (ObjectMissing, ObjectCorrupt):
        return False
    return cache.has_all(entries, sparse.selector(part.patterns) if part.patterns else None)


def _refuse_relative_folder(repo: Repo) -> None:
    """A folder relative to the work tree is nowhere, seen from a clone that is about to vanish."""
    remote = repo.config.remote(repo.config.default_remote or "")
    if remote is None:
        return
    text = str(remote.url.value)
    if parse_url(text, repo.root).scheme == FOLDER and "://" not in text and not text.startswith(("/", "~")):
        raise DvliteError(
            f"the remote {quote(remote.name)} is {quote(text)}, relative to a clone: it cannot be reached by the repository's URL",
            hint="clone the repository beside that folder: dvlite clone URL",
        )
