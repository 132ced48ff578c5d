"""What a clone still needs: the versions that its commits, reflogs, stashes, indexes, work trees and saved copies name, and what its runs left.

What a cache or a remote may lose rests on this, so what cannot be read is an error, and so is a history that was cut off. Keep rules that
are narrower than "all that is named" count only as HEAD has them. Reads git and run records; knows no store.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dvlite import files
from dvlite.errors import Busy, DvliteError, FormatError, reason_of
from dvlite.formats import config, lockfile, record
from dvlite.formats.config import COMMITTED
from dvlite.formats.pointer import SUFFIX
from dvlite.formats.record import Note, Run
from dvlite.formats.snapshot import Version, VersionId, version_of
from dvlite.git import operation
from dvlite.git.output import REGULAR, is_lockfile, is_pointer
from dvlite.git.program import ALL_REFS, Git
from dvlite.git.tags import TAGS
from dvlite.oid import FILE, Digest, Oid, digest_run, parse_oid
from dvlite.progress import NullProgress, Progress
from dvlite.registry.models import SEEN, THERE, named_by_refs
from dvlite.repo.config_files import COMMITTED_FILE
from dvlite.repo.repository import Repo
from dvlite.repo.revisions import read_blobs
from dvlite.repo.tracked_paths import Tracked, Unusable
from dvlite.runs.records import open_records
from dvlite.show import quote, word
from dvlite.store.cache import Cache
from dvlite.workspace.backups import saved_pointers

NAMED = "named in git"  # why a version is kept if there are no keep rules
UNCOMMITTED = "not committed"  # in an index or a work tree alone
LOCAL = "outputs with push: false"
OF_RUNS = "in run records"
OF_MODELS = "registered models"
IN_USE = "in use"  # or if there are: by heads, remote-tracking branches, indexes, work trees, stashes and saved copies
RUN = "run"  # that no commit names, and that has no tag
SAVED_COPY = "saved copy"
_RUN_SECONDS = 90 * 86400
SWEEPS = "refs/dvlite/sweeps/"  # snapshots of sweeps that are not over
_FETCHED = "refs/dvlite/gc/"  # private refs, while a collection asks the git remotes
_LOCK = "gc.lock"
_CONFIG_BYTES = 1 << 20
_RULES = ("gc.keep_tags", "gc.keep_last", "gc.keep_within")
_MAIN = re.compile(r"refs/remotes/.+/HEAD")
_MANY_TIPS = 20  # that are looked at for rules

Pair = tuple[str, str]  # a blob of git and the name of the pointer file or lockfile


@dataclass(frozen=True, slots=True)
class Unnamed:
    """What is kept though no commit names it: the outputs of a run, or a saved copy, with its pointer `saved`."""

    what: str  # RUN or SAVED_COPY
    versions: tuple[VersionId, ...]
    time_ns: int
    saved: Path | None = None


@dataclass(frozen=True, slots=True)
class Needs:
    """What a clone needs; `files` and `listings` are what its kept runs left: logs, diffs, outputs of those that a commit names.

    `versions` are those that the keep rules keep, each path and version once; `kept_by` says by which rule, but for saved copies. `named` are
    all versions that anything here names, `dropped` those of them that no rule keeps, each with the rules. `unnamed` is kept for its own sake.
    """

    versions: tuple[Version, ...]
    named: frozenset[VersionId]
    files: frozenset[Digest]
    listings: frozenset[VersionId]
    kept_by: Mapping[VersionId, str]
    dropped: Mapping[VersionId, str]
    unnamed: tuple[Unnamed, ...] = ()

    def left_by_runs(self) -> tuple[frozenset[Digest], frozenset[VersionId]]:
        """Returns the files and the listings that all kept runs left."""
        tries = {version for each in self.unnamed if each.what == RUN for version in each.versions}
        contents = self.files.union(digest for kind, digest in tries if kind == FILE)
        return contents, self.listings.union(version for version in tries if version[0] != FILE)


@dataclass(frozen=True, slots=True, kw_only=True)
class GcPart:
    """So many objects that go, or stay, for one reason."""

    reason: str
    objects: int
    size_bytes: int


def gather(repo: Repo, progress: Progress, *, fetched: bool, cut_off: bool = False) -> Needs:
    """Returns what a clone needs; what `fetch_all_heads` brought counts with `fetched` only.

    Raises DvliteError for a worktree, a pointer on disk or in an index, or a saved one that cannot be read, for anything that a later dvlite
    wrote, and in a shallow clone unless history may be `cut_off`.
    """
    if not cut_off:
        refuse_shallow(repo.git)
    progress.start("reading the history")
    history = _History(repo, progress, fetched=fetched)
    committed = history.read(history.pairs)
    reasons = (
        (NAMED, committed, True),
        (UNCOMMITTED, history.on_disk, True),
        (LOCAL, committed, False),
        (LOCAL, history.on_disk, False),
        (OF_MODELS, history.models, True),
    )
    everything: dict[Version, str] = {}
    for reason, items, is_pushed in reasons:
        for item in (item for item in items if item.push is is_pushed):
            everything.setdefault(version_of(item.path, item.pointer), reason)
    rules = KeepRules.of(repo, progress)
    kept, pairs = everything, set(history.pairs)
    if rules.text:
        kept = {version_of(item.path, item.pointer): IN_USE for item in history.on_disk}
        pairs = set()
        for rule, those in history.kept_pairs(rules):
            pairs |= those
            for item in history.read(those):
                kept.setdefault(version_of(item.path, item.pointer), rule)
        for version in history.newest(rules.last):
            kept.setdefault(version, f"gc.keep_last: {rules.last}")
        for item in history.models:
            kept.setdefault(version_of(item.path, item.pointer), OF_MODELS)
    kept_by: dict[VersionId, str] = {}
    for version, rule in kept.items():
        kept_by.setdefault(version.id, rule)
    copies = {file: version_of(item.path, item.pointer) for file, item in history.saved.items()}
    named = frozenset(version.id for version in (*everything, *copies.values()))
    saved = [
        Unnamed(SAVED_COPY, (version.id,), _changed_ns(file), file)
        for file, version in copies.items()
        if version.id not in kept_by
    ]
    progress.start("reading the run records")
    contents, listings, runs = _of_runs(repo, history, pairs, progress)
    progress.finish()
    alive = {version for each in saved for version in each.versions}.union(kept_by)
    dropped = {version: rules.text for version in named if version not in alive}
    versions = tuple(dict.fromkeys((*kept, *copies.values())))
    return Needs(versions, named, contents, listings, kept_by, dropped, (*saved, *runs))


def named_versions(repo: Repo, progress: Progress) -> frozenset[VersionId]:
    """Returns the versions that a clone refers to anywhere, whatever the keep rules say. Raises as `every_version`."""
    return frozenset(version.id for version in every_version(repo, progress))


def every_version(repo: Repo, progress: Progress) -> list[Version]:
    """Returns the versions that a clone refers to anywhere, of each path each once. Raises as `gather`, but not in a shallow clone."""
    history = _History(repo, progress, fetched=False)
    items = (*history.on_disk, *history.saved.values(), *history.models, *history.read(history.pairs))
    return list(dict.fromkeys(version_of(item.path, item.pointer) for item in items))


def dropped_by(repo: Repo, versions: Iterable[VersionId]) -> dict[VersionId, str]:
    """Returns those of some versions that commits of refs name and that the keep rules of HEAD or a branch keep no more, with the rules.

    What only HEAD, an index or the work tree names now counts as dropped: it is asked about where an old commit is checked out. Costs a few
    runs of git without such rules. Nothing is dropped where history cannot be read.
    """
    with contextlib.suppress(DvliteError):
        tips = [
            commit for ref, commit in repo.git.ref_commits().items() if ref.startswith(("refs/heads/", "refs/remotes/"))
        ]
        commits = list(dict.fromkeys([*filter(None, [repo.git.head()]), *tips]))[:_MANY_TIPS]
        rules = next((rules for commit in commits if (rules := KeepRules.at(repo.git, commit)).text), KeepRules())
        if rules.text and not repo.git.is_shallow():
            kept, named = _History(repo, NullProgress(), fetched=False).by_refs(rules)
            return {version: rules.text for version in versions if version in named and version not in kept}
    return {}


def refuse_shallow(git: Git) -> None:
    """Raises DvliteError if history was cut off: what older commits name is not known."""
    if git.is_shallow():
        message = "this clone is shallow: what its older commits need is not known, so nothing is deleted"
        raise DvliteError(message, hint="git fetch --unshallow")


@contextlib.contextmanager
def fetch_all_heads(repo: Repo, progress: Progress) -> Iterator[None]:
    """Brings the branches and tags of every git remote into private refs, which go at the end; a single-branch clone sees them all then.

    Raises DvliteError if one of the remotes cannot be asked, and Busy if another command does the same and this one must not wait.
    """
    refuse_shallow(repo.git)
    folder = repo.common_dir / "dvlite"
    folder.mkdir(exist_ok=True)
    with files.lock(folder / _LOCK, wait=repo.waits, waiting=progress.warn):
        repo.git.delete_refs(_FETCHED)  # of a killed command
        try:
            for name in repo.git.remotes():
                try:
                    specs = (f"+refs/{kind}/*:{_FETCHED}{name}/{kind}/*" for kind in ("heads", "tags"))
                    repo.git.fetch_refs(name, *specs)
                except DvliteError as error:
                    message = (
                        f"cannot ask the git remote {quote(name)} what it has, so nothing is deleted: {error.message}"
                    )
                    hint = f"if it is gone for good: git remote remove {word(name)}"
                    raise DvliteError(message, hint=hint) from None
            yield
        finally:
            repo.git.delete_refs(_FETCHED)


def stale_refs(repo: Repo, *, drop: bool = False) -> int:
    """Returns how many private refs a killed `fetch_all_heads` left, and removes them with `drop`; none while one runs.

    Runs git only where one ran before.
    """
    path = repo.common_dir / "dvlite" / _LOCK
    if path.exists():
        with contextlib.suppress(Busy), files.lock(path, wait=False):
            left = sum(ref.startswith(_FETCHED) for ref in repo.git.ref_commits())
            if left and drop:
                repo.git.delete_refs(_FETCHED)
            return left
    return 0


def projects_sharing(repo: Repo, cache: Cache) -> Iterator[Repo]:
    """Yields the other clones that use a cache. Raises DvliteError for one that cannot be opened."""
    for note, (common_dir, root) in _users(cache).items():
        if common_dir == repo.common_dir:
            continue
        try:
            place = root if root.is_dir() else common_dir.parent
            other = repo.open_other(place)
            if other.common_dir != common_dir:
                raise DvliteError("another repository is in its place")
        except (DvliteError, OSError) as error:
            reason = reason_of(error)
            gone = "" if note is None else f"; if the clone is gone for good: rm {word(str(note))}"
            raise DvliteError(
                f"cannot read {quote(str(root))}, a clone that shares this cache: {reason}",
                hint=f"run it where that clone can be read{gone}",
            ) from error
        yield other


@contextlib.contextmanager
def said_of(place: Repo, here: Repo) -> Iterator[None]:
    """Adds to errors that are not about the work tree of the user where they are, and where the command of the hint belongs."""
    try:
        yield
    except DvliteError as error:
        if place.root != here.root:
            where = quote(str(place.root))
            error.message += f", in {where}"
            error.hint = error.hint and f"in {where}: {error.hint}"
        raise


def _users(cache: Cache) -> dict[Path | None, tuple[Path, Path]]:
    """Returns the notes of the clones that use a cache, and the clone that it lies in: that one needs no note (None) to use it."""
    users: dict[Path | None, tuple[Path, Path]] = {}
    try:
        users.update(cache.projects().items())
    except OSError as error:
        raise files.os_error(error, "read", cache.folder / "projects") from error
    home = cache.folder.parent
    if (cache.folder.name, home.name) == ("cache", "dvlite") and (home.parent / "HEAD").is_file():
        users[None] = home.parent, home.parent.parent
    return users


# --- the rules ---


@dataclass(frozen=True, slots=True)
class KeepRules:
    """What of that which git names is kept, if not all of it; `text` names the rules, empty without any."""

    tags: bool = False
    last: int | None = None
    within: str | None = None

    @property
    def text(self) -> str:
        rules = {"gc.keep_tags": self.tags or None, "gc.keep_last": self.last, "gc.keep_within": self.within}
        shown = {key: "true" if value is True else value for key, value in rules.items() if value is not None}
        return ", ".join(f"{key}: {value}" for key, value in shown.items())

    @staticmethod
    def at(git: Git, commit: str) -> KeepRules:
        """Returns the rules of the config that a commit has. Raises FormatError."""
        data = git.read_file(commit, COMMITTED_FILE, limit_bytes=_CONFIG_BYTES)
        settings = {} if data is None else config.parse(data, f"{commit[:8]}:{COMMITTED_FILE}", COMMITTED)
        tags, last, within = (settings[key].value if key in settings else None for key in _RULES)
        return KeepRules(
            tags is True, last if isinstance(last, int) else None, within if isinstance(within, str) else None
        )

    @staticmethod
    def of(repo: Repo, progress: Progress) -> KeepRules:
        """Returns the rules that count: those of HEAD and, as an old branch may have old ones, of the main branch of each git remote.

        What one of them keeps is kept; where one has no rules, there are none. Warns of rules in the file that no commit has.
        """
        head = repo.git.head()
        if head is None:
            return KeepRules()
        rules = KeepRules.at(repo.git, head)
        on_disk = (
            repo.config.get("gc.keep_tags") is True,
            repo.config.get("gc.keep_last"),
            repo.config.get("gc.keep_within"),
        )
        if on_disk != (rules.tags, rules.last, rules.within):
            progress.warn(f"keep rules count as HEAD has them: commit '{COMMITTED_FILE}' first")
        mains = {commit for ref, commit in repo.git.ref_commits().items() if _MAIN.fullmatch(ref)} if rules.text else ()
        for commit in mains:
            rules = rules.joined(KeepRules.at(repo.git, commit))
        return rules

    def joined(self, other: KeepRules) -> KeepRules:
        """Returns the rules that keep what one of both keeps."""
        if not self.text or not other.text:
            return KeepRules()
        lasts = [last for last in (self.last, other.last) if last is not None]
        withins = [within for within in (self.within, other.within) if within is not None]
        longest = max(withins, key=lambda text: config.duration_seconds(text) or 0, default=None)
        return KeepRules(self.tags or other.tags, max(lasts, default=None), longest)


# --- what git names ---


class _History:
    """The pointer files and lockfiles in all that a clone can reach; `pairs` are those of its commits, newest first.

    `on_disk` is what work trees and indexes name, `saved` are the saved copies by their files, before and after the commits were read: git
    may move something from one to the other meanwhile, as a stash does. Raises DvliteError for what of these cannot be read.
    """

    def __init__(self, repo: Repo, progress: Progress, *, fetched: bool) -> None:
        self._repo, self._git, self._progress = repo, repo.git, progress
        self._warned: set[str] = set()
        self._places = list(worktrees(repo))
        self.saved: dict[Path, Tracked] = {}
        self.on_disk = self._on_disk()
        refs = {ref: commit for place in self._places for ref, commit in place.git.ref_commits().items()}
        self._refs = {ref: commit for ref, commit in refs.items() if fetched or not ref.startswith(_FETCHED)}
        pending = [commit for place in self._places for commit in operation.pending(place.git_dir)]
        heads = [head for place in self._places if (head := place.git.head()) is not None]
        stashed = self._git.stashed_commits() if "refs/stash" in refs else []
        swept = [commit for ref, commit in refs.items() if ref.startswith(SWEEPS)]
        self._loose = list(dict.fromkeys((*heads, *stashed, *pending, *swept)))  # commits that need no ref to be in use
        self._every = ("--all",) if fetched else ALL_REFS
        others = set(refs.values()) - set(self._git.ref_commits().values())  # of other worktrees alone
        revisions = ("--ignore-missing", *self._every, "--reflog", *self._loose, *sorted(others))
        self.pairs: dict[Pair, None] = {}
        self._commits: dict[str, set[Pair]] = {}  # what each commit changed: as it was before, and after
        for change in self._git.pointer_changes(*revisions, every=True):
            pairs = [(change.blob, change.path)] if change.blob is not None else []
            self.pairs |= dict.fromkeys(pairs)
            before = ((blob, change.old_path or change.path) for blob in change.before)
            self._commits.setdefault(change.commit, set()).update(pairs, before)
        self.on_disk += self._on_disk()
        spaces = (SEEN, THERE, TAGS, *([_FETCHED] if fetched else []))
        self.models = [Tracked(path, pointer) for path, pointer in named_by_refs(self._git, spaces)]

    def read(self, pairs: Iterable[Pair]) -> list[Tracked]:
        """Returns what these name; what is no pointer is warned of once. Raises FormatError for what a later dvlite wrote."""
        shown = {pair: f"{pair[1]} at {pair[0][:8]}" for pair in pairs}
        return [item for _, items in read_blobs(self._git, shown, self._pass_over) for item in items]

    def _on_disk(self) -> list[Tracked]:
        for file, pointer in saved_pointers(self._repo).items():
            self.saved[file] = Tracked(file.name.removesuffix(SUFFIX), pointer)
        items: list[Tracked] = []
        for place in self._places:
            with said_of(place, self._repo):
                items += place.work_tree.tracked()
                staged = {pair: f"{pair[1]} in the index" for pair in _staged(place.git)}
                items += [item for _, those in read_blobs(place.git, staged, _refuse) for item in those]
        return items

    def kept_pairs(self, rules: KeepRules) -> Iterator[tuple[str, set[Pair]]]:
        """Yields what is in use, and what the rules for tags and times keep, each with its rule."""
        tags = {commit for ref, commit in self._refs.items() if _is_tag(ref)}
        yield IN_USE, self._trees({*self._loose, *(commit for ref, commit in self._refs.items() if not _is_tag(ref))})
        if rules.tags:
            yield "gc.keep_tags", self._trees(tags)
        if rules.within is not None:
            times = self._git.commit_times(self._commits)
            # From the newest commit on: a project that rests loses nothing, nor does one on a machine whose clock is wrong.
            newest = min(time.time(), max(times.values(), default=0))
            oldest = newest - (config.duration_seconds(rules.within) or 0)
            # A version counts until the commit that replaced it.
            recent = (those for commit, those in self._commits.items() if times.get(commit, oldest) >= oldest)
            yield f"gc.keep_within: {rules.within}", set().union(*recent)

    def by_refs(self, rules: KeepRules) -> tuple[set[VersionId], set[VersionId]]:
        """Returns what the rules keep if nothing but refs is in use, and all that the commits of refs name."""
        self._loose = []
        kept = {version_of(item.path, item.pointer) for _, pairs in self.kept_pairs(rules) for item in self.read(pairs)}
        changes = self._git.pointer_changes("--exclude=refs/stash", *self._every, every=True)
        pairs = dict.fromkeys((change.blob, change.path) for change in changes if change.blob is not None)
        named = {version_of(item.path, item.pointer).id for item in self.read(pairs)}
        registered = {version_of(item.path, item.pointer).id for item in self.models}
        return {version.id for version in (*kept, *self.newest(rules.last))} | registered, named | registered

    def newest(self, count: int | None) -> list[Version]:
        """Returns the newest versions of each path in the history of all refs, at most `count` of each; none for None."""
        if count is None:
            return []
        changes = self._git.pointer_changes(
            "--date-order", "--exclude=refs/stash", *self._every, *self._head(), every=True
        )
        pairs = dict.fromkeys((change.blob, change.path) for change in changes if change.blob is not None)
        versions: dict[str, dict[VersionId, Version]] = {}
        for item in self.read(pairs):
            of_path, version = versions.setdefault(item.path, {}), version_of(item.path, item.pointer)
            if len(of_path) < count:
                of_path.setdefault(version.id, version)
        return [version for of_path in versions.values() for version in of_path.values()]

    def runs(self, pairs: Iterable[Pair]) -> set[Oid]:
        """Returns the runs that lockfiles name: those among these pairs, in indexes and on disk."""
        locked = {blob for blob, name in pairs if is_lockfile(name)}
        locked |= {blob for place in self._places for blob, name in _staged(place.git) if is_lockfile(name)}
        blobs = self._git.blobs_within(dict.fromkeys(locked, lockfile.LIMIT_BYTES))
        runs = {run for _, data in blobs for run in lockfile.run_ids(data)}
        for place in self._places:
            for name in place.work_tree.lockfiles():
                runs.update(lockfile.run_ids(place.work_tree.read(name) or b""))
        return runs

    def _head(self) -> list[str]:
        return ["HEAD"] if self._git.head() is not None else []

    def _trees(self, commits: Iterable[str]) -> set[Pair]:
        """Returns the pointer files and lockfiles of commits; of those that are not here, none."""
        there = self._git.commit_times(commits)
        entries = (entry for commit in there for entry in self._git.list_tree(commit))
        return {(entry.blob, entry.path) for entry in entries if is_pointer(entry.path) and entry.mode in REGULAR}

    def _pass_over(self, error: Unusable) -> None:
        if error.kind == "later":
            raise error
        if error.message not in self._warned:
            self._warned.add(error.message)
            self._progress.warn(error.message)


def worktrees(repo: Repo) -> Iterator[Repo]:
    """Yields all worktrees of a repository. Raises DvliteError for one that is not there."""
    for root in repo.git.worktrees():
        if not root.is_dir():
            hint = "if it is gone for good: git worktree prune"
            raise DvliteError(f"cannot read the worktree {quote(str(root))}: it is not there", hint=hint)
        yield repo if root == repo.root else repo.open_other(root)


def _changed_ns(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return time.time_ns()


def _staged(git: Git) -> set[Pair]:
    return {(entry.blob, entry.path) for entry in git.list_index() if is_pointer(entry.path)}


def _is_tag(ref: str) -> bool:
    return ref.startswith("refs/tags/") or (ref.startswith(_FETCHED) and "/tags/" in ref.removeprefix(_FETCHED))


def _refuse(error: DvliteError) -> None:
    raise error


# --- what runs left ---


@dataclass(frozen=True, slots=True)
class _RunPart:
    """What matters of a run record: what it left, and whether it is kept for its own sake."""

    logs: tuple[Oid, ...]
    outputs: tuple[Oid, ...]
    of: Oid | None
    time_ns: int
    is_young: bool
    is_ok: bool


def _of_runs(
    repo: Repo, history: _History, pairs: Iterable[Pair], progress: Progress
) -> tuple[frozenset[Digest], frozenset[VersionId], list[Unnamed]]:
    """Returns the files and the listings that kept runs left; apart, the outputs of those that no commit names.

    A run is kept while a lockfile that is kept names it, while it has a tag, and, if no commit names it, for 90 days if it was ok, or a part of a map stage is done. Logs and
    diffs of others stay 90 days too: they say why something failed. The history of an imported run stays: nothing makes it again.
    """
    runs, tagged = _recorded(repo, progress)
    named, kept = history.runs(history.pairs), history.runs(pairs) | tagged
    tries = [oid for oid, run in runs.items() if run.is_young and run.is_ok and oid not in named and oid not in kept]
    wanted = [runs[oid] for oid in _with_makers(runs, kept)]
    left = {parse_oid(one) for run in wanted for one in (*run.logs, *run.outputs)}
    left |= {parse_oid(one) for run in runs.values() if run.is_young for one in run.logs}
    unnamed = []
    for oid in tries:
        of_try = [runs[one] for one in _with_makers(runs, (oid,))]
        left |= {parse_oid(one) for run in of_try for one in run.logs}
        outputs = {parse_oid(one) for run in of_try for one in run.outputs}
        if outputs:
            unnamed.append(Unnamed(RUN, tuple(outputs), runs[oid].time_ns))
    contents = frozenset(digest for kind, digest in left if kind == FILE)
    return contents, frozenset(version for version in left if version[0] != FILE), unnamed


def _with_makers(runs: Mapping[Oid, _RunPart], some: Iterable[Oid]) -> set[Oid]:
    """Returns runs that are recorded here, with those that made what they took over."""
    wanted, pending = set[Oid](), [oid for oid in some if oid in runs]
    while pending:
        oid = pending.pop()
        if oid not in wanted:
            wanted.add(oid)
            of = runs[oid].of
            pending += [of] if of in runs and of is not None else []
    return wanted


def _recorded(repo: Repo, progress: Progress) -> tuple[dict[Oid, _RunPart], set[Oid]]:
    """Returns the runs that are recorded here, and those of them that have a tag. Raises FormatError for a record of a later dvlite."""
    oldest_ns = time.time_ns() - _RUN_SECONDS * 1_000_000_000
    runs: dict[Oid, _RunPart] = {}
    notes: list[Note] = []
    for oid, data in open_records(repo, progress):
        try:
            content = record.parse(data, f"run record {digest_run(data).hex()[:8]}")
        except FormatError as error:
            if error.kind == "later":
                raise
            progress.warn(f"{error.message}; skipped")
            continue
        if isinstance(content, Run):
            runs[oid] = _part(content, oldest_ns)
        elif isinstance(content, Note) and content.op in ("tag", "untag"):
            notes.append(content)
    tags: set[tuple[Oid, str]] = set()
    for note in sorted(notes, key=lambda note: (note.time, note.id)):
        (tags.add if note.op == "tag" else tags.discard)((note.run, note.value))
    return runs, {run for run, _ in tags}


def _part(run: Run, oldest_ns: int) -> _RunPart:
    ended_ns = record.time_ns(run.end or run.start)
    outputs = tuple(output.oid for output in run.outputs if output.cached)
    is_young = run.imported is not None or not ended_ns or ended_ns >= oldest_ns
    is_part = run.mapped is not None and run.status in (
        "failed",
        "canceled",
    )  # with the results of the datums that were done
    is_ok = is_part or run.status in ("ok", "cached", "asserted")
    return _RunPart(run.left_apart, outputs, run.of, ended_ns or time.time_ns(), is_young, is_ok)
