"""Git LFS in a clone: git's settings that make it run the agent, and the folder in which it keeps objects."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dvlite.formats import lfs_transfer
from dvlite.git.output import REGULAR
from dvlite.hooks.scripts import has_text
from dvlite.moving.lfs_folder import local_folder
from dvlite.moving.lfs_objects import LfsObjects
from dvlite.oid import Digest, digest_path
from dvlite.progress import Progress
from dvlite.repo.open_stores import open_remote
from dvlite.repo.repository import Repo, open_cache
from dvlite.share.needs import worktrees
from dvlite.store.reachable import present

HOOK_FIX = "dvlite install --uninstall && git lfs install --local && dvlite install"
AGENT = "dvlite"  # its name in git's config
_TRANSFER = f"lfs.customtransfer.{AGENT}"
_ALONE = "lfs.standalonetransferagent"
# `git lfs prune` asks no agent what the remote has. With a git remote that does not exist, it takes every commit for one that was not pushed.
_PRUNE, _NO_REMOTE = "lfs.pruneremotetocheck", "dvlite-lfs-agent-prune"
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(slots=True)
class Pruned:
    """What a prune removed, and how many objects it kept for which reason."""

    remote: str
    objects: int = 0
    freed_bytes: int = 0
    in_use: int = 0
    absent: int = 0


def set_up(repo: Repo, program: str, arguments: str) -> None:
    """Makes git-lfs move objects by the agent, in this clone."""
    settings = {
        f"{_TRANSFER}.path": program,
        f"{_TRANSFER}.args": arguments,
        f"{_TRANSFER}.concurrent": "false",  # a second agent would wait for the round of the first
        f"{_TRANSFER}.direction": "both",
        _PRUNE: _NO_REMOTE,
        _ALONE: AGENT,
    }
    for key, value in settings.items():
        repo.git.config_set(key, value)


def take_down(repo: Repo) -> None:
    """Removes what `set_up` set."""
    for key, value in ((_ALONE, AGENT), (_PRUNE, _NO_REMOTE)):
        repo.git.run("config", "--local", "--unset-all", key, f"^{value}$", check=False)
    repo.git.run("config", "--local", "--remove-section", _TRANSFER, check=False)


def is_installed(repo: Repo) -> bool:
    """Returns whether git-lfs moves its objects by the agent here."""
    return repo.git.config_get(_ALONE) == AGENT


def is_prune_safe(repo: Repo) -> bool:
    """Returns whether `git lfs prune` keeps what some commit names."""
    return repo.git.config_get(_PRUNE) == _NO_REMOTE


def why_not_sent(repo: Repo) -> str:
    """Returns why `git push` sends pointers without their objects, '' if it sends these."""
    # `git lfs install` and `git lfs track` leave a hook of another program as it is, the latter without a word.
    is_there = has_text(repo, "pre-push", b"lfs")
    return (
        "" if is_there else "git push sends pointers of git-lfs without their objects: the hook of git-lfs is missing"
    )


def prune(repo: Repo, remote: str | None, progress: Progress, *, dry_run: bool) -> Pruned:
    """Removes local objects whose bytes lie on the remote, in packs that stand now and are claimed; each file is read and compared first."""
    cache = open_cache(repo)
    name, opened = open_remote(repo, cache, remote, None)
    with opened:
        progress.start(f"looking at {opened.shown}")
        objects = LfsObjects(repo, cache, opened, name, progress)
        catalog = objects.look()
        claimed: defaultdict[str, set[Digest]] = defaultdict(set)
        for sha256, (digest, _) in objects.claimed():
            claimed[sha256].add(digest)
        local = dict(_local(local_folder(repo)))
        there = present(catalog, {digest for sha256 in local for digest in claimed[sha256]})
        used = in_use(repo)
        pruned = Pruned(name)
        progress.start("comparing", total_files=len(local))
        for sha256, path in local.items():
            progress.advance(files=1)
            if sha256 in used:
                pruned.in_use += 1
                continue
            sent = claimed[sha256] & there
            size_bytes = path.stat().st_size
            if not sent or digest_path(path)[0] not in sent:
                pruned.absent += 1
                continue
            if not dry_run:
                path.unlink()
            pruned.objects += 1
            pruned.freed_bytes += size_bytes
    progress.finish()
    return pruned


def _local(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted((folder / "objects").glob("??/??/*")):
        if _SHA256.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            yield path.name, path


def in_use(repo: Repo) -> set[str]:
    """Returns the objects of Git LFS whose pointers HEAD or the index of a work tree has."""
    blobs: set[str] = set()
    for tree in worktrees(repo):
        head = tree.git.head()
        entries = [*tree.git.list_index(), *(tree.git.list_tree(head) if head is not None else ())]
        blobs.update(entry.blob for entry in entries if entry.mode in REGULAR)
    small = {blob: size for blob, size in repo.git.blob_sizes(blobs).items() if size <= lfs_transfer.POINTER_BYTES}
    named = (
        lfs_transfer.pointed_at(data)
        for _, data in repo.git.each_blob(dict.fromkeys(small, lfs_transfer.POINTER_BYTES))
    )
    return {sha256 for sha256 in named if sha256 is not None}
