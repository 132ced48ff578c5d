"""What a remote is to the layers above: named bytes that are written once, listed fresh and deleted in batches.

Owns the contract that every backend keeps (tests/store/contract.py) and the names that are legal. Knows no backend; the layers above
import all of this from here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dvlite.errors import FormatError, RemoteError
from dvlite.show import quote

Buffer = bytes | bytearray | memoryview

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(?:/[a-z0-9][a-z0-9._-]*)*")
_PREFIX = re.compile(r"(?:[a-z0-9][a-z0-9._-]*/)*(?:[a-z0-9][a-z0-9._-]*)?")
_LONGEST_NAME = 512


@dataclass(frozen=True, slots=True)
class ObjectEntry:
    """One object as a listing shows it; `modified` is in unix seconds by the store's own clock."""

    name: str
    size_bytes: int
    modified: float


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects under a prefix, in no particular order, and the store's own clock when it answered."""

    entries: tuple[ObjectEntry, ...]
    now: float


class ObjectStore(Protocol):
    """Named bytes in a folder or a bucket. Every method may be called from many threads at once.

    What was acknowledged is durable, and every later `get` and `list` by anyone sees it. A failure that may pass is retried inside (see
    `store.retrying`); an error that comes out is final for this command. Errors are RemoteError, or NoSpace for a full disk.
    """

    label: str
    """What messages call this store: its URL and, if it is not the provider's own, its endpoint. Never holds a secret."""

    def get(self, name: str, *, start: int | None = None, end: int | None = None) -> bytes:
        """Returns the bytes of an object from `start` up to but not including `end`; fewer if it is shorter than that.

        Nothing is verified: the caller checks the hash. One round trip. Raises ObjectAbsent.
        """

    def put(self, name: str, data: Buffer, *, only_if_absent: bool = False) -> bool:
        """Stores an object under its final name, which shows all of the bytes or nothing; safe to repeat.

        With `only_if_absent`, returns False if the name is taken by other bytes; if it holds these very bytes that is success, for the
        answer to an earlier try of ours may have been lost. One round trip, two if the name is taken.
        """

    def list(self, prefix: str) -> Listing:
        """Returns every object whose name starts with `prefix`, from the store itself, never from memory of an earlier answer.

        Complete, or an error. Keys that are not names of ours are left out. One round trip for each 1,000 objects (a folder: none).
        """

    def delete(self, names: Sequence[str]) -> None:
        """Removes objects; a name that is absent is fine, so it is safe to repeat. One round trip for each 1,000 names."""

    def close(self) -> None:
        """Closes connections and ends the wait of retries; safe to repeat."""


class ObjectAbsent(RemoteError):
    """A store has no object of this name."""

    def __init__(self, name: str, label: str) -> None:
        super().__init__(f"cannot find {quote(name)} in {label}")
        self.name = name


class Transient(RemoteError):
    """A request failed in a way that may pass: no connection, no answer in time, a server that is busy or broke off.

    `answered`: by a server that speaks the protocol, so the place is right and it is worth waiting.
    """

    def __init__(self, message: str, *, hint: str | None = None, answered: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.answered = answered


def is_name(text: str) -> bool:
    """Returns whether `text` may name an object: lower case, nothing hidden, nothing that climbs."""
    return len(text) <= _LONGEST_NAME and ".." not in text and _NAME.fullmatch(text) is not None


def require_name(text: str) -> None:
    """Raises FormatError unless `text` may name an object."""
    if not is_name(text):
        raise FormatError(f"{quote(text[:80])} is not the name of an object")


def require_prefix(text: str) -> None:
    """Raises FormatError unless names may start with `text`."""
    if ".." in text or _PREFIX.fullmatch(text) is None:
        raise FormatError(f"{quote(text[:80])} is not the start of an object name")
