"""Reads from a remote what says how the rest is to be taken: its config, and the lists of condemned packs, which are kept in the cache."""

from __future__ import annotations

from dvlite.errors import ObjectCorrupt
from dvlite.formats import condemned, store_config
from dvlite.formats.condemned import Condemned
from dvlite.formats.store_config import StoreConfig
from dvlite.oid import digest_bytes
from dvlite.store.object_store import ObjectAbsent
from dvlite.store.remote import Remote

_MAX_CONFIG_BYTES = 64 * 1024


def config_of(remote: Remote) -> StoreConfig | None:
    """Returns the config, None if there is none yet. Raises ObjectCorrupt for an empty one, and FormatError."""
    where = f"the config of {remote.store.label}"
    try:
        data = remote.get(store_config.NAME, end=_MAX_CONFIG_BYTES)
    except ObjectAbsent:
        return None
    if not data.strip():
        raise ObjectCorrupt(
            f"{where} is damaged: it is empty", hint="copy it from a backup, or from a remote that was set up alike"
        )
    return store_config.parse(data, where)


def condemned_list(remote: Remote, name: str) -> Condemned:
    """Returns what a list condemns."""
    short = name[len(condemned.FOLDER) :]
    data = remote.kept("condemned", short)
    if data is None or digest_bytes(data).hex() != short:
        data = remote.get(name, end=condemned.MAX_BYTES + 1)
        if digest_bytes(data).hex() != short:
            raise ObjectCorrupt(
                f"object {name} on {remote.store.label} is damaged: its bytes are not the ones that its name promises"
            )
        remote.keep("condemned", short, data)
    return condemned.parse(data, f"{name} on {remote.store.label}")
