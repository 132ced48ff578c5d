"""The config of a remote: read at every look, kept by the clone, and written by the first push.

Where it was damaged or lost, a push writes it again as this clone knows it; its bytes are those of `formats.store_config`. Knows no other object.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

from dvlite.errors import DvliteError, FormatError, ObjectCorrupt, RemoteError
from dvlite.formats import store_config
from dvlite.formats.store_config import StoreConfig
from dvlite.progress import Progress
from dvlite.show import quote
from dvlite.store.object_store import ObjectAbsent
from dvlite.store.remote import Remote

_KEPT = ("config", "config")  # kind and name of the note that holds it as it was last read
_MAX_BYTES = 64 * 1024


class ConfigObject:
    """`value` is None if the last look saw none, or (`is_damaged`) one that is not whole."""

    def __init__(self, remote: Remote, progress: Progress) -> None:
        self._remote, self._progress = remote, progress
        self.value: StoreConfig | None = None
        self.is_damaged = False

    def look(self) -> None:
        """Reads it. Raises FormatError for one that this client may not read; a damaged one is a warning: all else is checked by itself."""
        remote = self._remote
        where = f"the config of {remote.store.label}"
        self.value, was_damaged, self.is_damaged = None, self.is_damaged, False
        try:
            data = remote.get(store_config.NAME, end=_MAX_BYTES)
            self.value = store_config.parse(data, where)
        except ObjectAbsent:
            return
        except ObjectCorrupt:
            self.is_damaged = True
            if not was_damaged:
                self._progress.warn(f"{where} is damaged: the next dvlite push writes it again")
            return
        if remote.recall(*_KEPT) != data:
            remote.remember(*_KEPT, data)  # it proves itself: a clone that was moved or copied can use it too

    def require_writable(self, *, has_data: bool, writes: bool = True) -> StoreConfig:
        """Returns it, after writing it (if `writes`) where there is none. Raises FormatError for a feature that this client does not know.

        Raises RemoteError if there is data, or something in its place, and this clone never saw it whole: what it said of chunker and
        features would be lost without a word.
        """
        if self.value is None and (has_data or self.is_damaged):
            self.look()  # a first push may have been writing meanwhile
        if self.value is None:
            again = has_data or self.is_damaged
            self.value = self._put(self._known(writes=writes) if again else store_config.dump(store_config.DEFAULT))
        unknown = self.value.unknown_features
        if unknown:
            raise FormatError(
                f"cannot write to {self._remote.store.label}: it uses {', '.join(map(quote, unknown))}, which this dvlite does not know",
                hint="upgrade dvlite; nothing was written",
            )
        return self.value

    @property
    def kept(self) -> StoreConfig | None:
        """The config as this clone last read it: a guess at what a look is going to see."""
        kept = self._kept()
        return None if kept is None else store_config.parse(kept, "the kept config")

    def require(self, feature: str) -> None:
        """Makes the config require a feature, unless it does; the remote has a config. Raises RemoteError."""
        value = self.require_writable(has_data=True)
        if feature not in value.requires:
            requires = tuple(sorted({*value.requires, feature}))
            if feature not in self._put(store_config.dump(replace(value, requires=requires))).requires:
                raise RemoteError(
                    f"the config of {self._remote.store.label} was written by another client at the same moment",
                    hint="run the command again",
                )

    def _known(self, *, writes: bool) -> bytes:
        """Returns the bytes that the clone kept, with a warning that they are written again."""
        label, what = self._remote.store.label, "damaged" if self.is_damaged else "gone"
        kept = self._kept()
        if kept is not None and not writes:
            raise RemoteError(f"cannot write to {label}: its config is {what}", hint="dvlite push writes it again")
        if kept is None:
            raise RemoteError(
                f"cannot write to {label}: its config is {what}, and this clone never saw it",
                hint="run dvlite push in a clone that used this remote before; else put the object 'config' back from a backup",
            )
        self._progress.warn(f"the config of {label} was {what}; it is written again as this clone knows it")
        return kept

    def _kept(self) -> bytes | None:
        data = self._remote.recall(*_KEPT)
        with contextlib.suppress(DvliteError):
            store_config.parse(data or b"", "the kept config")
            return data
        return None

    def _put(self, data: bytes) -> StoreConfig:
        """Writes it and reads it back: without a whole one, no other clone can push."""
        for _ in range(2):
            self._remote.put(store_config.NAME, data)
            self.look()
            if self.value is not None:
                return self.value
        raise RemoteError(
            f"cannot write to {self._remote.store.label}: it took the config and does not have it",
            hint="see whether it keeps what it acknowledges: dvlite remote test",
        )
