"""Tasks on a remote: given out, claimed by workers, and their results (docs/reference/formats/task.md).

A claim keeps two workers from doing the same work; it is advice, with dates of the store, and no result depends on it. Whatever lies
below `tasks/` is read as written by anyone.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dvlite.errors import DvliteError, FormatError, ObjectCorrupt, ObjectMissing
from dvlite.formats import strict_json, task
from dvlite.formats.snapshot import VersionId, version_of
from dvlite.formats.task import Task, TaskResult
from dvlite.oid import digest_task
from dvlite.store.object_store import ObjectAbsent, ObjectEntry
from dvlite.store.remote import Remote

CLAIM_SECONDS = 180.0  # that a claim holds after it was last renewed
_RENEW_SECONDS = 45.0
OLD_SECONDS = 90 * 24 * 3600  # of the newest object of a task: nobody waits for it
_MOST_RESULTS = 20  # of one task that are read, the newest
_CLAIM_BYTES = 4096
_GIVEN = re.compile(r"tasks/[0-9a-f]{64}/given-([0-9a-f]{32})\.json")
_CLAIM = re.compile(r"tasks/[0-9a-f]{64}/claim-([0-9]{6})\.json")


@dataclass(frozen=True, slots=True)
class OnRemote:
    """What a remote has of a task. `clones` gave it out; `claim` is the number of the newest claim, and its age by the store's dates."""

    task: str
    has_spec: bool = False
    clones: tuple[str, ...] = ()
    results: tuple[str, ...] = ()  # names, the newest first
    claim: tuple[int, float] | None = None
    age_seconds: float = 0.0  # of the newest object
    names: tuple[str, ...] = ()


@dataclass(slots=True)
class HeldTask:
    """A claim on a task that this worker holds: renewed beside the work until it is closed."""

    remote: Remote
    name: str
    data: bytes
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Renews it from now on; a renewal that fails is tried again at the next."""
        self._thread = threading.Thread(target=self._renew, daemon=True)
        self._thread.start()

    def close(self, *, release: bool) -> None:
        """Ends the renewals; `release`: another worker may take the task at once."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if release:
            with contextlib.suppress(DvliteError):
                self.remote.delete([self.name])

    def _renew(self) -> None:
        while not self._ended.wait(_RENEW_SECONDS):
            with contextlib.suppress(DvliteError):
                self.remote.put(self.name, self.data)


def look(remote: Remote, name: str) -> OnRemote:
    """Returns what a remote has of a task; one listing."""
    listing = remote.store.list(task.folder_of(name))
    return _seen(name, listing.entries, listing.now)


def look_at_all(remote: Remote) -> dict[str, OnRemote]:
    """Returns what a remote has of all tasks; a request for each 1,000 objects."""
    listing = remote.store.list(task.FOLDER)
    entries: dict[str, list[ObjectEntry]] = {}
    for entry in listing.entries:
        name = task.task_of(entry.name)
        if name is not None:
            entries.setdefault(name, []).append(entry)
    return {name: _seen(name, items, listing.now) for name, items in entries.items()}


def give_out(remote: Remote, items: Mapping[str, bytes], clone: str, project: str) -> None:
    """Puts tasks (their canonical bytes, by their ids), and that this clone gave them out; their inputs have to be there. Idempotent."""
    body = strict_json.dump({"dvlite_given": 1, "project": project})

    def put(name: str) -> None:
        remote.put(task.spec_name(name), items[name])
        remote.put(f"{task.folder_of(name)}given-{clone}.json", body)

    remote.run_all(put, list(items))


def withdraw(remote: Remote, names: Iterable[str], clone: str, failed: Iterable[str] = ()) -> None:
    """Takes back that a clone waits for these tasks: their results were taken up. Of what `failed`, the results (names of objects) go, so that it runs when it is given out again."""
    remote.delete([*(f"{task.folder_of(name)}given-{clone}.json" for name in names), *failed])


def put_list(remote: Remote, names: Sequence[str]) -> str:
    """Puts a list of tasks, and returns its id."""
    data = task.dump_list(names)
    name = digest_task(data)
    remote.put(task.list_name(name), data)
    return name


def listed(remote: Remote, name: str) -> tuple[str, ...]:
    """Returns the tasks that an id stands for: those of a list, or the task itself. Raises as `read`."""
    if any(entry.name == task.list_name(name) for entry in remote.store.list(task.folder_of(name)).entries):
        data = _whole(remote, name, task.list_name(name))
        return task.parse_list(data, f"the list {name[:12]} on {remote.store.label}")
    return (name,)


def read(remote: Remote, name: str) -> Task:
    """Returns a task. Raises ObjectMissing, ObjectCorrupt for bytes that are not those that its name says, FormatError."""
    return task.parse(_whole(remote, name, task.spec_name(name)), f"the task {name[:12]} on {remote.store.label}")


def _whole(remote: Remote, name: str, at: str) -> bytes:
    try:
        data = remote.get(at, end=task.MAX_BYTES + 1)
    except ObjectAbsent:
        hint = "give it out to this remote, in the clone: dvlite repro --to k8s"
        raise ObjectMissing(f"there is no task {name[:12]} on {remote.store.label}", hint=hint) from None
    if digest_task(data) != name:
        raise ObjectCorrupt(
            f"the task {name[:12]} on {remote.store.label} is damaged: its bytes are not those that its name says",
            hint="give it out again, in the clone: dvlite repro --to k8s",
        )
    return data


def results(remote: Remote, seen: OnRemote) -> Iterator[TaskResult]:
    """Yields the results of a task that can be read, the newest first."""
    for name in seen.results[:_MOST_RESULTS]:
        with contextlib.suppress(FormatError, ObjectAbsent):
            data = remote.get(name, end=task.MAX_BYTES + 1)
            if task.result_name(seen.task, data) == name:
                found = task.parse_result(data, name)
                if found.task == seen.task:
                    yield found


def is_done(result: TaskResult, of: Task) -> bool:
    """Returns whether a result has all units of a task, each with all of its outputs and none that it does not have."""
    outs = {unit.name: sorted(unit.outs) for unit in of.units}
    return {
        unit.name: sorted(file.path for file in unit.outputs) for unit in result.units if unit.problem is None
    } == outs


def put_result(remote: Remote, result: TaskResult) -> str:
    """Puts a result, and returns the name of its object."""
    data = task.dump_result(result)
    name = task.result_name(result.task, data)
    remote.put(name, data)
    return name


def claim(remote: Remote, seen: OnRemote, worker: str) -> HeldTask | None:
    """Claims a task; returns None if another worker has it. A claim of a worker of this name is taken over: it died, and was started again.

    One request; two where a claim stands.
    """
    number = 0
    if seen.claim is not None:
        number, age = seen.claim
        if age < CLAIM_SECONDS and _holder(remote, _claim_name(seen.task, number)) != worker:
            return None
    name = _claim_name(seen.task, number + 1)
    data = strict_json.dump({"dvlite_claim": 1, "worker": worker, "nonce": os.urandom(16).hex()})
    if number + 1 > _MOST_CLAIMS or not remote.store.put(name, data, only_if_absent=True):
        return None
    held = HeldTask(remote, name, data)
    held.start()
    return held


def is_held(seen: OnRemote) -> bool:
    """Returns whether a worker has claimed a task and renews that."""
    return seen.claim is not None and seen.claim[1] < CLAIM_SECONDS


def versions(remote: Remote, seen: Iterable[OnRemote]) -> set[VersionId]:
    """Returns what tasks read, and what their results name: what a clone that waits for them needs. Those that cannot be read name nothing."""
    found: set[VersionId] = set()
    for each in seen:
        with contextlib.suppress(FormatError, ObjectMissing, ObjectCorrupt):
            item = read(remote, each.task)
            files = [*item.files, *(file for unit in item.units for file in unit.inputs)]
            files += [file for result in results(remote, each) for unit in result.units for file in unit.outputs]
            found.update(version_of(file.path, file.pointer()).id for file in files)
    return found


def old(seen: Iterable[OnRemote]) -> Sequence[str]:
    """Returns the objects of tasks that nobody waits for: nothing of them was written for 90 days, by the store's own dates."""
    return [name for each in seen if each.age_seconds >= OLD_SECONDS for name in each.names]


_MOST_CLAIMS = 999_999


def _claim_name(name: str, number: int) -> str:
    return f"{task.folder_of(name)}claim-{number:06d}.json"


def _holder(remote: Remote, name: str) -> str:
    """Returns the worker that a claim names, '' if that cannot be read."""
    with contextlib.suppress(FormatError, ObjectAbsent):
        return str(strict_json.parse(remote.get(name, end=_CLAIM_BYTES + 1), name, limit_bytes=_CLAIM_BYTES)["worker"])
    return ""


def _seen(name: str, entries: Sequence[ObjectEntry], now: float) -> OnRemote:
    newest = sorted(entries, key=lambda entry: entry.modified, reverse=True)
    claims = {int(found[1]): entry for entry in entries if (found := _CLAIM.fullmatch(entry.name)) is not None}
    last = max(claims, default=0)
    return OnRemote(
        task=name,
        has_spec=any(entry.name == task.spec_name(name) for entry in entries),
        clones=tuple(found[1] for entry in newest if (found := _GIVEN.fullmatch(entry.name)) is not None),
        results=tuple(entry.name for entry in newest if task.is_result_name(entry.name)),
        claim=(last, max(0.0, now - claims[last].modified)) if claims else None,
        age_seconds=now - newest[0].modified if newest else 0.0,
        names=tuple(entry.name for entry in entries),
    )
