"""How far the reading of a store came: which objects were read in this round, so that jobs with a time limit get round (docs/reference/formats/check-round.md).

One small file per store. It saves work and decides nothing else: one that is damaged, or that a later dvlite wrote, is started over.
"""

from __future__ import annotations

import contextlib
import math
import re
import struct
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dvlite import files
from dvlite.errors import DvliteError
from dvlite.oid import DIGEST_BYTES, Digest, digest_bytes

MAGIC = b"DVLK"
VERSION = 1
_HEADER = struct.Struct("<4sB3sQQIII")  # magic, version, 0, began, completed, objects read, bad ones, recipes proven
_MAX_BYTES = 1 << 28
_SAVE_SECONDS = 20
_LOST = re.compile(r"([1-9]) ([0-9a-f]{64})")


@dataclass(slots=True)
class CheckRound:
    """Times are in unix seconds, 0 for never. `bad` and `proven` outlive a round."""

    began: int = 0
    completed: int = 0  # when the last round ended in which everything was read
    done: set[Digest] = field(default_factory=set)  # read in this round, and right
    bad: set[Digest] = field(default_factory=set)  # not right when they were read last: read again each time
    proven: set[Digest] = field(
        default_factory=set
    )  # recipes, by the BLAKE3 of their bytes, whose chunks were the file


class Reading:
    """The reading of one store: what to read now, and what was read. `clock` gives unix seconds.

    `percent` of all is read at most, None for no limit; with `again`, what this round has read already is read again.
    """

    def __init__(
        self, path: Path, clock: Callable[[], float], *, percent: float | None = None, again: bool = False
    ) -> None:
        self._path, self._clock, self._percent = path, clock, percent
        self.round = load(path)
        if again:
            self.round.done.clear()
            self.round.began = 0
        self._saved = clock()

    def choose(self, items: Sequence[Digest]) -> list[Digest]:
        """Returns what is to be read: bad ones first, then what this round has not read yet."""
        current = self.round
        current.began = current.began or int(self._clock())
        bad = [item for item in items if item in current.bad]
        left = [item for item in items if item not in current.done and item not in current.bad]
        return bad + (left if self._percent is None else left[: math.ceil(len(items) * self._percent / 100)])

    def read(self, item: Digest, *, right: bool) -> None:
        """Notes that an object was read."""
        (self.round.done if right else self.round.bad).add(item)
        if right:
            self.round.bad.discard(item)
        if self._clock() - self._saved > _SAVE_SECONDS:
            self._saved = self._clock()
            store(self._path, self.round)

    def end(self, items: Collection[Digest], proven: Collection[Digest] = ()) -> None:
        """Saves how far this came; the round ends if all items, which is everything that stands there, were read in it."""
        current, standing = self.round, set(items)
        current.proven.intersection_update(proven)
        current.bad &= standing
        current.done &= standing
        if standing <= current.done | current.bad:
            current.completed, current.began = int(self._clock()), 0
            current.done.clear()
        store(self._path, current)


def load_unfinished(path: Path) -> set[tuple[int, Digest]]:
    """Returns the objects, by kind, that a repair was about to bring back; of a damaged file the lines that are whole."""
    lines = (files.read_own(path, _MAX_BYTES) or b"").decode("ascii", "replace").splitlines()
    return {(int(match[1]), Digest(bytes.fromhex(match[2]))) for line in lines if (match := _LOST.fullmatch(line))}


def store_unfinished(path: Path, objects: Collection[tuple[int, Digest]]) -> None:
    """Saves them, durably, before the first damaged object is set aside; none: removes the file. Raises DvliteError."""
    if objects:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomic(path, "".join(f"{kind} {digest.hex()}\n" for kind, digest in sorted(objects)).encode())
    else:
        path.unlink(missing_ok=True)


def load(path: Path) -> CheckRound:
    """Returns how far the last check came; a new round if that is not known."""
    data = files.read_own(path, _MAX_BYTES) or b""
    body, checksum = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
    if len(body) < _HEADER.size or digest_bytes(body) != checksum:
        return CheckRound()
    magic, version, reserved, began, completed, done, bad, proven = _HEADER.unpack_from(body)
    names = [Digest(body[at : at + DIGEST_BYTES]) for at in range(_HEADER.size, len(body), DIGEST_BYTES)]
    if (magic, version, reserved) != (MAGIC, VERSION, bytes(3)) or len(names) != done + bad + proven:
        return CheckRound()
    return CheckRound(began, completed, set(names[:done]), set(names[done : done + bad]), set(names[done + bad :]))


def store(path: Path, current: CheckRound) -> None:
    """Saves how far a check came. Not synced, and left out where nothing can be written: the next one reads more than it had to."""
    with contextlib.suppress(DvliteError, OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomic(path, dump(current), sync=False)


def dump(current: CheckRound) -> bytes:
    """Returns the canonical bytes."""
    names = [sorted(current.done), sorted(current.bad), sorted(current.proven)]
    header = _HEADER.pack(MAGIC, VERSION, b"", current.began, current.completed, *map(len, names))
    body = b"".join([header, *(name for each in names for name in each)])
    return body + digest_bytes(body)
