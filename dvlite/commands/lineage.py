"""`dvlite lineage`: what made an artefact, what was made from it, which outputs have some value, how two artefacts differ upstream."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from dvlite.errors import DvliteError, PartlyDone
from dvlite.formats import manifest
from dvlite.formats.source import ImportSource
from dvlite.git.program import without_credentials
from dvlite.lineage.compare import LineageDifference, LineageMeasure, compare_graphs
from dvlite.lineage.context import LineageContext, open_context
from dvlite.lineage.find_query import parse_query
from dvlite.lineage.provenance import Provenance
from dvlite.lineage.report import LineageGraph, LineageModel, registered, report, warnings_of
from dvlite.lineage.target import Target, find_target, short_name
from dvlite.lineage.walk import makers_of, run_io, users_of, walk
from dvlite.oid import MANIFEST, Oid, format_oid, parse_oid
from dvlite.pipeline.datum_links import datums_of_run
from dvlite.progress import Progress
from dvlite.registry.models import load, references_of
from dvlite.repo.repository import Repo
from dvlite.repo.sources import require_trusted
from dvlite.results import Result, TableResult
from dvlite.runs.history import LineageCommit, describe_commits
from dvlite.runs.index import RunIndex, open_index
from dvlite.runs.names import find_stage, name_of
from dvlite.runs.queries import Artefact, RunIO, RunQueries
from dvlite.runs.records import open_source_records
from dvlite.runs.schema import METRIC, PARAM, RunRow
from dvlite.runs.upstream import upstream_params, upstream_runs
from dvlite.serving import ask
from dvlite.serving.opened import looked_at
from dvlite.share.imports import fetch_runs
from dvlite.show import Show, printable, quote, some, word
from dvlite.workspace.changes import Counts, FileChange

_FILES_KEPT = 1000  # changes of files in a result; all are counted


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageSubject:
    """The artefact or run of a command; `sha256` of a file if it is known."""

    text: str
    kind: Literal["file", "directory", "run"]
    oid: str
    path: str | None = None  # in the repository
    size_bytes: int | None = None
    files: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageImport:
    """Content that was imported from another repository; `up` is what made it there, null if its runs are not here or none made it."""

    path: str
    source: ImportSource
    has_runs: bool = False  # records of that repository are here
    up: LineageGraph | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LineageResult(Result):
    """What made the subject (`up`) and what was made from it (`down`); null if not asked for."""

    schema: ClassVar[str] = "dvlite.lineage/1"
    subject: LineageSubject
    up: LineageGraph | None = None
    down: LineageGraph | None = None
    measured: tuple[LineageMeasure, ...] = ()  # with `up`: by runs that read it, one of each stage
    imports: tuple[LineageImport, ...] = ()  # with `up`: what of it is from other repositories
    models: tuple[LineageModel, ...] = ()  # registered versions among all of these
    depth: int | None = None
    remote: str | None = None
    runs_searched: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageServedModel:
    """A model that is served, as it names itself; `lineage` is what is known of its digest, None where that is nothing: `problem` says why.

    `is_served`: its server follows this version; None where nothing says so.
    """

    server: str
    model: str
    version: int | None
    digest: str
    place: str
    is_served: bool | None = None
    path: str = ""
    registered: str = ""
    run: str = ""
    commit: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    models: tuple[str, ...] = ()  # what the registry of this clone calls it: model:birds@7
    lineage: LineageResult | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LineageServedResult(Result):
    """What is served at a place, and how it was made. Of a running server, `bytes_seen` is false: it is what the server says."""

    schema: ClassVar[str] = "dvlite.lineage-served/1"
    place: str
    models: tuple[LineageServedModel, ...]
    bytes_seen: bool = False
    warnings: tuple[str, ...] = ()

    def failure(self, _show: Show) -> DvliteError | None:
        """Returns which models could not be resolved."""
        open_ones = [one for one in self.models if one.lineage is None]
        if not open_ones:
            return None
        names = some([f"{quote(one.model)}: {one.problem}" for one in open_ones], 1)
        hint = "in a clone of the repository that made it: dvlite lineage --served PLACE"
        return PartlyDone(f"could not resolve {names}", hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageOutput:
    """An output of a matching run; `values` are the run's values of the terms' keys, inherited parameters too."""

    path: str
    oid: str
    size_bytes: int
    files: int
    run: str
    name: str
    status: str
    start: str
    commit: LineageCommit | None = None
    edits: bool = False  # it ran with changes to the files of that commit
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LineageFindResult(TableResult):
    """Outputs of the matching runs, newest first; `more`: older runs match too."""

    schema: ClassVar[str] = "dvlite.lineage-find/1"
    ROWS = ("found", LineageOutput)
    asked: tuple[str, ...]
    found: tuple[LineageOutput, ...] = ()
    more: bool = False
    runs: int = 0
    remote: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageSide:
    """One side of a comparison, and the run that wrote it."""

    text: str
    oid: str
    path: str | None = None
    run: str | None = None
    name: str | None = None
    commit: LineageCommit | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LineageDiffResult(Result):
    """Two artefacts or runs and the changes upstream between them."""

    schema: ClassVar[str] = "dvlite.lineage-diff/1"
    old: LineageSide
    new: LineageSide
    changes: LineageDifference
    remote: str | None = None
    warnings: tuple[str, ...] = ()


def lineage(
    repo: Repo | None,
    text: str,
    *,
    upwards: bool = True,
    downwards: bool = False,
    depth: int | None = None,
    remote: str | None = None,
    sources: bool = False,
    environ: Mapping[str, str],
    progress: Progress,
) -> LineageResult:
    """Returns what made an artefact or run (up), also where it was imported from, and what was made from it (down).

    Without a remote nothing is fetched but listings; with `sources`, the runs of the repositories that data was imported from. Raises DvliteError if no run and no pointer names the content, UsageError if `text`
    names nothing.
    """
    with open_context(repo, remote, environ, progress) as context:
        provenance = Provenance(context, datums_of_run)
        subject, starts = _subject(text, provenance)
        above = _walk_up(subject, starts, provenance, depth) if upwards else None
        below = report(walk(provenance, starts, "down", depth=depth), provenance) if downwards else None
        return LineageResult(
            subject=_reported(subject, provenance),
            up=above,
            down=below,
            measured=tuple(_measured(starts, above, provenance)),
            imports=tuple(_imports(above, context, depth, sources=sources)),
            models=tuple(registered(subject.oid, (above, below), context.repo)),
            depth=depth,
            remote=None if context.remote is None else context.label,
            runs_searched=context.index.count_runs(),
            warnings=(*warnings_of((above, below), provenance), *_about_parameters(subject, below, context)),
        )


def lineage_served(
    repo: Repo | None,
    place: str,
    *,
    remote: str | None = None,
    environ: Mapping[str, str],
    progress: Progress,
) -> LineageServedResult:
    """Returns which models are served at a place (a folder, an archive, s3://, the URL of a server), and how each was made.

    Of several versions of a model in a folder, the one that is served. Nothing is hashed: `verify --served` does that. Raises PartlyDone
    for a server that does not answer, UsageError for a place without a model of dvlite.
    """
    models: list[LineageServedModel] = []
    for one in (_asked_server if ask.is_url(place) else _seen)(repo, place, environ):
        subject = one.digest
        if not subject:
            models.append(one)
            continue
        try:
            made = lineage(repo, subject, remote=remote, environ=environ, progress=progress)
            known = () if repo is None else references_of(load(repo.git), Oid(made.subject.oid))
            models.append(replace(one, digest=made.subject.oid, lineage=made, models=known))
        except DvliteError as error:
            models.append(replace(one, problem=error.message))
    return LineageServedResult(place=without_credentials(place), models=tuple(models), bytes_seen=not ask.is_url(place))


def _asked_server(_repo: Repo | None, place: str, environ: Mapping[str, str]) -> Iterator[LineageServedModel]:
    for claim in ask.ask(place, environ.get(ask.TOKEN, "")):
        yield LineageServedModel(
            server=claim.server,
            model=claim.model,
            version=claim.version,
            digest=claim.digest or claim.digits,
            place=without_credentials(place),
            is_served=True,
            path=claim.path,
            registered=claim.registered,
            run=claim.run,
            commit=claim.commit,
            inputs=claim.inputs,
            problem=claim.problem,
        )


def _seen(repo: Repo | None, place: str, environ: Mapping[str, str]) -> Iterator[LineageServedModel]:
    with looked_at(place, repo, environ) as seen:
        follows = {one.held.name for one in seen if one.is_served}
        for one in seen:
            model = one.held.model
            if one.is_served is False and one.held.name in follows:
                continue  # another version of it is served
            yield LineageServedModel(
                server=one.server,
                model=one.held.name,
                version=one.held.number or None,
                digest="" if model is None else model.digest,
                place=one.shown,
                is_served=one.is_served,
                path="" if model is None else model.path,
                registered="" if model is None else model.registered,
                run="" if model is None else model.run or "",
                commit="" if model is None else model.commit or "",
                inputs={} if model is None else {item.path: item.digest for item in model.inputs},
                problem=one.held.problem,
            )


def lineage_find(
    repo: Repo | None,
    asked: Sequence[str],
    *,
    limit: int | None = None,
    remote: str | None = None,
    environ: Mapping[str, str],
    progress: Progress,
) -> LineageFindResult:
    """Lists the outputs of runs that match all terms (`lr=0.01`, `metric.acc>0.9`, `tag=prod`), newest first.

    A metric with a `path` also finds what the run with that metric was made from: the metrics of an evaluation are results of the model.
    Keys are `param.NAME`, `metric.NAME`, `env.NAME`, a bare NAME (a parameter, else a metric), `tag`, `stage`, `status`, `commit` and
    `path` (of the output; * and ? are wildcards). Raises UsageError for a malformed term.
    """
    with open_context(repo, remote, environ, progress) as context:
        provenance = Provenance(context, datums_of_run)
        query, index = parse_query(asked, context.index), context.index
        filters = query.filters
        if filters.stage is not None and index.count_runs():
            filters = replace(filters, stage=find_stage(index, filters.stage, context.relative))
        rows = index.find(replace(filters, limit=None if limit is None or query.paths else limit + 1))
        measured = {row.oid: row.oid for row in rows}  # a run -> the one that has the values asked for
        if query.paths and any(condition.space == METRIC for condition in filters.conditions):
            rows += _upstream(provenance.queries, index, measured)
            rows.sort(key=lambda row: row.id, reverse=True)
        runs = provenance.runs([row.oid for row in rows], inputs=False)
        matching = {
            row: outputs
            for row in rows
            if row.origin not in measured  # else its outputs are listed already, as those of the run that made them
            and (outputs := [output for output in runs[row.oid].outputs if query.matches(output.path)])
        }
        shown = list(matching)[:limit]
        provenance.read_commits(row.oid for row in shown)
        named = {row.oid: provenance.commit_of_run(row.oid) for row in shown}
        commits = {row.oid: named[row.oid] or row.code for row in shown}
        described = describe_commits(context.git, filter(None, commits.values()), provenance.queries)
        values = _values(context, [measured[row.oid] for row in shown], {space for space, _ in query.keys})
        return LineageFindResult(
            asked=tuple(asked),
            found=tuple(
                LineageOutput(
                    path=output.path,
                    oid=output.oid,
                    size_bytes=output.size_bytes,
                    files=output.files,
                    run=row.oid,
                    name=name_of(row.stage, row.oid),
                    status=row.status,
                    start=row.start,
                    commit=described.get(commits[row.oid] or ""),
                    edits=row.dirty and named[row.oid] is None,
                    values=query.values_of(measured[row.oid], values),
                )
                for row in shown
                for output in matching[row]
            ),
            more=len(shown) < len(matching),
            runs=index.count_runs(),
            remote=None if context.remote is None else context.label,
        )


def _upstream(queries: RunQueries, index: RunIndex, measured: dict[Oid, Oid]) -> list[RunRow]:
    """Returns the runs upstream of those in `measured`, and enters there whose values they are shown with."""
    found = []
    for run, earlier in upstream_runs(queries, [*measured]).items():
        for oid in earlier:
            if oid not in measured and (row := index.row(oid)) is not None:
                measured[oid] = run
                found.append(row)
    return found


def _values(
    context: LineageContext, runs: Sequence[Oid], spaces: Collection[str]
) -> dict[str, dict[Oid, dict[str, Any]]]:
    """Returns the values of runs in each space, inherited parameters too."""
    values = {space: context.index.values(runs, space) for space in spaces}
    if PARAM in values:
        inherited = upstream_params(context.index, runs)
        values[PARAM] = {run: {**inherited[run], **own} for run, own in values[PARAM].items()}
    return values


def lineage_diff(
    repo: Repo | None,
    old: str,
    new: str,
    *,
    remote: str | None = None,
    environ: Mapping[str, str],
    progress: Progress,
) -> LineageDiffResult:
    """Compares everything upstream of two artefacts or runs; directories file by file if both listings can be read."""
    with open_context(repo, remote, environ, progress) as context:
        provenance = Provenance(context, datums_of_run)
        subjects, graphs, measures = [], [], []
        for text in (old, new):
            subject, starts = _subject(text, provenance)
            graph = _walk_up(subject, starts, provenance, None)
            subjects.append(subject)
            graphs.append(graph)
            measures.append(tuple(_measured(starts, graph, provenance)))
        changes = compare_graphs(
            graphs[0],
            graphs[1],
            lambda path, one, other: _compared(path, Oid(one), Oid(other), provenance),
            measured=(measures[0], measures[1]),
        )
        return LineageDiffResult(
            old=_side(subjects[0], graphs[0]),
            new=_side(subjects[1], graphs[1]),
            changes=changes,
            remote=None if context.remote is None else context.label,
            warnings=tuple(warnings_of(graphs, provenance)),
        )


def _about_parameters(subject: Target, below: LineageGraph | None, context: LineageContext) -> Iterator[str]:
    """Yields a warning about a parameters file: runs recorded its values, not its bytes."""
    start = f"{subject.path}:"
    keys = [key for key in context.index.keys(PARAM) if key.startswith(start)] if subject.path and below else []
    if keys:
        example = printable(keys[0].removeprefix(start))
        yield f"parameters of {quote(subject.path)} are recorded by value: dvlite lineage find {example}=VALUE finds what was made with one"


def _imports(
    above: LineageGraph | None, context: LineageContext, depth: int | None, *, sources: bool
) -> Iterator[LineageImport]:
    """Yields what a walk up found to be imported, each with the walk that goes on there, in the records of that repository."""
    repo = context.repo
    for artefact in above.artefacts if above is not None and repo is not None else ():
        source = artefact.imported
        if source is None or not source.repository or repo is None:
            continue
        if sources:
            require_trusted(repo, artefact.path, source)
            fetch_runs(repo, source, context.progress)
        records = open_source_records(repo, source.repository, context.progress)
        if not records.batches():
            yield LineageImport(path=artefact.path, source=source)
            continue
        with open_index(records) as index:
            there = LineageContext(None, index, context.cache, None, source.repository, context.progress)
            provenance = Provenance(there, datums_of_run)
            start = Artefact(Oid(artefact.oid), source.path, artefact.size_bytes, artefact.files)
            starts = _artefacts(start, provenance)
            graph = report(walk(provenance, starts[:1], "up", depth=depth), provenance) if starts else None
            made_there = graph if graph is not None and graph.runs else None
            yield LineageImport(path=artefact.path, source=source, has_runs=True, up=made_there)


# --- the subject ---


def _subject(text: str, provenance: Provenance) -> tuple[Target, list[Artefact]]:
    """Returns what an argument names, and the artefacts that its walks start from; raises DvliteError for unknown content."""
    subject = find_target(text, provenance)
    provenance.add_listing(subject.nodes)
    starts = (
        list(_run_of(subject, provenance).outputs) if subject.is_run else _artefacts(subject.artefact(), provenance)
    )
    if not starts and not subject.is_run:
        raise _unknown(subject, provenance)
    return subject, starts


def _artefacts(artefact: Artefact, provenance: Provenance) -> list[Artefact]:
    """Returns the content, with the paths that pointers or directories give it where that is all there is."""
    if provenance.makers([artefact.oid]):
        return [artefact]
    is_named = artefact.path and provenance.source(artefact, None).origin != "unknown"
    if is_named or (artefact.path and provenance.holders(artefact, every=False)):
        return [artefact]
    named = provenance.named(artefact.oid)
    if named is not None:
        return [named]
    inside = provenance.listings.anywhere(artefact.oid)
    if inside:
        makers = {file: makers_of(provenance.holders(file, every=False), provenance) for file in inside}
        return sorted(inside, key=lambda file: not any(makers[file].values()))
    return [artefact] if provenance.users([artefact.oid]) else []


def _run_of(subject: Target, provenance: Provenance) -> RunIO:
    record = provenance.record(subject.oid)
    assert record is not None
    return run_io(record)


def _unknown(subject: Target, provenance: Provenance) -> DvliteError:
    context = provenance.context
    hint = "records come with dvlite pull; to search a remote: --remote NAME_OR_URL"
    if context.remote is not None:
        hint = "it may have been made outside of the pipeline, or its run was not pushed: dvlite push"
    if provenance.is_tracked_now(subject.path):
        hint = f"it was changed since it was tracked; for the tracked version: dvlite lineage {word(f'HEAD:{subject.path}')}"
    content = "this content" if subject.oid.startswith(MANIFEST) else "these bytes"
    where = "on" if context.remote is not None else "in"
    return DvliteError(
        f"no run {where} {context.label} made {content} ({short_name(subject.oid)}, {context.searched()})", hint=hint
    )


def _reported(subject: Target, provenance: Provenance) -> LineageSubject:
    if subject.is_run:
        return LineageSubject(text=subject.text, kind="run", oid=subject.oid)
    return LineageSubject(
        text=subject.text,
        kind="directory" if subject.oid.startswith(MANIFEST) else "file",
        oid=subject.oid,
        path=subject.path or None,
        size_bytes=subject.size_bytes,
        files=subject.files,
        sha256=_sha256(subject.oid, provenance),
    )


def _sha256(oid: Oid, provenance: Provenance) -> str | None:
    """Returns the SHA-256 of a file as a run recorded it: the same bytes have the same."""
    for name, _ in provenance.makers([oid]).get(oid, ()):
        record = provenance.record(name)
        for item in record.outputs if record is not None else ():
            if item.oid == oid and item.sha256 is not None:
                return item.sha256
    return None


# --- walking ---


def _walk_up(subject: Target, starts: Sequence[Artefact], provenance: Provenance, depth: int | None) -> LineageGraph:
    if subject.is_run:
        run = (subject.oid, _run_of(subject, provenance))
        return report(walk(provenance, (), "up", run=run, depth=depth), provenance, run=subject.oid)
    return report(walk(provenance, starts[:1], "up", depth=depth), provenance)


def _measured(
    starts: Sequence[Artefact], above: LineageGraph | None, provenance: Provenance
) -> Iterator[LineageMeasure]:
    """Yields the metrics of runs that read the subject, as an evaluation does; of each stage, of the run to show first."""
    if above is None or not above.runs:
        return
    named = [item for start in starts for item in provenance.under_its_paths(start)]
    stages = users_of([part for item in named for part in provenance.queries.with_parts(item)], provenance)
    metrics = provenance.context.index.values([runs[0][0] for runs in stages], METRIC)
    for runs in stages:
        oid, run = runs[0]
        if metrics[oid]:
            yield LineageMeasure(
                run=oid,
                name=name_of(run.stage, oid),
                stage=run.stage,
                file=run.file,
                status=run.status,
                metrics=metrics[oid],
                others=len(runs) - 1,
            )


# --- comparing ---


def _side(subject: Target, graph: LineageGraph) -> LineageSide:
    run = graph.runs[0] if graph.runs else None
    return LineageSide(
        text=subject.text,
        oid=subject.oid,
        path=subject.path or None,
        run=None if run is None else run.run,
        name=None if run is None else run.name,
        commit=None if run is None else run.commit,
    )


def _compared(path: str, old: Oid, new: Oid, provenance: Provenance) -> tuple[Counts, tuple[FileChange, ...]] | None:
    """Compares two versions of a directory, if both listings can be read."""
    if not old.startswith(MANIFEST) or not new.startswith(MANIFEST):
        return None
    if not provenance.listings.can_read([old, new]):
        return None
    counts = {"added": 0, "removed": 0, "modified": 0}
    delta = 0
    files: list[FileChange] = []
    try:
        for one, other in manifest.compare(parse_oid(old)[1], parse_oid(new)[1], provenance.read_node):
            change = "added" if one is None else "removed" if other is None else "modified"
            counts[change] += 1
            delta += (other.size_bytes if other is not None else 0) - (one.size_bytes if one is not None else 0)
            entry = other or one
            if len(files) < _FILES_KEPT and entry is not None:
                files.append(_file_change(change, f"{path}/{os.fsdecode(entry.path)}", one, other))
    except DvliteError:
        return None
    return Counts(**counts, delta_bytes=delta), tuple(files)


def _file_change(change: str, path: str, one: manifest.Entry | None, other: manifest.Entry | None) -> FileChange:
    return FileChange(
        change=change,  # type: ignore[arg-type]  # one of the three words above
        path=path,
        old_size_bytes=None if one is None else one.size_bytes,
        size_bytes=None if other is None else other.size_bytes,
        old_oid=None if one is None else format_oid("blake3", one.digest),
        oid=None if other is None else format_oid("blake3", other.digest),
    )
