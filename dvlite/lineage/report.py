"""Turns walks into results: what is said of each thing and run, commits described in one look at git."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dvlite.files import quote
from dvlite.formats.record import Run
from dvlite.lineage.context import Context
from dvlite.lineage.provenance import Origin, Sources
from dvlite.lineage.walk import Walk, ran_of
from dvlite.oid import Oid
from dvlite.repo.repository import Repo
from dvlite.runs.history import LineageCommit, described
from dvlite.runs.names import name_of
from dvlite.runs.queries import Node
from dvlite.show import some


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageLink:
    """Content under the path that a run or a pointer gives it."""

    oid: str
    path: str
    size_bytes: int = 0
    files: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageRunName:
    """A run, and what people call it."""

    run: str
    name: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageUse:
    """A run that began with some content, and other runs of its stage that left the same."""

    run: str
    others: tuple[LineageRunName, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageArtefact:
    """One piece of content in a walk; `origin` says where it is from: a run, a stage whose run is not known, tracked data, git, a directory, or nobody knows."""

    oid: str
    path: str
    size_bytes: int = 0
    files: int = 1
    origin: Origin = "unknown"
    commit: LineageCommit | None = None  # whose pointer names it
    stage: str = ""  # of the lockfile that names it, where no run is known
    lockfile: str = ""
    made_by: tuple[LineageRunName, ...] = ()  # the first one is shown
    held_by: tuple[LineageLink, ...] = ()  # directories that have it inside
    parts: tuple[LineageLink, ...] = ()  # what runs know of what is inside
    used_by: tuple[LineageUse, ...] = ()
    now: tuple[str, ...] = ()  # where it is tracked or locked now
    cut_runs: int = 0  # runs behind it that --depth leaves out


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageRun:
    """A run, as far as a walk shows it; `commit` is the one whose lockfile names it, `code_commit` the one it was started from."""

    run: str
    name: str
    stage: str
    file: str
    status: str
    start: str
    seconds: float = 0.0
    cmd: str = ""
    user: str = ""
    host: str = ""
    of: str | None = None
    taint: tuple[str, ...] = ()
    commit: LineageCommit | None = None
    repo: str | None = None
    code_commit: str | None = None
    dirty: tuple[str, ...] = ()
    diff: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    capture: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[LineageLink, ...] = ()
    outputs: tuple[LineageLink, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageGraph:
    """A walk from `starts` (or from a run): what was met, in the order in which it was met."""

    starts: tuple[LineageLink, ...] = ()
    run: str | None = None
    artefacts: tuple[LineageArtefact, ...] = ()
    runs: tuple[LineageRun, ...] = ()
    cut_runs: int = 0  # runs that --depth leaves out


def key_of(link: LineageLink | LineageArtefact) -> str:
    """Returns what content is known by in a walk."""
    return Node(link.oid, link.path, link.size_bytes).key  # type: ignore[arg-type]  # results hold ids as plain text


def report(graph: Walk, world: Context, sources: Sources, *, run: Oid | None = None) -> LineageGraph:
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
        cmd=record.facts.cmd,
        user=record.user,
        host=record.host,
        of=record.of,
        taint=record.taint,
        commit=None if commit is None else LineageCommit(commit=commit),
        repo=record.code.repo,
        code_commit=record.code.commit,
        dirty=record.code.dirty,
        diff=record.code.diff,
        params=record.facts.params,
        environment=record.environment,
        capture=record.facts.capture,
        metrics=record.metrics,
        inputs=tuple(map(link_of, ran.inputs)),
        outputs=tuple(map(link_of, ran.outputs)),
    )


def link_of(thing: Node) -> LineageLink:
    """Returns content as results name it."""
    return LineageLink(oid=thing.oid, path=thing.path, size_bytes=thing.size_bytes, files=thing.files)


def _artefacts(graph: Walk, sources: Sources) -> list[LineageArtefact]:
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
    thing: Node,
    graph: Walk,
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


def warnings_of(graphs: Iterable[LineageGraph | None], sources: Sources, world: Context) -> Iterable[str]:
    """Yields what the answer lacks, or may lack because listings could not be read."""
    found = (artefact for graph in graphs if graph is not None for artefact in graph.artefacts)
    unkept = (
        [] if world.repo is None else _unkept({one.path: None for one in found if one.origin == "unknown"}, world.repo)
    )
    if unkept:
        yield f"git does not have {some([quote(path) for path in unkept], 1)}: only the hash of what was used is known; git add keeps it"
    count = len(sources.listings.unread)
    if count:
        listings = "the listing of 1 directory" if count == 1 else f"the listings of {count:,} directories"
        why = f" ({world.unreachable})" if world.unreachable else ""
        yield f"{listings} could not be read{why}: something that lies inside may be missing here"
