"""Runs as events of OpenLineage 2-0-2: a START and a COMPLETE, FAIL or ABORT for each, as JSON lines in a file, or in a folder a file for each run.

Source: openlineage.io/spec/2-0-2/OpenLineage.json and spec/facets. The events of a run are made of its record alone, so they are always the same.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from dvlite.errors import UsageError
from dvlite.exports.exported_run import ExportedRun
from dvlite.files import READ, write_atomic
from dvlite.formats.record import ImportedArtifact, Input, Output, Run
from dvlite.repo.stage_names import address
from dvlite.show import quote

Event = Mapping[str, Any]
_SPEC = "https://openlineage.io/spec"
_ENDS = {"failed": "FAIL", "tainted": "FAIL", "canceled": "ABORT"}  # all others are COMPLETE
_VERSIONS = {  # of the facets, as their schemas are called
    "DatasetVersionDatasetFacet": "1-0-1",
    "ErrorMessageRunFacet": "1-0-1",
    "ExecutionParametersRunFacet": "1-0-0",
    "InputStatisticsInputDatasetFacet": "1-0-0",
    "JobTypeJobFacet": "2-0-4",
    "OutputStatisticsOutputDatasetFacet": "1-0-2",
    "ParentRunFacet": "1-2-0",
    "ProcessingEngineRunFacet": "1-1-1",
    "SourceCodeJobFacet": "1-0-1",
    "SourceCodeLocationJobFacet": "1-1-0",
}
_RUN_FACET = "urn:dvlite:openlineage:run:1"
_SCP = re.compile(r"([\w.-]+@)?([\w.-]+):(?!//)(.+)")  # git@example.com:acme/birds
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://([^/]*)/?(.*)", re.DOTALL)
_LONGEST = 16 << 20  # bytes of a line that is read


def events_of(exported: ExportedRun, inherited: Mapping[str, Any]) -> list[Event]:
    """Returns the events of a run: how it began, and, unless it was imported while it ran, how it ended. `inherited`: parameters of the runs upstream."""
    run = exported.run
    facets, job = _run_facets(exported, inherited), _job(run)
    inputs = [_read(run, item) for item in run.inputs]
    outputs = [_written(run, item) for item in exported.outputs]
    for one in () if run.imported is None else run.imported.artifacts:
        if (place := _URL.fullmatch(one.url)) is not None:
            (inputs if one.role == "input" else outputs).append(_elsewhere(run, one, place))
    start = _event(run, "START", run.start, {"runId": run.id, "facets": facets}, job)
    if not run.end:
        return [{**start, "inputs": inputs, "outputs": []}]
    end_facets = {**facets, **_error(run), "dvlite_run": _own_facet(exported)}
    kind = _ENDS.get(run.status, "COMPLETE")
    end = _event(run, kind, run.end, {"runId": run.id, "facets": end_facets}, job)
    return [{**start, "inputs": inputs, "outputs": []}, {**end, "inputs": inputs, "outputs": outputs}]


def dump(events: Iterable[Event]) -> bytes:
    """Returns events as JSON lines."""
    lines = (json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n" for event in events)
    return "".join(lines).encode("utf-8", "replace")


class EventStream:
    """A stream, which knows nothing of earlier exports."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def add(self, exported: ExportedRun, inherited: Mapping[str, Any]) -> int:
        """Writes the events of a run."""
        events = events_of(exported, inherited)
        self._stream.write(dump(events))
        return len(events)

    def close(self) -> None:
        """Leaves the stream open: it is the caller's."""
        self._stream.flush()


class EventFolder:
    """A folder with a file for each run, which is called by its id."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, exported: ExportedRun, inherited: Mapping[str, Any]) -> int:
        """Writes the events of a run unless they are there; returns how many were written."""
        place = self._folder / f"{exported.run.id}.ndjson"
        if place.is_file():
            return 0
        events = events_of(exported, inherited)
        write_atomic(place, dump(events))
        return len(events)

    def close(self) -> None:
        """Has nothing to do: each file is durable."""


class EventFile:
    """A file that events are appended to; what is in it stays, but for a last line that was cut off."""

    def __init__(self, path: Path, shown: str) -> None:
        descriptor = os.open(path, READ | os.O_RDWR | os.O_CREAT, 0o666)
        self._file: BinaryIO = os.fdopen(descriptor, "r+b")
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            self._file.close()
            raise UsageError(f"{quote(shown)} is not an ordinary file", hint="- is standard output")
        try:
            self._known = self._read(shown)
        except BaseException:
            self._file.close()
            raise

    def add(self, exported: ExportedRun, inherited: Mapping[str, Any]) -> int:
        """Appends the events of a run that are not there; returns how many these are."""
        run = exported.run
        if {(run.id, "START"), (run.id, _ENDS.get(run.status, "COMPLETE"))} <= self._known:
            return 0
        events = events_of(exported, inherited)
        new = [event for event in events if (run.id, event["eventType"]) not in self._known]
        self._file.write(dump(new))
        return len(new)

    def close(self) -> None:
        """Makes durable what was appended."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def _read(self, shown: str) -> set[tuple[str, str]]:
        """Returns which events there are, by run and type, and goes to where the next one belongs."""
        known, end, number = set(), 0, 0
        while line := self._file.readline(_LONGEST):
            number += 1
            event = _parsed(line)
            if event is None and not line.endswith(b"\n") and number > 1 and len(line) < _LONGEST:
                break  # cut off: written again
            if event is None:
                message = f"line {number} of {quote(shown)} is no event of OpenLineage"
                raise UsageError(message, hint="name another file; it is made if it is not there")
            known.add(event)
            end += len(line)
            if not line.endswith(b"\n"):
                self._file.write(b"\n")
                end += 1
        self._file.seek(end)
        self._file.truncate()
        return known


def _parsed(line: bytes) -> tuple[str, str] | None:
    """Returns run and type of an event, with '' for those that have none; None for anything else."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or not isinstance(event.get("eventTime"), str):
        return None
    run = event.get("run")
    return str(run.get("runId", "") if isinstance(run, dict) else ""), str(event.get("eventType", ""))


def _event(run: Run, kind: str, time: str, of_run: Mapping[str, Any], job: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "eventType": kind,
        "eventTime": time,
        "run": of_run,
        "job": job,
        "producer": _producer(run),
        "schemaURL": f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent",
    }


def _producer(run: Run) -> str:
    return f"urn:dvlite:{run.dvlite}" if run.dvlite else "urn:dvlite"


def _facet(run: Run, name: str, /, **values: Any) -> dict[str, Any]:
    url = f"{_SPEC}/facets/{_VERSIONS[name]}/{name}.json#/$defs/{name}"
    return {"_producer": _producer(run), "_schemaURL": url, **values}


def _namespace(run: Run) -> str:
    """Returns what names of jobs and data are unique in: the repository, by its URL, else by the id of its project."""
    return _as_url(run.code.repo) if run.code.repo else f"dvlite://{run.project or 'unknown'}"


def _as_url(repository: str) -> str:
    scp = _SCP.fullmatch(repository)
    return repository if scp is None else f"ssh://{scp[1] or ''}{scp[2]}/{scp[3]}"


def _job(run: Run) -> dict[str, Any]:
    job_type = _facet(run, "JobTypeJobFacet", processingType="BATCH", integration="DVLITE", jobType="STAGE")
    facets: dict[str, Any] = {"jobType": job_type}
    if run.code.repo:
        place = _as_url(run.code.repo)
        located: dict[str, Any] = {"type": "git", "url": place, "repoUrl": place}
        located |= {"path": run.file} if run.imported is None else {}
        located |= {"version": run.code.commit} if run.code.commit else {}
        facets["sourceCodeLocation"] = _facet(run, "SourceCodeLocationJobFacet", **located)
    if run.facts.cmd:
        facets["sourceCode"] = _facet(run, "SourceCodeJobFacet", language="shell", sourceCode=run.facts.cmd)
    name = address(run.file, run.stage) if run.imported is None else run.stage
    return {"namespace": _namespace(run), "name": name, "facets": facets}


def _run_facets(exported: ExportedRun, inherited: Mapping[str, Any]) -> dict[str, Any]:
    run = exported.run
    facets: dict[str, Any] = {}
    if run.imported is None:
        parent = {"run": {"runId": run.invocation}, "job": {"namespace": _namespace(run), "name": "repro"}}
        facets["parent"] = _facet(run, "ParentRunFacet", **parent)
    params = {**inherited, **run.params}
    if params:
        values = [{"key": key, "name": key, "value": _value(value)} for key, value in sorted(params.items())]
        facets["executionParameters"] = _facet(run, "ExecutionParametersRunFacet", parameters=values)
    if run.dvlite:
        facets["processing_engine"] = _facet(run, "ProcessingEngineRunFacet", version=run.dvlite, name="dvlite")
    return facets


def _own_facet(exported: ExportedRun) -> dict[str, Any]:
    """Returns what no facet of the specification has a place for."""
    run = exported.run
    facts: dict[str, Any] = {
        "_producer": _producer(run),
        "_schemaURL": _RUN_FACET,
        "name": exported.long_name,
        "record": exported.oid,
        "status": run.status,
        "key": run.key,
        "of": run.of,
        "sweep": run.sweep,
        "taint": list(run.taint),
        "dirty": list(run.code.dirty),
        "metrics": dict(run.metrics),
    }
    return {key: value for key, value in facts.items() if value not in (None, "", [], {})}


def _error(run: Run) -> dict[str, Any]:
    """Returns why a run failed, as far as its record says."""
    if run.status not in _ENDS:
        return {}
    reasons = [f"changed while it ran: {', '.join(run.taint)}"] if run.taint else []
    reasons += ["it took too long"] if run.timed_out else []
    reasons += [f"signal {run.signal}"] if run.signal else []
    reasons += [f"exit code {run.exit_code}"] if run.exit_code else []
    message = "; ".join(reasons) or run.status
    return {"errorMessage": _facet(run, "ErrorMessageRunFacet", message=message, programmingLanguage="shell")}


def _read(run: Run, item: Input) -> dict[str, Any]:
    amount = _facet(run, "InputStatisticsInputDatasetFacet", size=item.size_bytes, fileCount=item.files)
    return {**_dataset(run, item), "inputFacets": {"inputStatistics": amount}}


def _written(run: Run, item: Output) -> dict[str, Any]:
    amount = _facet(run, "OutputStatisticsOutputDatasetFacet", size=item.size_bytes, fileCount=item.files)
    return {**_dataset(run, item), "outputFacets": {"outputStatistics": amount}}


def _dataset(run: Run, item: Input | Output) -> dict[str, Any]:
    version = _facet(run, "DatasetVersionDatasetFacet", datasetVersion=item.oid)
    return {"namespace": _namespace(run), "name": item.path, "facets": {"version": version}}


def _elsewhere(run: Run, one: ImportedArtifact, place: re.Match[str]) -> dict[str, Any]:
    """Returns what an imported run read or wrote, as the specification names files and objects by their URLs."""
    scheme, host, path = place.groups()
    named = (
        {"namespace": "file", "name": f"/{path}"}
        if scheme == "file"
        else {"namespace": f"{scheme}://{host}", "name": path}
    )
    if not one.digest:
        return {**named, "facets": {}}
    return {**named, "facets": {"version": _facet(run, "DatasetVersionDatasetFacet", datasetVersion=one.digest)}}


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
