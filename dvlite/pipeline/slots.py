"""What may run side by side: at most so many commands, within the resources of the machine, none that share a mutex. Hands out GPUs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
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
class Slots:
    """The places of one invocation. A stage that asks for more CPUs or memory than there are runs alone."""

    jobs: int
    machine: Machine
    _taken: dict[str, tuple[RunLimits, tuple[str, ...]]] = field(default_factory=dict)  # by address, with the GPUs

    @property
    def is_full(self) -> bool:
        return len(self._taken) >= self.jobs

    def require(self, stage: Stage) -> None:
        """Raises FormatError for a stage that needs more GPUs than the machine has: it could never run."""
        wanted, there = stage.spec.limits.gpu or 0, len(self.machine.gpus)
        if wanted > there:
            raise stage.wrong(
                stage.spec.line,
                f"{stage.address} needs {count(wanted, 'GPU')}, and {there} can be used",
                hint=f"lower its resources, or name the devices: {GPU_VARIABLE}=0,1 dvlite repro",
            )

    def fits(self, limits: RunLimits) -> bool:
        """Returns whether a stage with these limits may start now."""
        if not self._taken:
            return True
        others = [taken for taken, _ in self._taken.values()]
        return (
            not self.is_full
            and not any(set(limits.mutex).intersection(other.mutex) for other in others)
            and limits.cpu + sum(other.cpu for other in others) <= self.machine.cpus
            and limits.memory_bytes + sum(other.memory_bytes for other in others) <= self.machine.memory_bytes
            and (limits.gpu or 0) <= len(self._free_gpus())
        )

    def take(self, address: str, limits: RunLimits) -> Mapping[str, str]:
        """Takes a place for a stage that fits; returns the variables that its command gets."""
        gpus = self._free_gpus()[: limits.gpu or 0]
        self._taken[address] = limits, gpus
        return {} if limits.gpu is None else {GPU_VARIABLE: ",".join(gpus)}

    def give_back(self, address: str) -> None:
        """Gives a place back; idempotent."""
        self._taken.pop(address, None)

    def _free_gpus(self) -> tuple[str, ...]:
        taken = {gpu for _, gpus in self._taken.values() for gpu in gpus}
        return tuple(gpu for gpu in self.machine.gpus if gpu not in taken)
