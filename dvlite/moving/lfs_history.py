"""Rewrites git's history so that dvlite tracks what Git LFS kept, in every commit of every branch and tag.

All data is in the cache, and all new commits are in git, before a ref moves; then all refs move at once, and what they named stays below `refs/original/`.
"""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Container, Mapping
from dataclasses import dataclass, field

from dvlite import files
from dvlite.errors import UsageError
from dvlite.formats import lfs_transfer
from dvlite.formats.lfs_transfer import POINTER_BYTES, LfsPointer
from dvlite.git import operation
from dvlite.git.output import REGULAR, split
from dvlite.git.program import DEEPEN
from dvlite.git.rewrite import GitObjects, Rewritten, rewrite
from dvlite.moving.lfs_import import LocalObjects
from dvlite.moving.lfs_tree import EXTENDED, LfsFile
from dvlite.moving.lfs_trees import LfsTrees
from dvlite.moving.taken_over import TakenOver, nowhere_whole
from dvlite.oid import FILE, format_oid
from dvlite.progress import Progress
from dvlite.repo import attributes, config_files, ignore
from dvlite.repo.repository import Repo, open_cache
from dvlite.show import count, quote, some
from dvlite.store.cache_writer import Writer
from dvlite.store.checked import StoredBytes
from dvlite.workspace import unpushed

_ORIGINAL = "refs/original/"  # where `git filter-branch` keeps what it rewrote, too
_MAP = "lfs-commits"  # in dvlite's folder in git's: a line for each commit, its old and its new name
_MOVED = (
    "lfs-moved"  # in the folder of the work tree, until it is what its branch names: the old commit and the new one
)
_LEAST_BYTES = len(lfs_transfer.pointer("0" * 64, 0))
_MESSAGE = "dvlite import-lfs --all-history"


@dataclass(slots=True)
class LfsHistory:
    """What becomes of git's history: `paths`: each content, at a path that has it; `left`: what stays with Git LFS, with the reason.

    `commits`: how many are written again, as the file `commit_map` lists, and `refs` that move; with `dry_run`, how many there are.
    """

    paths: list[TakenOver] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    refs: list[str] = field(default_factory=list)
    commits: int = 0
    commit_map: str = ""
    notes: list[str] = field(default_factory=list)


def rewrite_history(repo: Repo, *, allow_missing: bool, dry_run: bool, progress: Progress) -> LfsHistory:
    """Takes all data into the cache and writes history again; with `dry_run`, does none of it. The caller holds the lock of the work tree.

    Raises UsageError for a repository whose history cannot be rewritten as it is; ObjectMissing or ObjectCorrupt for data that is nowhere
    whole, unless that is allowed. No ref has moved then.
    """
    branch, refs = _branch(repo), _refs(repo)
    progress.start("reading the history")
    if (stopped := _stopped(repo)) is not None:
        _refuse_edits(repo, stopped)
        _follow(repo, stopped, _pointers(repo, {branch: stopped}))
        return LfsHistory(refs=[branch], notes=["an import that was stopped is complete now"])
    items = _pointers(repo, refs)
    _refuse_changes(repo, items)
    history = LfsHistory(left={item.path: EXTENDED for item in items.values() if item.pointer.has_extensions})
    items = {blob: item for blob, item in items.items() if not item.pointer.has_extensions}
    if not repo.config.remote_names:
        history.notes.append(
            "old commits get the settings of the last one, which names no remote; to have one in each, first: dvlite remote add URL && git commit"
        )
    if repo.git.run("rev-parse", "--verify", "--quiet", "refs/stash", check=False):
        history.notes.append(
            "what is stashed stays with the old history: apply and commit it first, if it has files of Git LFS"
        )
    if not items:
        raise UsageError("no commit of a branch or tag has a pointer of Git LFS", hint="dvlite status")
    if dry_run:
        history.paths = [TakenOver(item.path, item.path, item.pointer.size_bytes) for item in items.values()]
        history.refs, history.commits = [*refs], int(repo.git.run("rev-list", "--count", "--stdin", stdin=_tips(refs)))
        return history
    progress.start("importing", total_bytes=_size(items), total_files=len(items))
    with Writer(open_cache(repo), progress) as writer:
        with contextlib.closing(LocalObjects(repo, items.values(), writer, progress)) as objects:
            taken, lost = objects.take()
        if lost and not allow_missing:
            raise nowhere_whole(
                lost,
                "git lfs fetch --all   brings what its server has; to leave the rest to Git LFS: dvlite import-lfs --all-history --allow-missing",
            )
        history.left |= {path: error.message for path, error in lost.items()}
        writer.commit()
        # While the writer's lock is held: no garbage collection can come between data and pointers.
        contents = {bytes.fromhex(blob): taken[item] for blob, item in items.items() if item in taken}
        rewritten = _written(repo, refs, contents, history, progress)
        history.paths = [_taken_over(repo, item, content) for item, content in taken.items()]
        if branch in rewritten.refs:
            old, new = (name.hex() for name in rewritten.refs[branch])
            _refuse_in_the_way(repo, old, new)
            files.write_atomic(repo.state_dir / _MOVED, f"{old} {new}\n".encode())
        _move(repo, rewritten)
    if branch in rewritten.refs:
        _follow(repo, refs[branch], items)
    progress.finish()
    return history


def _size(items: Mapping[str, LfsFile]) -> int:
    return sum({item.pointer: item.pointer.size_bytes for item in items.values()}.values())


def _taken_over(repo: Repo, item: LfsFile, content: StoredBytes) -> TakenOver:
    oid = format_oid(FILE, content.digest)
    unpushed.note(repo, oid)
    return TakenOver(item.path, item.path, content.size_bytes, 1, oid)


# --- what there is ---


def _branch(repo: Repo) -> str:
    """Returns the branch that is checked out. Raises UsageError where more than it hangs on the commits."""
    git = repo.git
    branch = os.fsdecode(git.run("symbolic-ref", "--quiet", "HEAD", check=False)).strip()
    if git.is_shallow():
        raise UsageError("cannot rewrite history: this clone is shallow", hint=DEEPEN)
    if git.is_sparse:
        raise UsageError("cannot rewrite history in a sparse checkout", hint="git sparse-checkout disable")
    if len(git.worktrees()) > 1:
        raise UsageError(
            "cannot rewrite history: other work trees have commits of it checked out",
            hint="git worktree list; git worktree remove",
        )
    if operation.is_replaying(repo.git_dir):
        raise UsageError("cannot rewrite history in the middle of a merge or rebase", hint="git status")
    if not branch or git.head() is None:
        raise UsageError("cannot rewrite history: no branch with commits is checked out", hint="git switch BRANCH")
    return branch


def _refs(repo: Repo) -> dict[str, str]:
    """Returns the branches and tags that lead to commits, and the objects that they name."""
    rows = repo.git.run(
        "for-each-ref", "--format=%(objectname)%00%(symref)%00%(refname)", "refs/heads", "refs/tags"
    ).splitlines()
    named = {os.fsdecode(ref): name.decode() for name, symref, ref in (row.split(b"\0") for row in rows) if not symref}
    commits = repo.git.ref_commits()
    return {ref: name for ref, name in named.items() if ref in commits}


def _stopped(repo: Repo) -> str | None:
    """Returns the commit before an import that moved refs, and was stopped before the work tree followed. Raises UsageError for one that is complete."""
    words = (files.read_own(repo.state_dir / _MOVED) or b"").decode("ascii", "replace").split()
    if len(words) == 2 and words[1] == repo.git.head():
        return words[0]
    before = next((ref for ref in repo.git.ref_commits() if ref.startswith(_ORIGINAL)), None)
    if before is not None:
        raise UsageError(
            f"cannot rewrite history: {quote(before)} keeps what it was before an earlier time",
            hint=f"see what is there: git for-each-ref {_ORIGINAL}",
        )
    return None


def _pointers(repo: Repo, refs: Mapping[str, str]) -> dict[str, LfsFile]:
    """Returns the pointers that commits have, by their blobs, each at a path that has it: that in git's index, if it is there."""
    limit = f"--filter=blob:limit={POINTER_BYTES + 1}"
    listed = repo.git.run("rev-list", "--objects", limit, "--stdin", stdin=_tips(refs))
    rows = (line.partition(b" ") for line in listed.splitlines())
    paths = {blob.decode(): os.fsdecode(path) for blob, _, path in rows if path}
    paths |= {entry.blob: entry.path for entry in repo.git.list_index() if entry.blob in paths}
    sizes = repo.git.blob_sizes(paths)
    small = {blob: POINTER_BYTES for blob, size in sizes.items() if _LEAST_BYTES <= size <= POINTER_BYTES}
    pointers = ((blob, lfs_transfer.parse_pointer(data)) for blob, data in repo.git.each_blob(small))
    return {blob: LfsFile(paths[blob], pointer) for blob, pointer in pointers if pointer is not None}


def _tips(refs: Mapping[str, str]) -> bytes:
    return "".join(f"{name}\n" for name in dict.fromkeys(refs.values())).encode()


def _in_tree(repo: Repo, commit: str, items: Mapping[str, LfsFile]) -> dict[str, LfsPointer]:
    """Returns the paths at which a commit has pointers."""
    rows = (entry for entry in repo.git.list_tree(commit) if entry.mode in REGULAR and entry.blob in items)
    return {entry.path: items[entry.blob].pointer for entry in rows}


def _refuse_changes(repo: Repo, items: Mapping[str, LfsFile]) -> None:
    """Raises UsageError for what would not be as it is afterwards: staged or changed files, and those that git does not have. Data of Git LFS stays."""
    kept = _in_tree(repo, "HEAD", items)
    changed = [row.path for row in repo.git.staged_changes()]
    changed += [path for path, _ in repo.git.changes() if path not in kept]
    if changed:
        raise UsageError(
            f"cannot rewrite history: {some([quote(path) for path in dict.fromkeys(changed)])}: not as in the last commit",
            hint="commit first, or: git stash --include-untracked",
        )


# --- the new history ---


def _written(
    repo: Repo, refs: Mapping[str, str], contents: Mapping[bytes, StoredBytes], history: LfsHistory, progress: Progress
) -> Rewritten:
    """Gives git the new commits, and writes the map of them."""
    settings = repo.git.run("rev-parse", "--verify", "--quiet", f"HEAD:{config_files.FOLDER}", check=False).strip()
    if not settings:
        raise UsageError(f"'{config_files.FOLDER}' is in no commit of this branch", hint="dvlite init && git commit")
    folder = repo.common_dir / "dvlite"
    with GitObjects(repo.git, folder) as objects:
        is_partly = bool(history.left)
        trees = LfsTrees(objects, contents, bytes.fromhex(settings.decode()), keeps_patterns=is_partly)
        rewritten = rewrite(repo.git, refs, trees.rewritten, objects, progress)
        if trees.left and not is_partly:  # then the patterns have to stay, in all commits
            history.left |= trees.left
            return _written(repo, refs, contents, history, progress)
        objects.store()
    history.left |= trees.left
    lines = (f"{old.hex()} {new.hex()}\n" for old, new in rewritten.commits.items())
    files.write_atomic(folder / _MAP, "".join(lines).encode())
    history.commit_map, history.commits = str(folder / _MAP), len(rewritten.commits)
    history.refs = [*rewritten.refs]
    if rewritten.signed:
        history.notes.append(f"{count(rewritten.signed, 'commit')} lost a signature: it was of the old commit")
    return rewritten


def _refuse_in_the_way(repo: Repo, old: str, new: str) -> None:
    """Raises UsageError for a file that git ignores where it is to write one."""
    fresh = (path for path, status in _changes(repo, old, new).items() if status == "A")
    file = next((path for path in fresh if files.is_there(repo.root / path)), None)
    if file is not None:
        raise UsageError(f"cannot rewrite history: {quote(file)} is in the way", hint="move that file away")


def _move(repo: Repo, rewritten: Rewritten) -> None:
    """Moves all refs at once, and keeps what they named."""
    lines = b"".join(
        b"create %b%b\0%b\0update %b\0%b\0%b\0"
        % (_ORIGINAL.encode(), name, old.hex().encode(), name, new.hex().encode(), old.hex().encode())
        for name, old, new in ((os.fsencode(ref), *names) for ref, names in rewritten.refs.items())
    )
    repo.git.run("update-ref", "-m", _MESSAGE, "--stdin", "-z", stdin=lines)


def _changes(repo: Repo, old: str, new: str) -> dict[str, str]:
    """Returns the paths that two commits have not alike, and git's letter for what the new one did."""
    fields = split(repo.git.run("diff-tree", "-r", "--name-status", "-z", "--no-renames", old, new))
    return dict(zip(fields[1::2], fields[::2], strict=True))


def _refuse_edits(repo: Repo, old: str) -> None:
    """Raises UsageError for a file that is neither as it was nor as it is to be."""
    differing = ("diff", "--name-only", "-z", "--no-renames", "--no-ext-diff")
    edited = set(split(repo.git.run(*differing, old))).intersection(split(repo.git.run(*differing, "HEAD")))
    written = (path for path, status in _changes(repo, old, "HEAD").items() if status != "D" and path in edited)
    file = next((path for path in written if files.is_there(repo.root / path)), None)
    if file is not None:
        raise UsageError(f"an import was stopped, and {quote(file)} was changed since", hint="move that file away")


def _follow(repo: Repo, old: str, items: Mapping[str, LfsFile]) -> None:
    """Makes git's index and work tree what HEAD has in place of an old commit; data on disk is not touched."""
    changed, were = _changes(repo, old, "HEAD"), _in_tree(repo, old, items)
    gone = [path for path, status in changed.items() if status == "D"]
    repo.exclude([path for path in gone if path in were])
    _write(repo, {path for path, status in changed.items() if status != "D"})
    repo.git.run("read-tree", "--reset", "HEAD")  # after what makes git ignore the data
    for path in gone:
        pointer = were.get(path)
        is_pointer = pointer and files.holds(
            repo.root / path, lfs_transfer.pointer(pointer.sha256, pointer.size_bytes)
        )  # what git alone checked out is no data
        if is_pointer or path.rpartition("/")[2] == attributes.FILE_NAME:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(repo.root / path)
    (repo.state_dir / _MOVED).unlink(missing_ok=True)


def _write(repo: Repo, paths: Container[str]) -> None:
    """Writes files as HEAD has them: pointers, and files of git's and dvlite's own. git itself would not do it durably."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for entry in repo.git.list_tree("HEAD"):
        if entry.path in paths and entry.mode in REGULAR:
            places[entry.blob].append(entry.path)
    for blob, data in repo.git.each_blob(dict.fromkeys(places, ignore.MOST_BYTES)):
        for path in places[blob]:
            (repo.root / path).parent.mkdir(parents=True, exist_ok=True)
            files.write_atomic(repo.root / path, data)
