"""Turns walks into results: what is said of each thing and run, commits described in one look at git."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import replace

from dvlite.files import quote
from dvlite.formats.record import Run
from dvlite.lineage.choosing import name_of
from dvlite.lineage.graph import Graph, Thing, ran_of
from dvlite.lineage.history import described
from dvlite.lineage.opening import World
from dvlite.lineage.sources import Sources
from dvlite.oid import Oid
from dvlite.repo import Repo
from dvlite.results.lineage import (
    LineageArtefact,
    LineageCommit,
    LineageGraph,
    LineageLink,
    LineageRun,
    LineageRunName,
    LineageUse,
)


def report(graph: Graph, world: World, sources: Sources, *, run: Oid | None = None) -> LineageGraph:
    """Returns a walk as a result; `run` is the one that it began with, if it did not begin with content."""
    sources.commits_of_runs(graph.runs)
    artefacts = _artefacts(graph, sources)
    records = ((oid, sources.record(oid)) for oid in graph.runs)
    runs = [reported_run(oid, record, sources) for oid, record in records if record is not None]
    commits = [found.commit.commit for found in artefacts if found.commit is not None]
    commits += [found.commit.commit for found in runs if found.commit is not None]
    known = described(None if world.repo is None else world.repo.git, commits, sources.lookups.described)
    return LineageGraph(
        starts=tuple(map(link_of, graph.starts)),
        run=run,
        cut_runs=graph.hidden,
        artefacts=tuple(found if found.commit is None else _described(found, known) for found in artefacts),
        runs=tuple(found if found.commit is None else _described_run(found, known) for found in runs),
    )


def reported_run(oid: Oid, record: Run, sources: Sources) -> LineageRun:
    """Returns a run as a result, its commit not described yet."""
    commit, ran = sources.commit_of_run(oid), ran_of(record)
    return LineageRun(
        run=oid,
        name=name_of(record.stage, oid),
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
        inputs=tuple(map(link_of, ran.inputs)),
        outputs=tuple(map(link_of, ran.outputs)),
    )


def link_of(thing: Thing) -> LineageLink:
    """Returns content as results name it."""
    return LineageLink(oid=thing.oid, path=thing.path, size_bytes=thing.size_bytes, files=thing.files)


def _artefacts(graph: Graph, sources: Sources) -> list[LineageArtefact]:
    """Returns what is said of everything that was met."""
    oids = list(dict.fromkeys(thing.oid for thing in graph.things.values()))
    made = {oid for oid, ends in sources.makers(oids).items() if ends}
    made.update(thing.oid for ran in graph.runs.values() for thing in ran.outputs)  # of failed runs too
    unmade = [oid for oid in oids if oid not in made]
    users = {oid: ends[0][0] for oid, ends in sources.users(unmade).items() if ends}
    others = [oid for found in graph.made_by.values() for oid in found]
    others += [oid for steps in graph.steps.values() for step in steps for oid in step.others]
    names = _run_names(others, sources)
    return [_artefact(key, thing, graph, sources, made, users, names) for key, thing in graph.things.items()]


def _artefact(
    key: str,
    thing: Thing,
    graph: Graph,
    sources: Sources,
    made: Container[Oid],
    users: Mapping[Oid, Oid],
    names: Mapping[Oid, LineageRunName],
) -> LineageArtefact:
    made_by, steps = graph.made_by.get(key, ()), graph.steps.get(key, ())
    found = LineageArtefact(
        oid=thing.oid,
        path=thing.path,
        size_bytes=thing.size_bytes,
        files=thing.files,
        made_by=tuple(names[oid] for oid in made_by),
        held_by=tuple(map(link_of, graph.held_by.get(key, ()))),
        parts=tuple(map(link_of, graph.parts.get(key, ()))),
        used_by=tuple(LineageUse(run=step.run, others=tuple(names[oid] for oid in step.others)) for step in steps),
        now=tuple(sources.named_now(thing.oid)),
        cut_runs=graph.cut.get(key, 0),
    )
    if made_by or thing.oid in made:
        return replace(found, origin="run")
    if found.held_by:
        return replace(found, origin="directory")
    known = sources.source(thing, users.get(thing.oid))
    if known.origin == "unknown" and found.parts:
        return replace(found, origin="directory")
    commit = None if known.commit is None else LineageCommit(commit=known.commit)
    return replace(found, origin=known.origin, commit=commit, stage=known.stage, lockfile=known.lockfile)


def _run_names(oids: Iterable[Oid], sources: Sources) -> dict[Oid, LineageRunName]:
    wanted = list(dict.fromkeys(oids))
    known = sources.runs(wanted, inputs=False)
    return {
        oid: LineageRunName(run=oid, name=name_of(known[oid].stage, oid), status=known[oid].status)
        if oid in known
        else LineageRunName(run=oid, name=name_of("run", oid), status="unknown")
        for oid in wanted
    }


def _described(found: LineageArtefact, known: dict[str, LineageCommit]) -> LineageArtefact:
    return found if found.commit is None else replace(found, commit=known[found.commit.commit])


def _described_run(found: LineageRun, known: dict[str, LineageCommit]) -> LineageRun:
    return found if found.commit is None else replace(found, commit=known[found.commit.commit])


def _unkept(paths: Iterable[str], repo: Repo) -> list[str]:
    """Returns those of `paths` that are files of the work tree that git should have, for nothing else has them."""
    here = [path for path in paths if path and (repo.root / path).is_file()]
    ignored = repo.git.ignored(here)
    return [path for path in here if path not in ignored]


def warnings_of(graphs: Iterable[LineageGraph | None], sources: Sources, world: World) -> Iterable[str]:
    """Yields what the answer lacks, or may lack because listings could not be read."""
    found = (artefact for graph in graphs if graph is not None for artefact in graph.artefacts)
    unkept = (
        [] if world.repo is None else _unkept({one.path: None for one in found if one.origin == "unknown"}, world.repo)
    )
    if unkept:
        more = f" and {len(unkept) - 1:,} more" if len(unkept) > 1 else ""
        yield f"git does not have {quote(unkept[0])}{more}: only the hash of what was used is known; git add keeps it"
    count = len(sources.listings.unread)
    if count:
        listings = "the listing of 1 directory" if count == 1 else f"the listings of {count:,} directories"
        why = f" ({world.unreachable})" if world.unreachable else ""
        yield f"{listings} could not be read{why}: something that lies inside may be missing here"
