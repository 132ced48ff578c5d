"""Which roots on a remote may fall: those whose versions their clone, or a clone that sleeps, needs no more (docs/explanation/protocol.md, 'Roots').

Decides and deletes nothing. What git names is asked of the caller, who has fetched from every git server.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from dvlite.formats import snapshot
from dvlite.formats.manifest import MAX_LEVEL
from dvlite.formats.snapshot import VersionId
from dvlite.oid import Digest
from dvlite.store import snapshots
from dvlite.store.catalog import Catalog

ASLEEP_SECONDS = 90 * 24 * 3600
OWN_SECONDS = 14 * 24 * 3600


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

    Raises ObjectMissing, ObjectCorrupt or FormatError for a snapshot that cannot be read: then nothing may fall.
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
    keeps = _Naming(catalog, set(by.kept).difference(by.covered))
    names = _Naming(catalog, set(by.named).difference(by.covered))
    for claim in claims:
        if claim.clone == by.clone:
            reason = "no longer needed here" if claim.age_seconds >= by.own_seconds else ""
            is_free = bool(reason) and claim.snapshot != by.claimed and not keeps.any_of(claim.snapshot)
        elif claim in bodies:
            body = bodies[claim]
            reason = "of a clone that is gone" if claim.clone in by.gone else "of a clone not seen for 90 days"
            is_free = (
                body is not None
                and body.project == by.project
                and (claim.clone in by.gone or body.commit in known)
                and not names.any_of(claim.snapshot)
            )
        else:
            reason, is_free = "", False
        if is_free:
            result.falling.append((claim, reason))
        else:
            result.standing.append(claim)
    return result


class _Naming:
    """Whether a snapshot names one of some versions; each node is read once, whatever shares it."""

    def __init__(self, catalog: Catalog, versions: Collection[VersionId]) -> None:
        self._read = snapshots.reader(catalog)
        self._versions = versions
        self._known: dict[Digest, bool] = {}

    def any_of(self, digest: Digest, below: int = MAX_LEVEL + 1) -> bool:
        known = self._known.get(digest)
        if known is None:
            level, children, versions = snapshot.node(digest, self._read(digest), below)
            known = any(version.id in self._versions for version in versions) or any(
                self.any_of(child, level) for child in children
            )
            self._known[digest] = known
        return known
