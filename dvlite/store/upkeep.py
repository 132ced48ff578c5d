"""What a look at a remote shows of its upkeep, for those who look for another reason: what `fsck` mends and `gc` deletes.

Makes no request, but for one listing where something seems to be missing. Knows nothing of what is needed.
"""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.oid import Digest
from dvlite.show import size_text, word
from dvlite.store.catalog import Catalog

_OLD_SECONDS = 24 * 3600  # after which the next collection deletes what was given up
_MUCH = 0.1  # of a remote


def advice(catalog: Catalog, name: str) -> Iterator[str]:
    """Yields sentences about a remote, given with its name, each with the command that is the answer."""
    if bad := len(_damaged(catalog)):
        are = f"objects on {name} are" if bad > 1 else f"object on {name} is"
        yield f"{bad:,} {are} damaged or missing: dvlite fsck --remote {word(name)} --repair"
    due = [
        pack for pack, at in catalog.condemned_at.items() if pack in catalog.packs and at <= catalog.now - _OLD_SECONDS
    ]
    size_bytes = sum(catalog.packs[pack] for pack in due)
    if size_bytes > _MUCH * sum(catalog.packs.values()):
        yield f"{size_text(size_bytes)} on {name} was given up by an earlier gc and can go now: dvlite gc --remote {word(name)} --yes"


def _damaged(catalog: Catalog) -> set[Digest]:
    """Returns packs that were noted as damaged, that have another length than every index says, or that are gone and were not condemned."""
    here = catalog.damage_notes() & catalog.packs.keys()
    here |= {pack for pack in catalog.packs if not catalog.is_whole(pack)}
    gone = catalog.indexed_packs().keys() - catalog.packs.keys() - catalog.condemned
    if gone:
        gone -= catalog.standing_packs()  # one may have come since, or be going
        gone -= catalog.look_at_condemned() | catalog.condemned
    return (here | gone) - catalog.condemned
