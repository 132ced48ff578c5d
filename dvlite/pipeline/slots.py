"""What may run side by side: at most so many commands, within the resources of the machine, none that share a mutex. Hands out GPUs. Pure."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dvlite.formats.pipeline import RunLimits
from dvlite.pipeline.stages import Stage
from dvlite.show import count

GPU_VARIABLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class Machine:
    """What stages share; `gpus` are the devices by the names that CUDA_VISIBLE_DEVICES takes."""

    cpus: float = 1
    memory_bytes: int = 0
    gpus: tuple[str, ...] = ()


@dataclass(slots=True)
class Taken:
    """The places taken of one machine, shared by the invocations of one command, in threads: with the GPUs of each."""

    by_stage: dict[tuple[int, str], tuple[RunLimits, tuple[str, ...]]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(slots=True)
class Slots:
    """The places of one invocation. A stage that asks for more CPUs or memory than there are runs alone."""

    jobs: int
    machine: Machine
    taken: Taken = field(default_factory=Taken)
    _own: dict[str, Mapping[str, str]] = field(default_factory=dict)  # by address, the variables that its command gets

    @property
    def is_full(self) -> bool:
        return len(self._own) >= self.jobs

    def require(self, stage: Stage) -> None:
        """Raises FormatError for a stage that needs more GPUs than the machine has: it could never run."""
        wanted, there = stage.spec.limits.gpu or 0, len(self.machine.gpus)
        if wanted > there:
            raise stage.wrong(
                stage.spec.line,
                f"{stage.address} needs {count(wanted, 'GPU')}, and {there} can be used",
                hint=f"lower its resources, or name the devices: {GPU_VARIABLE}=0,1 dvlite repro",
            )

    def take_away(self, address: str, limits: RunLimits) -> bool:
        """Takes a place for a stage that runs on another machine, which only a mutex can prevent."""
        with self.taken.lock:
            if any(set(limits.mutex).intersection(other.mutex) for other, _ in self.taken.by_stage.values()):
                return False
            self.taken.by_stage[id(self), address] = RunLimits(mutex=limits.mutex), ()
            return True

    def take(self, address: str, limits: RunLimits) -> bool:
        """Takes a place for a stage, if it fits now beside what runs."""
        with self.taken.lock:
            others = [other for other, _ in self.taken.by_stage.values()]
            busy = {gpu for _, gpus in self.taken.by_stage.values() for gpu in gpus}
            free = tuple(gpu for gpu in self.machine.gpus if gpu not in busy)
            if self.is_full or (others and not self._fits(limits, others, len(free))):
                return False
            gpus = free[: limits.gpu or 0]
            self.taken.by_stage[id(self), address] = limits, gpus
            self._own[address] = {} if limits.gpu is None else {GPU_VARIABLE: ",".join(gpus)}
            return True

    def _fits(self, limits: RunLimits, others: Sequence[RunLimits], free_gpus: int) -> bool:
        return (
            not any(set(limits.mutex).intersection(other.mutex) for other in others)
            and limits.cpu + sum(other.cpu for other in others) <= self.machine.cpus
            and limits.memory_bytes + sum(other.memory_bytes for other in others) <= self.machine.memory_bytes
            and (limits.gpu or 0) <= free_gpus
        )

    def variables(self, address: str) -> Mapping[str, str]:
        """Returns the variables of a stage that has a place."""
        return self._own[address]

    def give_back(self, address: str) -> None:
        """Gives a place back; idempotent."""
        self._own.pop(address, None)
        with self.taken.lock:
            self.taken.by_stage.pop((id(self), address), None)
