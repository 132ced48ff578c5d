"""Turns walks into results: what is said of each thing and run, commits described in one look at git."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from dvlite.formats.record import Run
from dvlite.lineage.graph import Graph, Thing, inputs_of, outputs_of
from dvlite.lineage.history import described
from dvlite.lineage.opening import World
from dvlite.lineage.sources import Sources
from dvlite.oid import Oid
from dvlite.results.lineage import (
    LineageArtefact,
    LineageCommit,
    LineageGraph,
    LineageLink,
    LineageRun,
    LineageRunName,
    LineageUse,
)

_HEX = 6  # digits of a run's name


def run_name(stage: str, oid: str) -> str:
    """Returns what people call a run: `train-7f3a9c`."""
    return f"{stage}-{oid.rpartition(':')[2][:_HEX]}"


def report(graph: Graph, world: World, sources: Sources, *, run: Oid | None = None) -> LineageGraph:
    """Returns a walk as a result; `run` is the one that it began with, if it did not begin with content."""
    artefacts = [_artefact(key, thing, graph, sources) for key, thing in graph.things.items()]
    runs = [reported_run(oid, record, sources) for oid, record in graph.runs.items()]
    commits = [found.commit.commit for found in artefacts if found.commit is not None]
    commits += [found.commit.commit for found in runs if found.commit is not None]
    known = described(None if world.repo is None else world.repo.git, commits)
    return LineageGraph(
        starts=tuple(map(link_of, graph.starts)),
        run=run,
        cut_runs=graph.hidden,
        artefacts=tuple(found if found.commit is None else _described(found, known) for found in artefacts),
        runs=tuple(found if found.commit is None else _described_run(found, known) for found in runs),
    )


def reported_run(oid: Oid, record: Run, sources: Sources) -> LineageRun:
    """Returns a run as a result, its commit not described yet."""
    commit = sources.commit_of_run(oid)
    return LineageRun(
        run=oid,
        name=run_name(record.stage, oid),
        stage=record.stage,
        file=record.file,
        status=record.status,
        start=record.start,
        seconds=record.seconds,
        cmd=record.cmd,
        user=record.user,
        host=record.host,
        of=record.of,
        taint=record.taint,
        commit=None if commit is None else LineageCommit(commit=commit),
        repo=record.code.repo,
        code_commit=record.code.commit,
        dirty=record.code.dirty,
        diff=record.code.diff,
        params=record.params,
        environment=record.environment,
        capture=record.capture,
        metrics=record.metrics,
        inputs=tuple(map(link_of, inputs_of(record))),
        outputs=tuple(map(link_of, outputs_of(record))),
    )


def link_of(thing: Thing) -> LineageLink:
    """Returns content as results name it."""
    return LineageLink(oid=thing.oid, path=thing.path, size_bytes=thing.size_bytes, files=thing.files)


def _artefact(key: str, thing: Thing, graph: Graph, sources: Sources) -> LineageArtefact:
    made_by, steps = graph.made_by.get(key, ()), graph.steps.get(key, ())
    found = LineageArtefact(
        oid=thing.oid,
        path=thing.path,
        size_bytes=thing.size_bytes,
        files=thing.files,
        made_by=tuple(_run_named(oid, sources) for oid in made_by),
        held_by=tuple(map(link_of, graph.held_by.get(key, ()))),
        parts=tuple(map(link_of, graph.parts.get(key, ()))),
        used_by=tuple(
            LineageUse(run=step.run, others=tuple(_run_named(oid, sources) for oid in step.others)) for step in steps
        ),
        now=tuple(sources.named_now(thing.oid)),
        cut_runs=graph.cut.get(key, 0),
    )
    if made_by or sources.makers(thing.oid):
        return replace(found, origin="run")
    user = next(_users(thing, graph, sources), None)
    origin, commit = sources.origin(thing, user)
    if origin == "unknown" and (found.held_by or found.parts):
        origin = "directory"
    return replace(found, origin=origin, commit=None if commit is None else LineageCommit(commit=commit))


def _run_named(oid: Oid, sources: Sources) -> LineageRunName:
    record = sources.run(oid)
    stage, status = ("run", "unknown") if record is None else (record.stage, record.status)
    return LineageRunName(run=oid, name=run_name(stage, oid), status=status)


def _users(thing: Thing, graph: Graph, sources: Sources) -> Iterator[Run]:
    """Yields runs that began with a thing: where it was code tells whether it is."""
    for oid, _ in sources.users(thing.oid):
        record = graph.runs.get(oid) or sources.run(oid)
        if record is not None:
            yield record


def _described(found: LineageArtefact, known: dict[str, LineageCommit]) -> LineageArtefact:
    return found if found.commit is None else replace(found, commit=known[found.commit.commit])


def _described_run(found: LineageRun, known: dict[str, LineageCommit]) -> LineageRun:
    return found if found.commit is None else replace(found, commit=known[found.commit.commit])


def unread_warnings(sources: Sources, world: World) -> Iterable[str]:
    """Yields what the answer may lack, because listings could not be read."""
    count = len(sources.listings.unread)
    if count:
        listings = "the listing of 1 directory" if count == 1 else f"the listings of {count:,} directories"
        where = "" if world.remote is not None else "; dvlite lineage --remote NAME reads them there"
        yield f"{listings} could not be read, what is inside was not looked at{where}"
