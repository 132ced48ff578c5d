"""Finds out why a stage does not reproduce the recorded outputs from the same inputs: it is not deterministic, or the environment differs.

The stage is run again in place. If the two results differ, one factor at a time is fixed, to name the one that makes them equal. If they
are equal, the environment is compared with that of the recorded run. Costs up to seven runs; a slow stage is not run for the factors.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dvlite.formats.record import Run
from dvlite.pipeline.stages import Stage
from dvlite.rerun.sandbox import RunOutcome

FACTOR_SECONDS = 120.0  # a stage that takes longer is not run again for each factor
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS")
_HASHES = ("PYTHONHASHSEED",)
THREADS, HASHES = "the number of threads", "the order of Python's hashes"

RunAgain = Callable[[Mapping[str, str], str], RunOutcome]  # (variables, description of the attempt)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Whether a second run produced the same outputs, and else the factor with which they vary: `the number of threads`."""

    repeats: bool | None  # None: there was no second run
    varies_with: str | None = None
    runs: int = 1
    failure: str | None = None


def diagnose(stage: Stage, first: RunOutcome, environ: Mapping[str, str], again: RunAgain) -> Diagnosis:
    """Runs a stage again with the same inputs, to find out whether its results vary, and with which factor."""
    second = again({}, "again, to see whether the result is the same")
    if second.failure is not None:
        return Diagnosis(repeats=False, runs=1, failure=second.failure)
    if second.is_same(first):
        return Diagnosis(repeats=True)
    if first.ended.seconds > FACTOR_SECONDS:
        return Diagnosis(repeats=False)
    trials = _Trials(again)
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
    # All at once first: a stage that varies with none of them costs two runs, not two for each factor.
    if not trials.repeats(
        {name: value for factor in factors.values() for name, value in factor.items()}, "all factors"
    ):
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
        """Returns whether two runs with these variables produce the same outputs."""
        outcomes = []
        for _ in range(2):
            outcomes.append(self._again(variables, f"with {words} fixed"))
            self.runs += 1
            if outcomes[-1].failure is not None:
                return False
        return outcomes[0].is_same(outcomes[1])


def drift(recorded: Run, now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Returns how this environment differs from that of a recorded run: name -> (then, now); None for a value that one of them lacks."""
    then = recorded.surroundings
    return {
        name: (then.get(name), now.get(name)) for name in sorted({**then, **now}) if then.get(name) != now.get(name)
    }
