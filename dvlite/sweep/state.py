"""What is kept of a sweep that is not over: what it tries, of which snapshot, and which variants are done (in git's folder, with the trees)."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dvlite import files
from dvlite.errors import UsageError
from dvlite.formats import record
from dvlite.repo.repository import Repo
from dvlite.share.needs import SWEEPS
from dvlite.show import quote, word
from dvlite.sweep import side_tree
from dvlite.sweep.variants import Settings

_PLAN, _DONE = "plan.json", "done-"
VariantState = Literal["ok", "failed", "canceled", "not run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantRun:
    """One variant of a sweep and what became of it. `stages` has the state of each stage, `runs` their records, both by address."""

    number: int  # from 1 on
    settings: Mapping[str, Any]
    state: VariantState = "not run"
    stages: Mapping[str, str] = field(default_factory=dict)
    runs: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What a sweep tries: stages as typed in a folder, settings, and the commit and the tree of git that all variants start from."""

    name: str
    targets: tuple[str, ...]
    folder: str
    variants: tuple[Settings, ...]
    commit: str = ""
    content: str = ""
    copied: tuple[str, ...] = ()  # files that git ignores and stages read


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfinishedSweep:
    """A sweep that is not over: it runs, or can be resumed."""

    name: str
    variants: int
    done: int
    running: bool = False


class Saved:
    """The state of one sweep on disk."""

    def __init__(self, repo: Repo, name: str) -> None:
        self._repo, self._name = repo, name
        self._folder = side_tree.folder_of(repo, name)

    @property
    def exists(self) -> bool:
        return (self._folder / _PLAN).is_file()

    def write(self, plan: SweepPlan) -> None:
        """Starts a sweep."""
        self._folder.mkdir(parents=True, exist_ok=True)
        files.write_atomic(self._folder / _PLAN, json.dumps(dataclasses.asdict(plan)).encode())

    def plan(self) -> SweepPlan:
        """Returns what the sweep tries."""
        known = json.loads(files.read_own(self._folder / _PLAN) or b"{}")
        variants = tuple(tuple((key, text) for key, text in settings) for settings in known.pop("variants"))
        targets, copied = tuple(known.pop("targets")), tuple(known.pop("copied"))
        return SweepPlan(**known, variants=variants, targets=targets, copied=copied)

    def note(self, run: VariantRun) -> None:
        """Adds what became of a variant."""
        data = json.dumps(dataclasses.asdict(run)).encode()
        files.write_atomic(self._folder / f"{_DONE}{run.number}", data, sync=False)

    def done(self) -> dict[int, VariantRun]:
        """Returns the variants that are done, by number."""
        runs = []
        for file in self._folder.glob(f"{_DONE}*"):
            with contextlib.suppress(ValueError, TypeError):  # torn by a power cut: the variant is run again
                runs.append(VariantRun(**json.loads(files.read_own(file) or b"")))
        return {run.number: run for run in runs if run.state == "ok"}

    def forget(self) -> None:
        """Ends a sweep: nothing of it is left but the runs."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._repo.git.delete_refs(SWEEPS + self._name)


def unfinished(repo: Repo) -> list[str]:
    """Returns the names of the sweeps that can be resumed, the newest last."""
    plans = Path(side_tree.folder_of(repo, "")).glob(f"*/{_PLAN}")
    return [plan.parent.name for plan in sorted(plans, key=lambda plan: plan.stat().st_mtime_ns)]


def overview(repo: Repo) -> list[UnfinishedSweep]:
    """Returns the sweeps that are not over, the newest last."""
    return [
        UnfinishedSweep(
            name=name,
            variants=len(Saved(repo, name).plan().variants),
            done=len(Saved(repo, name).done()),
            running=side_tree.is_held(repo, name),
        )
        for name in unfinished(repo)
    ]


def to_resume(repo: Repo, name: str) -> Saved:
    """Returns the sweep of this name, or without one the newest that is not over. Raises UsageError."""
    names = unfinished(repo)
    if name not in names and (name or not names):
        hint = f"to resume: {', '.join(map(word, names))}" if names else "dvlite try -S KEY=A,B starts one"
        raise UsageError(f"there is no unfinished sweep{name and f' {quote(name)}'}", hint=hint)
    return Saved(repo, name or names[-1])


def require_name(repo: Repo, name: str) -> None:
    """Raises UsageError for what cannot be the name of a new sweep."""
    if not record.is_sweep(name):
        raise UsageError(f"{quote(name)} cannot be the name of a sweep", hint="letters, digits, '.', '_' and '-'")
    if Saved(repo, name).exists:
        raise UsageError(
            f"the sweep {quote(name)} is not over", hint=f"dvlite try --resume {word(name)}, or another --name"
        )


def left(plan: SweepPlan, done: Mapping[int, VariantRun]) -> Sequence[int]:
    """Returns the numbers of the variants that are still to be run."""
    return [number for number in range(1, len(plan.variants) + 1) if number not in done]
