"""`log`: metrics as a training program writes them, step by step: a series (docs/reference/formats/series.md), and a summary beside it.

Each line is written at once, so that a run that is killed keeps what it had. No thread, no network, no repository. One process writes a log.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from dvlite.errors import UsageError
from dvlite.files import write_atomic
from dvlite.show import quote

_SUMMARY_EVERY_SECONDS = 1.0
_OWN = frozenset({"step", "time"})


def log(name: str | os.PathLike[str], *, resume: bool = False) -> TrainingLog:
    """Opens a log: a series in `NAME.jsonl`, and a summary in `NAME.json`. Use it in a `with`, or close it.

    What was there is replaced; with `resume` it goes on, after the last whole line.
    """
    return TrainingLog(name, resume=resume)


class TrainingLog:
    """Writes the numbers that it is called with. Threads may share one; of several processes, let one write."""

    def __init__(self, name: str | os.PathLike[str], *, resume: bool = False) -> None:
        base = os.fspath(name).removesuffix(".jsonl")
        self.path, self.summary_path = Path(f"{base}.jsonl"), Path(f"{base}.json")
        self._lock = threading.Lock()
        self._next_step = 0
        self._ranges: dict[str, dict[str, float]] = {}  # the least and the greatest value of each series
        self._summary: dict[str, Any] = {}
        self._summary_written = 0.0
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if resume:
            self._continue()
        else:  # not truncated: it may be a link into the cache
            self.path.unlink(missing_ok=True)
        self._file = open(self.path, "ab")  # noqa: SIM115  # until it is closed
        self._write_summary()
        self._summary_written = -math.inf  # the first step is worth one

    def __call__(self, values: Mapping[str, Any] | None = None, /, *, step: int | None = None, **named: Any) -> None:
        """Writes the values of one step: numbers, arrays or tensors with one number, mappings of such (`{"val": {"acc": 0.9}}`).

        Without a step, it is the one after the last. A step that comes again, or goes back, replaces all from there on when the series is
        read: a run was resumed from a checkpoint. None is no value. Raises UsageError for what is no number.
        """
        numbers = dict(_numbers({**(values or {}), **named}, ""))
        with self._lock:
            number = self._next_step if step is None else _whole(step)
            line = json.dumps({"step": number, "time": round(time.time(), 3), **numbers}, separators=(",", ":"))
            self._file.write(line.encode() + b"\n")
            self._file.flush()
            self._next_step = number + 1
            self._widen(numbers)
            if time.monotonic() - self._summary_written >= _SUMMARY_EVERY_SECONDS:
                self._write_summary()

    def summary(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """Sets values that have no step: the result on the test set, the best epoch. They may be texts too."""
        with self._lock:
            self._summary |= {key: _jsonable(value) for key, value in {**(values or {}), **named}.items()}
            self._write_summary()

    def close(self) -> None:
        """Writes the summary. Idempotent."""
        with self._lock:
            if not self._file.closed:
                self._file.close()
                self._write_summary()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _widen(self, numbers: Mapping[str, float]) -> None:
        for key, value in numbers.items():
            if value == value:  # noqa: PLR0124  # NaN is neither least nor greatest
                known = self._ranges.setdefault(key, {"min": value, "max": value})
                known["min"], known["max"] = min(known["min"], value), max(known["max"], value)

    def _write_summary(self) -> None:
        ranges = {key: {name: _jsonable(value) for name, value in known.items()} for key, known in self._ranges.items()}
        text = json.dumps({**ranges, **self._summary}, indent=1)
        write_atomic(self.summary_path, f"{text}\n".encode(), sync=False)
        self._summary_written = time.monotonic()

    def _continue(self) -> None:
        """Takes up what an earlier process wrote; the end of a line that it could not finish goes."""
        from dvlite.formats import series  # 30 ms that only this pays

        if not self.path.exists():
            return
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data or os.stat(self.path).st_nlink > 1 or self.path.is_symlink():  # it may be that of the cache
            write_atomic(self.path, whole, sync=False)
        for name, one in series.parse(whole, self.path.name, str(self.path)).series.items():
            self._next_step = max(self._next_step, one.steps[-1] + 1)
            for value in one.values:
                self._widen({name: value})
        with contextlib.suppress(FileNotFoundError, ValueError):
            old = json.loads(self.summary_path.read_bytes())
            self._summary = {key: value for key, value in dict(old).items() if key not in self._ranges}


def _numbers(values: Mapping[str, Any], above: str) -> Iterator[tuple[str, float]]:
    """Yields the numbers of one step; keys of inner mappings are joined by dots."""
    for name, value in values.items():
        key = f"{above}{name}"
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{key}.")
        elif value is not None:
            if key in _OWN:
                raise UsageError(f"{quote(key)} is written by the log itself", hint="log(..., step=...)")
            number = _plain(value)
            if not isinstance(number, int | float):
                kind = type(value).__name__
                raise UsageError(f"{quote(key)} is no number but a {kind}", hint="what has no step: log.summary(...)")
            yield key, number + 0


def _plain(value: Any) -> Any:
    """Returns the number in an array or tensor that has one; anything else as it is."""
    if isinstance(value, int | float | str) or not hasattr(value, "item"):
        return value
    try:
        return value.item()
    except (ValueError, RuntimeError):  # it has more than one
        return value


def _whole(step: Any) -> int:
    number = _plain(step)
    if not isinstance(number, int) and not (isinstance(number, float) and number.is_integer()):
        raise UsageError(f"a step is a whole number, not {number!r}", hint="log(..., step=epoch)")
    return int(number)


def _jsonable(value: Any) -> Any:
    """Returns a value of the summary as every reader of JSON takes it: `"NaN"` and infinities as texts, as dvlite reads them."""
    value = _plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if value is None or isinstance(value, str | int | float):
        return value
    raise UsageError(
        f"a {type(value).__name__} is no value of a summary", hint="give numbers, texts, lists or mappings"
    )
