"""Which versions must be complete, what names them, and who may still have the data of one that is lost."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dvlite.errors import DvliteError, ObjectCorrupt
from dvlite.formats import manifest
from dvlite.formats.manifest import EMPTY_DIR
from dvlite.formats.snapshot import Version, VersionId, version_of
from dvlite.health.findings import Health, LostVersion, NotChecked, short_list
from dvlite.oid import MANIFEST, Digest, format_oid
from dvlite.progress import Progress
from dvlite.repo import committed_versions
from dvlite.repo.repository import Repo
from dvlite.repo.revisions import Scope
from dvlite.repo.tracked_paths import Tracked
from dvlite.share.needs import KeepRules, gather, named_versions, projects_sharing, said_of
from dvlite.show import word
from dvlite.store.cache import Cache
from dvlite.store.check import Holder, Lost, lost_paths
from dvlite.store.fetch import Need


@dataclass(frozen=True, slots=True)
class NeededVersion:
    """A version that is needed, and where it is named: by a commit, a stage, or roots of these users."""

    version: Version
    item: Tracked | None = None
    users: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LostIn:
    """What is lost in a store, the versions that need it, and the store itself."""

    gone: Lost
    needed: Mapping[VersionId, NeededVersion]
    holder: Holder


def needed_here(repo: Repo, cache: Cache, health: Health, progress: Progress) -> dict[VersionId, NeededVersion]:
    """Returns the versions that this clone, and those that share its cache, refer to anywhere; not those that keep rules drop."""
    needed: dict[VersionId, NeededVersion] = {}
    try:
        items = repo.work_tree.tracked(broken=[])
        items += committed_versions.reachable(repo.git, Scope(all_commits=True), progress=progress)
        for item in items:
            version = version_of(item.path, item.pointer)
            known = needed.get(version.id)
            if known is None or (known.item is not None and not known.item.commit):
                needed[version.id] = NeededVersion(version, item)
        for clone in (repo, *projects_sharing(repo, cache)):
            with said_of(clone, repo):
                for kind, digest in named_versions(clone, progress):
                    needed.setdefault((kind, digest), NeededVersion(Version("", kind, digest, -1)))
        if KeepRules.of(repo, progress).text:
            for version_id in gather(repo, progress, fetched=False).dropped:
                needed.pop(version_id, None)
    except DvliteError as error:
        health.unchecked.append(NotChecked(what="which versions are needed", why=error.message, hint=error.hint))
    return needed


def name_lost(
    repo: Repo, gone: Lost, needed: Iterable[NeededVersion], holder: Holder, *, verb: str
) -> Iterator[LostVersion]:
    """Yields the versions that lack something; `verb` is what brings them back where somebody has them."""
    lacking = [(each, paths) for each in needed if (paths := lost_paths(each.version.id, gone, holder)) != []]
    commits = {each.item.commit for each, _ in lacking if each.item is not None and each.item.commit}
    known = repo.git.read_commits(commits) if commits else {}
    for each, paths in lacking:
        item, version = each.item, each.version
        commit = (item.commit or None) if item is not None else None
        stage = (item.stage or None) if item is not None else None
        author = (known[commit].author,) if commit in known else ()
        fix = verb
        if stage is not None:
            fix = f"dvlite repro --pull {word(stage)}"
        yield LostVersion(
            path=version.path,
            oid=format_oid(*version.id),
            commit=commit,
            stage=stage,
            files=short_list(os.fsdecode(path) for path in paths or ()),
            lost_files=len(paths or ()),
            who=tuple(dict.fromkeys((*each.users, *author))),
            fix=fix,
        )


def files_needed(wanted: LostIn) -> list[Need]:
    """Returns the files that are lost, with their size and a path; those in listings that are lost are not known."""
    needs: dict[Digest, Need] = {}

    def read(node: Digest) -> bytes:
        data = wanted.holder.read_nodes([node])
        if node not in data:
            raise ObjectCorrupt("a part of the listing is lost")
        return data[node]

    for (kind, digest), each in wanted.needed.items():
        path = each.version.path
        if kind != MANIFEST:
            if digest in wanted.gone.files:
                needs.setdefault(digest, Need(digest, each.version.size_bytes, path))
            continue
        if wanted.gone.files.issubset(needs):
            continue
        try:
            for leaf in manifest.leaves(digest, read):
                for i, inner in enumerate(leaf.paths):
                    name = leaf.digest(i)
                    if leaf.flags[i] != EMPTY_DIR and name in wanted.gone.files and name not in needs:
                        needs[name] = Need(name, leaf.sizes[i], f"{path}/{os.fsdecode(inner)}")
        except ObjectCorrupt:
            continue
    return list(needs.values())


def sized(needed: Iterable[NeededVersion]) -> Sequence[tuple[VersionId, int]]:
    """Returns versions as `check.lost` takes them."""
    return [(each.version.id, each.version.size_bytes) for each in needed]
