"""What an open file reads at a time: what is asked for, where it is asked for here and there; ever more, and ahead, where it reads on.

Has the form of a cache of fsspec, and knows nothing of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

_FIRST_BYTES = 128 << 10  # at the start of a file
_MOST_BYTES = 4 << 20  # at a time
_AHEAD_FROM_BYTES = 1 << 20  # who reads on for so long is read for ahead
_DEPTH = 4  # so many times of what is read at a time


class ReadAhead:
    """Reads through `fetch(start, stop)`, which `submit` runs in another thread. For one open file, which is for one thread."""

    name = "dvlite"

    def __init__(
        self,
        fetch: Callable[[int, int], bytes],
        size_bytes: int,
        submit: Callable[[Callable[[], bytes]], Future[bytes]],
    ) -> None:
        self._read, self._size, self._submit = fetch, size_bytes, submit
        self._start, self._block = 0, b""
        self._step = _FIRST_BYTES
        self._ahead: deque[tuple[int, int, Future[bytes]]] = deque()

    def _fetch(self, start: int | None, stop: int | None) -> bytes:  # the name is fsspec's
        begin = start or 0
        end = self._size if stop is None else min(stop, self._size)
        if begin >= end:
            return b""
        block_end = self._start + len(self._block)
        if not self._start <= begin <= block_end:
            self.close()
            self._step = _FIRST_BYTES
            self._start, self._block = begin, self._read(begin, end)
            return self._block
        at = begin - self._start
        if end <= block_end:
            return self._block[at : at + end - begin]
        pieces, position = [self._block[at:]], block_end
        while position < end:
            pieces.append(self._next(position, end)[: end - position])
            position += len(pieces[-1])
        return b"".join(filter(None, pieces)) if pieces[0] or len(pieces) > 2 else pieces[1]

    def _next(self, position: int, end: int) -> bytes:
        """Returns what follows, at least to `end` or a step of it, and has what comes then read ahead."""
        if self._ahead and self._ahead[0][0] == position:
            self._start, self._block = position, self._ahead.popleft()[2].result()
        else:
            self.close()
            self._start, self._block = position, self._read(position, min(max(end, position + self._step), self._size))
        self._step = min(2 * self._step, _MOST_BYTES)
        if self._step >= _AHEAD_FROM_BYTES:
            following = self._ahead[-1][1] if self._ahead else self._start + len(self._block)
            while len(self._ahead) < _DEPTH and following < self._size:
                begin, following = following, min(following + self._step, self._size)
                self._ahead.append((begin, following, self._submit(self._reading(begin, following))))
        return self._block

    def _reading(self, start: int, stop: int) -> Callable[[], bytes]:
        return lambda: self._read(start, stop)

    def close(self) -> None:
        """Forgets what was read ahead; what is on its way ends by itself."""
        for *_, future in self._ahead:
            future.cancel()
        self._ahead.clear()

    def _log_stats(self) -> str:
        return ""
