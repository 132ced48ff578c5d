"""What several invocations have in common that run side by side in one process: equal stages run once, and what is known of the machine.

Knows no work tree: each invocation has its own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from dvlite.errors import DvliteError
from dvlite.oid import Oid
from dvlite.pipeline.executor import Interrupted
from dvlite.pipeline.slots import Taken
from dvlite.runs.index import RunIndex

_LOOK_SECONDS = 0.1


@dataclass(slots=True)
class SharedRuns:
    """Shared by the threads of one command. `index` is of the runs before it; `probes` are the Pythons that were asked."""

    index: RunIndex
    sweep: str
    probes: dict[Any, Any] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)
    taken: Taken = field(default_factory=Taken)
    _runs: dict[str, Oid] = field(default_factory=dict)  # by stage key: what ran, or was reused, in this command
    _failed: dict[str, str] = field(default_factory=dict)
    _made: set[str] = field(default_factory=set)
    _busy: set[str] = field(default_factory=set)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def claim(self, key: str) -> Oid | None:
        """Waits while another invocation settles a stage of this key and returns its run; None: it is the caller's, who calls `settle`.

        Raises DvliteError if it failed there, Interrupted if the command ends.
        """
        with self._changed:
            while key in self._busy:
                self._changed.wait(_LOOK_SECONDS)
                if self.stopping.is_set():
                    raise Interrupted("the command ends")
            if key in self._failed:
                raise DvliteError(f"{self._failed[key]} in another variant, with the same inputs")
            if key not in self._runs:
                self._busy.add(key)
            return self._runs.get(key)

    def settle(
        self, key: str, run: Oid | None = None, *, outputs: Iterable[str] = (), failed: str | None = None
    ) -> None:
        """Ends a claim: with the run that has the outputs, as failed, or with neither, so that the next one tries it. Idempotent."""
        with self._changed:
            self._busy.discard(key)
            if run is not None:
                self._runs[key] = run
            if failed is not None:
                self._failed[key] = failed
            self._made.update(outputs)
            self._changed.notify_all()

    def pause(self) -> None:
        """Waits a moment for what other invocations run. Raises Interrupted if the command ends."""
        with self._changed:
            self._changed.wait(_LOOK_SECONDS)
        if self.stopping.is_set():
            raise Interrupted("the command ends")

    def has_made(self, version: str) -> bool:
        """Returns whether a run of this command made a version."""
        return version in self._made
