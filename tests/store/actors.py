"""What the clients of a schedule do: push, fetch, gc, purge, fsck and sync as the commands do, in a clone that has a cache and remotes, and no git.

gc, purge, fsck and sync are the commands' own code; what they ask of git is answered by `GitLess`, through the replacements in SETTINGS.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from dvlite.commands import fsck as fsck_command
from dvlite.commands.fsck import FsckOptions, FsckResult
from dvlite.errors import DvliteError
from dvlite.formats import manifest, recipe, store_config, tombstone
from dvlite.formats.pointer import Pointer
from dvlite.formats.snapshot import Version
from dvlite.formats.tombstone import Tombstone
from dvlite.health import remote as remote_health
from dvlite.oid import Digest, digest_bytes
from dvlite.repo import committed_versions
from dvlite.share import collect_remote, copy_versions
from dvlite.share.collect_remote import CollectOptions
from dvlite.share.copy_versions import SyncOptions
from dvlite.share.needs import Needs
from dvlite.store import cache_writer, pack, push_protocol, remote, stretches
from dvlite.store.cache import Cache
from dvlite.store.catalog import Catalog
from dvlite.store.collect import RunNeeds
from dvlite.store.object_store import ObjectStore
from tests.store.scheduler import InlinePool, LightRemote
from tests.store.world import PACK_BELOW, QUIET, SIGNER, Site

Content = dict[str, bytes]
ORIGIN, BACKUP = "origin", "backup"


class QuickPath(type(Path())):
    """A path that keeps what was joined to it: a quarter of the price of a schedule is making the same paths again."""

    __slots__ = ("_joined",)

    def __truediv__(self, name):
        try:
            return self._joined[name]
        except AttributeError:
            self._joined = {}
        except KeyError:
            pass
        made = self._joined[name] = super().__truediv__(name)
        return made


class QuickCache(Cache):
    """A cache whose folders are made once, as here nothing removes them."""

    def create(self) -> None:
        if not self.is_made:
            super().create()
            self.is_made = True

    is_made = False


@dataclass
class GitLess:
    """Stands for the repository of a clone: `kept` is what git names in it."""

    site: Site
    remotes: dict[str, LightRemote]
    kept: list[Version] = field(default_factory=list)
    config = SimpleNamespace(project=SIGNER.project, jobs=1, remote_names=())
    git = SimpleNamespace(config_get=lambda _: "", commit_times=lambda commits: commits, is_shallow=lambda: False)
    waits = True

    def remote(self, name: str | None = None, **_: object) -> SimpleNamespace:
        location = SimpleNamespace(text="memory", scheme="s3", folder=None)
        return SimpleNamespace(name=name or ORIGIN, key=name or ORIGIN, location=location)

    @property
    def common_dir(self) -> Path:
        return self.site.cache.folder


def _opened_for_gc(repo: GitLess, options: CollectOptions, _: object):
    name = options.remote or ORIGIN
    return contextlib.nullcontext((name, repo.remotes[name], repo.site.cache))


def _needs(repo: GitLess, *_: object, **__: object) -> Needs:
    ids = frozenset(version.id for version in repo.kept)
    return Needs(tuple(repo.kept), ids, frozenset(), frozenset(), {}, {})


def _open_remote(repo: GitLess, _: Cache, name: str | None, *__: object) -> tuple[str, LightRemote]:
    return name or ORIGIN, repo.remotes[name or ORIGIN]


def _nothing(*_: object, **__: object) -> None:
    return None


SETTINGS = (
    (pack, "TARGET_BYTES", 4_000),
    (recipe, "TERMS_PER_PART", 2),  # the large file has two parts
    (recipe, "LEAST_BYTES", 16),
    (stretches, "_BYTES_PER_PIECE", 32),
    (remote, "ThreadPoolExecutor", InlinePool),
    (cache_writer, "ThreadPoolExecutor", InlinePool),
    (store_config, "parse", functools.lru_cache(store_config.parse)),  # a twentieth of the price of a schedule
    (os, "urandom", os.urandom),  # put back by tests: a schedule draws its nonces from the seed
    (collect_remote, "_opened", _opened_for_gc),
    (collect_remote, "fetch_all_heads", lambda *_: contextlib.nullcontext()),
    (collect_remote, "gather", _needs),
    (collect_remote, "_run_needs", lambda *_: RunNeeds()),
    (fsck_command, "open_cache", lambda repo: repo.site.cache),
    (fsck_command, "open_remote", _open_remote),
    (remote_health, "gather", _needs),
    (remote_health, "_runs", _nothing),
    (remote_health, "from_workspace", _nothing),
    (remote_health, "named_versions", lambda repo, _: [version.id for version in repo.kept]),
    (committed_versions, "reachable", lambda *_, **__: []),
    (copy_versions, "open_cache", lambda repo: repo.site.cache),
    (copy_versions, "open_remote", _open_remote),
    (copy_versions, "lock", lambda *_, **__: contextlib.nullcontext()),
    (copy_versions, "PushedBefore", lambda *_: SimpleNamespace(of=lambda _: {})),
    (copy_versions, "commit_of", lambda *_: ""),
    (copy_versions, "dropped_by", lambda *_: {}),
    (copy_versions.share, "between", _nothing),
)


def clone(folder: Path, name: str, stores: dict[str, ObjectStore]) -> GitLess:
    """Returns a clone with an empty cache, or with that which a clone of this name left in the folder."""
    cache = QuickCache(QuickPath(folder / name), pack_below_bytes=PACK_BELOW)
    cache.create()
    own = digest_bytes(name.encode()).hex()[:32]
    remotes = {where: LightRemote(store, cache, where, jobs=1, clone=own) for where, store in stores.items()}
    return GitLess(Site(cache, next(iter(remotes.values()))), remotes)


def push(repo: GitLess, version: Version, where: str) -> None:
    """As share.publish does: look, plan, tombstones, then the protocol."""
    site, known = repo.site, [(each.kind, each.digest) for each in repo.site.versions["data"] if each != version]
    catalog = Catalog(repo.remotes[where]).look()

    def bases(_paths):
        return {version.path: known}

    first = push_protocol.plan(catalog, site.cache, [version], bases)
    if site.cache.purged:
        push_protocol.send_tombstones(catalog, SIGNER.project, set(first.purged.values()))
    push_protocol.run(catalog, site.cache, [version], bases, lambda path: _earlier(repo, path), SIGNER, QUIET, first)


def _earlier(repo: GitLess, path: str) -> list[Digest]:
    """Returns what files of other versions at a path are, as the history of git says it."""
    earlier: list[Digest] = []
    for version in repo.site.versions["data"]:
        with contextlib.suppress(DvliteError):
            entries = manifest.load(version.digest, repo.site.cache.read_node)
            names = [f"data/{os.fsdecode(name)}" for name in entries.paths]
            earlier += [entries.digest(names.index(path))] if path in names else []
    return earlier


def fetch(repo: GitLess, versions: Sequence[Version], where: str) -> list[Content | None]:
    """Fetches versions but for what was purged, and returns what the cache has of each then; None where something is missing."""
    site = Site(repo.site.cache, repo.remotes[where])
    with contextlib.suppress(DvliteError):
        site.fetch(*versions)
    got: list[Content | None] = []
    for version in versions:
        try:
            got.append(site.content(version))
        except DvliteError:
            got.append(None)
    return got


def gc(repo: GitLess, where: str) -> int:
    """Collects without any grace; returns how many packs it deleted."""
    return _collect(repo, CollectOptions(where, 1, apply=True, grace_seconds=0))


def purge(repo: GitLess, digests: Sequence[Digest], where: str) -> None:
    """Purges contents from one remote, as commands.purge does."""
    stone = tombstone.dump(Tombstone(tuple(sorted(digests)), path="data", project=SIGNER.project))
    repo.site.cache.bury(stone)
    _collect(repo, CollectOptions(where, 1, apply=True, grace_seconds=0, only_purged=True, tombstones=(stone,)))


def _collect(repo: GitLess, options: CollectOptions) -> int:
    done = collect_remote.collect_remote(repo, options, progress=QUIET).done
    return 0 if done is None else done.deleted_packs


def repair(repo: GitLess, where: str) -> FsckResult:
    return fsck_command.fsck(repo, FsckOptions(on_remote=True, remote=where, deep=True, repair=True), progress=QUIET)


def sync(repo: GitLess, version: Version, source: str, target: str) -> bool:
    """Copies a version; returns whether the target is said to have all of it."""
    pointer = Pointer("directory", version.digest, version.size_bytes)
    item = SimpleNamespace(path=version.path, pointer=pointer, commit="")
    result = copy_versions.copy_between(repo, [item], SyncOptions(source, target, 1), progress=QUIET)
    return all(path.state in ("copied", "present") for path in result.paths)
