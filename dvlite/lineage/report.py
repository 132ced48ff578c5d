"""Turns walks into results: the facts of each artefact and run; all commits are read from git at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dvlite.formats.record import Run
from dvlite.formats.source import ImportSource
from dvlite.lineage.provenance import DataSource, Origin, Provenance
from dvlite.lineage.walk import Subgraph, run_io
from dvlite.oid import Oid
from dvlite.registry.models import load
from dvlite.repo.repository import Repo
from dvlite.runs.history import LineageCommit, describe_commits
from dvlite.runs.names import name_of
from dvlite.runs.queries import Artefact
from dvlite.show import quote, some


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageLink:
    """Content under the path that a run or a pointer gives it."""

    oid: str
    path: str
    size_bytes: int = 0
    files: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageRunName:
    """A run and its name for people."""

    run: str
    name: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageUse:
    """A run that read some content, and other runs of its stage that wrote the same outputs."""

    run: str
    others: tuple[LineageRunName, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageModel:
    """Content that is registered: `labels` are versions with the stages that they are in, `birds@7 (prod)`."""

    oid: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageArtefact:
    """Content in a walk; `origin` is a run, a stage whose run is unknown, tracked data, code in git, a directory that holds it, or unknown."""

    oid: str
    path: str
    size_bytes: int = 0
    files: int = 1
    origin: Origin = "unknown"
    commit: LineageCommit | None = None  # whose pointer names it
    stage: str = ""  # of the lockfile that names it, if no run is known
    lockfile: str = ""
    imported: ImportSource | None = None  # from another repository, or a URL
    made_by: tuple[LineageRunName, ...] = ()  # the first one is followed
    held_by: tuple[LineageLink, ...] = ()  # directories that contain it
    parts: tuple[LineageLink, ...] = ()  # its contents that runs know
    used_by: tuple[LineageUse, ...] = ()
    now: tuple[str, ...] = ()  # paths of pointers and lockfiles on disk that name it
    cut_runs: int = 0  # runs behind it that --depth leaves out


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageRun:
    """A run in a walk; `commit` is the first one whose lockfile names it, `code_commit` was checked out when it ran."""

    run: str
    name: str
    stage: str
    file: str  # of a run that was imported, the program that recorded it
    status: str
    start: str
    seconds: float = 0.0
    imported: str | None = None  # its id there
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
    datums: tuple[str, ...] = ()  # of a map stage: those that inputs and outputs are of, if not all


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageGraph:
    """What a walk from `starts` (or from a run) reached, in that order."""

    starts: tuple[LineageLink, ...] = ()
    run: str | None = None
    artefacts: tuple[LineageArtefact, ...] = ()
    runs: tuple[LineageRun, ...] = ()
    cut_runs: int = 0  # runs that --depth leaves out


def key_of(link: LineageLink | LineageArtefact) -> str:
    """Returns the key of content in a walk."""
    return Artefact(link.oid, link.path, link.size_bytes).key  # type: ignore[arg-type]  # results hold ids as plain text


def report(graph: Subgraph, provenance: Provenance, *, run: Oid | None = None) -> LineageGraph:
    """Returns a walk as a result; `run` is the run that it started from, if it did not start from content."""
    provenance.read_commits(graph.runs)
    artefacts = _artefacts(graph, provenance)
    records = ((oid, provenance.record(oid)) for oid in graph.runs)
    runs = [_run(oid, record, graph, provenance) for oid, record in records if record is not None]
    ids = [item.commit.commit for items in (artefacts, runs) for item in items if item.commit is not None]
    commits = describe_commits(provenance.context.git, ids, provenance.queries)
    return LineageGraph(
        starts=tuple(map(link_of, graph.starts)),
        run=run,
        cut_runs=graph.hidden,
        artefacts=tuple(
            item if item.commit is None else replace(item, commit=commits[item.commit.commit]) for item in artefacts
        ),
        runs=tuple(item if item.commit is None else replace(item, commit=commits[item.commit.commit]) for item in runs),
    )


def link_of(artefact: Artefact) -> LineageLink:
    """Returns content as results name it."""
    return LineageLink(oid=artefact.oid, path=artefact.path, size_bytes=artefact.size_bytes, files=artefact.files)


def registered(subject: Oid, graphs: Iterable[LineageGraph | None], repo: Repo | None) -> Iterator[LineageModel]:
    """Yields what is registered of a subject, and of what walks met."""
    labels = {} if repo is None else load(repo.git).labels()
    met = (artefact.oid for graph in graphs if graph is not None for artefact in graph.artefacts)
    for oid in dict.fromkeys((subject, *map(Oid, met)) if labels else ()):
        if oid in labels:
            yield LineageModel(oid=oid, labels=labels[oid])


def warnings_of(graphs: Iterable[LineageGraph | None], provenance: Provenance) -> Iterator[str]:
    """Yields what a result lacks, or may lack because listings could not be read."""
    artefacts = (artefact for graph in graphs if graph is not None for artefact in graph.artefacts)
    unrecorded = {artefact.path: None for artefact in artefacts if artefact.origin == "unknown"}
    uncommitted = _uncommitted(unrecorded, provenance.context.repo)
    if uncommitted:
        paths = some([quote(path) for path in uncommitted], 1)
        yield f"git does not have {paths}: only the hash of what was used is known; git add keeps it"
    count = len(provenance.listings.unread)
    if count:
        lists = "the list of files of 1 folder" if count == 1 else f"the lists of files of {count:,} folders"
        why = f" ({provenance.context.unreachable})" if provenance.context.unreachable else ""
        yield f"{lists} could not be read{why}: files inside may be missing from this answer"


def _run(oid: Oid, record: Run, graph: Subgraph, provenance: Provenance) -> LineageRun:
    """Returns a run as a result, with nothing but the id of its commit; of a map stage with what belongs to the datums that were reached."""
    commit, run, datums = provenance.commit_of_run(oid), run_io(record), graph.datums.get(oid, ())
    if datums:
        reached = graph.runs[oid]
        run = run._replace(inputs=reached.inputs or run.inputs, outputs=reached.outputs)
    return LineageRun(
        run=oid,
        name=name_of(record.stage, oid),
        stage=record.stage,
        file=record.file,
        status=record.status,
        start=record.start,
        seconds=record.seconds,
        imported=None if record.imported is None else record.imported.id,
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
        params=record.params,
        environment=provenance.context.index.environment_of(record),
        capture=record.facts.capture,
        metrics=record.metrics,
        inputs=tuple(map(link_of, run.inputs)),
        outputs=tuple(map(link_of, run.outputs)),
        datums=datums,
    )


def _artefacts(graph: Subgraph, provenance: Provenance) -> list[LineageArtefact]:
    oids = list(dict.fromkeys(artefact.oid for artefact in graph.artefacts.values()))
    written = {oid: {path for _, path in makers} for oid, makers in provenance.makers(oids).items()}
    for artefact in (output for run in graph.runs.values() for output in run.outputs):  # of failed runs too
        written.setdefault(artefact.oid, set()).add(artefact.path)
    users = {oid: runs[0][0] for oid, runs in provenance.users([oid for oid in oids if oid not in written]).items()}
    others = [oid for makers in graph.made_by.values() for oid in makers]
    others += [oid for groups in graph.used_by.values() for group in groups for oid in group.others]
    names = _run_names(others, provenance)
    artefacts = []
    for key, artefact in graph.artefacts.items():
        reported = _artefact(key, artefact, graph, names)
        paths = written.get(artefact.oid, ())
        if reported.made_by or (paths if key == artefact.oid else artefact.path in paths):  # few bytes: by their path
            origin = DataSource("run")
        elif reported.held_by:
            origin = DataSource("directory")
        else:
            origin = provenance.source(artefact, users.get(artefact.oid))
            if origin.origin == "unknown" and reported.parts:
                origin = DataSource("directory")
        artefacts.append(
            replace(
                reported,
                origin=origin.origin,
                commit=None if origin.commit is None else LineageCommit(commit=origin.commit),
                stage=origin.stage,
                lockfile=origin.lockfile,
                imported=origin.imported,
                now=tuple(provenance.named_now(artefact.oid)),
            )
        )
    return artefacts


def _artefact(key: str, artefact: Artefact, graph: Subgraph, names: Mapping[Oid, LineageRunName]) -> LineageArtefact:
    return LineageArtefact(
        oid=artefact.oid,
        path=artefact.path,
        size_bytes=artefact.size_bytes,
        files=artefact.files,
        made_by=tuple(names[oid] for oid in graph.made_by.get(key, ())),
        held_by=tuple(map(link_of, graph.held_by.get(key, ()))),
        parts=tuple(map(link_of, graph.parts.get(key, ()))),
        used_by=tuple(
            LineageUse(run=group.run, others=tuple(names[oid] for oid in group.others))
            for group in graph.used_by.get(key, ())
        ),
        cut_runs=graph.cut.get(key, 0),
    )


def _run_names(oids: Iterable[Oid], provenance: Provenance) -> dict[Oid, LineageRunName]:
    names = list(dict.fromkeys(oids))
    runs = provenance.runs(names, inputs=False)
    return {
        oid: LineageRunName(run=oid, name=name_of(runs[oid].stage, oid), status=runs[oid].status)
        if oid in runs
        else LineageRunName(run=oid, name=name_of("run", oid), status="unknown")
        for oid in names
    }


def _uncommitted(paths: Iterable[str], repo: Repo | None) -> list[str]:
    """Returns the files of the work tree among `paths` that git does not ignore: nothing else keeps them."""
    files = [] if repo is None else [path for path in paths if path and (repo.root / path).is_file()]
    ignored = set() if repo is None else repo.git.ignored(files)
    return [path for path in files if path not in ignored]
