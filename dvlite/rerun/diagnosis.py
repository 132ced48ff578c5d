"""Finds out why a stage does not give what was recorded from the same inputs: it is random in itself, or it is this machine.

It is run again in place. Two results: one factor at a time is held still, and the one that settles it is named. The same twice: what
differs from where it was recorded is told. Costs up to seven runs of the stage; the factors are left out for a stage that takes long.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dvlite.formats.record import Run
from dvlite.pipeline.stages import Stage
from dvlite.rerun.sandbox import Made

FACTOR_SECONDS = 120.0  # a stage that takes longer is not run again for each factor
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS")
_HASHES = ("PYTHONHASHSEED",)
THREADS, HASHES = "the number of threads", "the order of Python's hashes"

RunAgain = Callable[[Mapping[str, str], str], Made]  # (variables, words that say what is tried)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Whether a second run gave the same, and by which factor two results vary: `the number of threads`."""

    repeats: bool
    varies_with: str | None = None
    runs: int = 1
    failure: str | None = None


def diagnose(stage: Stage, first: Made, environ: Mapping[str, str], again: RunAgain) -> Diagnosis:
    """Runs a stage again, with the same inputs, until it is known whether and by what its results vary."""
    second = again({}, "again, to see whether it gives the same twice")
    if second.failure is not None:
        return Diagnosis(repeats=False, runs=1, failure=second.failure)
    if second.is_same(first):
        return Diagnosis(repeats=True)
    trials = _Trials(again)
    if first.ended.seconds > FACTOR_SECONDS:
        return Diagnosis(repeats=False)
    return Diagnosis(repeats=False, varies_with=_factor(stage, environ, trials), runs=1 + trials.runs)


def _factor(stage: Stage, environ: Mapping[str, str], trials: _Trials) -> str | None:
    threads = dict.fromkeys(_THREADS, "1")
    hashes = dict.fromkeys(_HASHES, "0")
    seen = {**environ, **stage.spec.env}
    factors = {}
    if seen.get("OMP_NUM_THREADS") != "1" and (os.cpu_count() or 1) > 1:
        factors[THREADS] = threads
    if "PYTHONHASHSEED" not in seen:
        factors[HASHES] = hashes
    if not factors:
        return None
    # All at once first: what is random in itself costs two runs, not two for each.
    if not trials.repeats({name: value for each in factors.values() for name, value in each.items()}, "all factors"):
        return None
    if len(factors) == 1:
        return next(iter(factors))
    for name in (HASHES, THREADS):
        if trials.repeats(factors[name], name):
            return name
    return f"{THREADS} and {HASHES}"


class _Trials:
    def __init__(self, again: RunAgain) -> None:
        self._again = again
        self.runs = 0

    def repeats(self, variables: Mapping[str, str], words: str) -> bool:
        """Says whether two runs with these variables give the same."""
        made = []
        for _ in range(2):
            made.append(self._again(variables, f"with {words} held still"))
            self.runs += 1
            if made[-1].failure is not None:
                return False
        return made[0].is_same(made[1])


def drift(recorded: Run, now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Returns what differs between where a run was recorded and here: name -> (then, now); None for what is not known of one side."""
    then = recorded.surroundings
    return {
        name: (then.get(name), now.get(name)) for name in sorted({**then, **now}) if then.get(name) != now.get(name)
    }
