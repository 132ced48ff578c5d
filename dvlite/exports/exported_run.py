"""A run as exports take it, and the short names that other programs show for its parameters and metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dvlite.formats import record
from dvlite.formats.record import Output, Run
from dvlite.formats.series import Series
from dvlite.oid import Oid
from dvlite.runs.schema import HAS_OUTPUTS


@dataclass(frozen=True, slots=True)
class ExportedRun:
    """A run with its id, its name (`train-7f3a9c`), its tags and its series by `file:name`; `is_whole`: these are all that it has."""

    run: Run
    oid: Oid
    name: str
    tags: tuple[str, ...] = ()
    series: Mapping[str, Series] = field(default_factory=dict)
    is_whole: bool = True

    @property
    def long_name(self) -> str:
        """A name that no other run has, `train-7f3a9c0d1e2f3a4b`: `runs show` takes it."""
        return f"{self.run.stage}-{self.oid.rpartition(':')[2][:16]}"

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What it wrote; what is left of a run that failed is no output of it, as in `lineage`."""
        return self.run.outputs if self.run.status in HAS_OUTPUTS else ()

    @property
    def start_ms(self) -> int:
        """When it began, in milliseconds since 1970."""
        return record.time_ns(self.run.start) // 1_000_000

    @property
    def numbers(self) -> dict[str, float]:
        """The metrics that are numbers and have no series."""
        return {
            key: float(value)
            for key, value in self.run.metrics.items()
            if key not in self.series and isinstance(value, int | float) and not isinstance(value, bool)
        }


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """Returns `acc` for each `metrics.json:acc`, and the whole key where several files have that name."""
    short = {key: key.partition(":")[2] or key for key in keys}
    often = Counter(short.values())
    return {key: key if often[name] > 1 else name for key, name in short.items()}
