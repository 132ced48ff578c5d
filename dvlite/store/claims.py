"""Which roots on a remote may fall: those whose versions their clone, or a clone that sleeps, needs no more (docs/explanation/protocol.md, 'Roots').

Decides and deletes nothing. What git names is asked of the caller, who has fetched from every git server.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from dvlite.errors import ObjectMissing
from dvlite.formats import snapshot
from dvlite.formats.manifest import MAX_LEVEL
from dvlite.formats.snapshot import Version, VersionId
from dvlite.oid import Digest
from dvlite.show import printable, quote, some
from dvlite.store import snapshots
from dvlite.store.catalog import Catalog

ASLEEP_SECONDS = 90 * 24 * 3600
OWN_SECONDS = 14 * 24 * 3600
_MOST_FLAGS = 5  # in a hint


@dataclass(frozen=True, slots=True)
class Claim:
    """A root: the object's name, the snapshot that it keeps, the clone that needs it, its age by the store's own dates."""

    name: str
    snapshot: Digest
    clone: str
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Owner:
    """What the clone that collects knows.

    `kept` are the versions that it keeps, `named` all that anything in it or on its git servers names, before or after the fetch;
    `known_commits` returns those of some commits that it has. Roots of its own that are older than `own_seconds` may fall. `claimed` is a snapshot of
    its own that stands, or is put before others go: a root is not needed for what that names. `gone` are clones that the user says are lost.
    """

    clone: str
    project: str
    kept: Collection[VersionId]
    named: Collection[VersionId]
    known_commits: Callable[[Collection[str]], Collection[str]]
    claimed: Digest | None = None
    covered: Collection[VersionId] = ()  # what `claimed` names
    lacking: Sequence[
        Version
    ] = ()  # versions that are kept, and were pushed from here, and that `claimed` does not name
    own_seconds: float = OWN_SECONDS
    gone: Collection[str] = ()


@dataclass(slots=True)
class Claims:
    """The roots of a listing, divided: those that stand, and those that may fall, each with the reason."""

    standing: list[Claim] = field(default_factory=list)
    falling: list[tuple[Claim, str]] = field(default_factory=list)


def listed(catalog: Catalog) -> list[Claim]:
    """Returns the roots that stand on a remote now; one listing."""
    now, roots = snapshots.listed_at(catalog.remote)
    return [Claim(entry.name, name.snapshot, name.clone, now - entry.modified) for entry, name in roots]


def judge(catalog: Catalog, claims: Iterable[Claim], by: Owner) -> Claims:
    """Divides roots. Reads their snapshots, and the bodies of those of sleeping clones.

    A claim of this clone, or of one that is gone, falls if its snapshot is lost. Raises ObjectMissing for another claim of that kind, and for one of
    this clone if it may be for something that is `lacking`, ObjectCorrupt or FormatError for a snapshot that cannot be read: then nothing may fall.
    """
    result = Claims()
    claims = list(claims)
    youngest: dict[str, float] = {}
    for claim in claims:
        youngest[claim.clone] = min(claim.age_seconds, youngest.get(claim.clone, claim.age_seconds))
    asleep = [
        claim
        for claim in claims
        if claim.clone != by.clone and (youngest[claim.clone] >= ASLEEP_SECONDS or claim.clone in by.gone)
    ]
    bodies = dict(zip(asleep, snapshots.bodies(catalog.remote, [claim.name for claim in asleep]), strict=True))
    known = by.known_commits({body.commit for body in bodies.values() if body is not None and body.commit})
    own = (claim.snapshot for claim in claims if claim.clone == by.clone)
    keeps = _Naming(catalog, set(by.kept).difference(by.covered), own)
    names = _Naming(catalog, set(by.named).difference(by.covered), (claim.snapshot for claim in bodies))
    for claim in claims:
        is_own, is_gone = claim.clone == by.clone, claim.clone in by.gone
        reason, is_free = "", False
        try:
            if is_own:
                reason = "no longer needed here"
                is_free = not keeps.any_of(claim.snapshot) and claim.age_seconds >= by.own_seconds
                is_free = is_free and claim.snapshot != by.claimed
            elif claim in bodies:
                body = bodies[claim]
                reason = "of a clone that is gone" if is_gone else "of a clone not seen for 90 days"
                is_named = names.any_of(claim.snapshot)
                is_ours = body is not None and body.project == by.project and (is_gone or body.commit in known)
                is_free = is_ours and not is_named
        except ObjectMissing as error:  # as of a push that died: what it keeps is not known
            if not (is_own or is_gone):
                raise lost(catalog, claim) from error
            if claim.snapshot == by.claimed:
                continue  # its list is put again before others go
            if is_own and by.lacking:
                raise _lost_here(catalog, by.lacking) from error
            reason, is_free = "its list of versions is lost", True
        if is_free:
            result.falling.append((claim, reason))
        else:
            result.standing.append(claim)
    return result


def lost(catalog: Catalog, claim: Claim) -> ObjectMissing:
    """Returns the error for a claim whose snapshot is not there: what its clone needs is not known."""
    body = snapshots.bodies(catalog.remote, [claim.name])[0]
    of = f"{claim.clone[:12]} ({printable(body.user)})" if body is not None and body.user else claim.clone[:12]
    return ObjectMissing(
        f"cannot collect on {catalog.remote.store.label}: the list of what clone {of} needs is lost",
        hint="in that clone: dvlite fsck --remote --repair, or dvlite gc --remote --yes; "
        f"if it is gone for good: dvlite gc --remote --forget-clone {claim.clone[:12]}",
    )


def _lost_here(catalog: Catalog, lacking: Sequence[Version]) -> ObjectMissing:
    paths = some([quote(path) for path in dict.fromkeys(version.path for version in lacking)], 3)
    flags = " ".join(f"--forget-version {version.digest.hex()[:12]}" for version in lacking[:_MOST_FLAGS])
    return ObjectMissing(
        f"cannot collect on {catalog.remote.store.label}: the list of what this clone needs is lost, and so is a part of {paths}; nothing was deleted",
        hint="to send it again: dvlite push --all-commits, or dvlite fsck --remote --repair; "
        f"if no copy is left anywhere: dvlite gc --remote {flags}",
    )


class _Naming:
    """Whether a snapshot names one of some versions, or an object of Git LFS; each node is read once, whatever shares it. Raises ObjectMissing if one is not there.

    Which of those objects git still needs is known to Git LFS alone, so they stay, as on its own servers.
    """

    def __init__(self, catalog: Catalog, versions: Collection[VersionId], asked: Iterable[Digest]) -> None:
        self._read = snapshots.reader(catalog, asked)
        self._versions = versions
        self._known: dict[Digest, bool] = {}

    def any_of(self, digest: Digest, below: int = MAX_LEVEL + 1) -> bool:
        known = self._known.get(digest)
        if known is None:
            level, children, versions = snapshot.node(digest, self._read(digest), below)
            is_below = [self.any_of(child, level) for child in children]  # of all: one that is lost is an error
            known = any(is_below) or any(
                version.id in self._versions or snapshot.lfs_sha256(version) is not None for version in versions
            )
            self._known[digest] = known
        return known
