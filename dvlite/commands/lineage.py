"""`dvlite lineage`: what made something, what was made of it, which runs' outputs have some value, what differs upstream of two things."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from dvlite.errors import DvliteError
from dvlite.files import printable, quote
from dvlite.formats import manifest
from dvlite.lineage.compare import LineageContentChange, LineageMeasure, LineageValueChange, difference
from dvlite.lineage.context import Context, opened
from dvlite.lineage.find_query import asked_for
from dvlite.lineage.provenance import Sources
from dvlite.lineage.report import LineageGraph, report, warnings_of
from dvlite.lineage.target import Subject, short_name, subject_of
from dvlite.lineage.walk import down, makers_of, ran_of, up, users_of
from dvlite.oid import MANIFEST, Oid, format_oid, parse_oid
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.runs.history import LineageCommit, described
from dvlite.runs.names import name_of, stage_meant
from dvlite.runs.queries import Node, Ran
from dvlite.runs.schema import METRIC, PARAM
from dvlite.runs.upstream_params import params_before
from dvlite.workspace.changes import Counts, FileChange

_FILES_KEPT = 1000  # changes of files that a result names; all are counted


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageSubject:
    """What was asked about; `sha256` of a file if it is known."""

    text: str
    kind: Literal["file", "directory", "run"]
    oid: str
    path: str | None = None  # in the repository
    size_bytes: int | None = None
    files: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageResult:
    """What made something (`up`), and what was made of it (`down`); null where it was not asked."""

    schema: ClassVar[str] = "dvlite.lineage/1"
    subject: LineageSubject
    up: LineageGraph | None = None
    down: LineageGraph | None = None
    measured: tuple[LineageMeasure, ...] = ()  # with `up`: by runs that began with it, one of each stage
    depth: int | None = None
    remote: str | None = None
    runs_searched: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageFound:
    """An output of a run that has what was asked for; `values` are the run's values of what was asked, parameters of the runs before it too."""

    path: str
    oid: str
    size_bytes: int
    files: int
    run: str
    name: str
    status: str
    start: str
    commit: LineageCommit | None = None
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageFindResult:
    """What runs with the asked values left, newest first; `more` says that there are older ones."""

    schema: ClassVar[str] = "dvlite.lineage-find/1"
    asked: tuple[str, ...]
    found: tuple[LineageFound, ...] = ()
    more: bool = False
    runs: int = 0
    remote: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageSide:
    """One side of a comparison, and the run that it is of."""

    text: str
    oid: str
    path: str | None = None
    run: str | None = None
    name: str | None = None
    commit: LineageCommit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageDiffResult:
    """What differs upstream of two artefacts or runs; `same` names the parts that do not."""

    schema: ClassVar[str] = "dvlite.lineage-diff/1"
    old: LineageSide
    new: LineageSide
    data: tuple[LineageContentChange, ...] = ()
    code: tuple[LineageContentChange, ...] = ()
    stages: tuple[LineageValueChange, ...] = ()  # commands; the whole stage where one side does not have it
    params: tuple[LineageValueChange, ...] = ()
    environment: tuple[LineageValueChange, ...] = ()
    metrics: tuple[LineageValueChange, ...] = ()
    same: tuple[str, ...] = ()
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
    environ: Mapping[str, str],
    progress: Progress,
) -> LineageResult:
    """Tells what made something (up), and what was made of it (down).

    Without a remote nothing is fetched. Raises DvliteError if no run and no pointer knows the content, UsageError for words that mean
    nothing here.
    """
    with opened(repo, remote, environ, progress) as world:
        sources = Sources(world)
        subject = subject_of(text, world, sources)
        sources.add_listing(subject.nodes)
        starts = _starts(subject, world, sources)
        above = _walk_up(subject, starts[:1], world, sources, depth) if upwards else None
        below = _walk_down(starts, world, sources, depth) if downwards else None
        return LineageResult(
            subject=_told(subject, world, sources),
            up=above,
            down=below,
            measured=tuple(_measured(starts, above, world, sources)),
            depth=depth,
            remote=None if world.remote is None else world.label,
            runs_searched=world.count_runs(),
            warnings=(*warnings_of((above, below), sources, world), *_about_parameters(subject, below, world)),
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
    """Lists what runs left that have all of the values asked (`lr=0.01`, `metric.acc>0.9`, `tag=prod`), newest first.

    Keys are `param.NAME`, `metric.NAME`, `env.NAME`, a bare NAME (a parameter, else a metric), `tag`, `stage`, `status`, `commit` and
    `path` (of the output; * and ? stand for anything). Raises UsageError for a word that asks nothing.
    """
    with opened(repo, remote, environ, progress) as world:
        sources = Sources(world)
        wanted = asked_for(asked, world.index)
        if wanted.filters.stage is not None and world.count_runs():
            wanted = replace(
                wanted, filters=replace(wanted.filters, stage=stage_meant(world.index, wanted.filters.stage))
            )
        more = None if limit is None else limit + 1
        rows = world.index.find(replace(wanted.filters, limit=more if not wanted.paths else None))
        found: list[LineageFound] = []
        values = _values(world, [row.oid for row in rows], {space for space, _ in wanted.keys})
        runs = 0
        ran = sources.runs([row.oid for row in rows], inputs=False)
        sources.commits_of_runs(ran)
        for row in rows:
            outputs = [thing for thing in ran[row.oid].outputs if wanted.names(thing.path)]
            if limit is not None and runs == limit and outputs:
                runs += 1
                break
            runs += bool(outputs)
            shown = wanted.values_of(row.oid, values)
            commit = sources.commit_of_run(row.oid) or row.code
            found += [
                LineageFound(
                    path=thing.path,
                    oid=thing.oid,
                    size_bytes=thing.size_bytes,
                    files=thing.files,
                    run=row.oid,
                    name=name_of(row.stage, row.oid),
                    status=row.status,
                    start=row.start,
                    commit=None if commit is None else LineageCommit(commit=commit),
                    values=shown,
                )
                for thing in outputs
            ]
        commits = [one.commit.commit for one in found if one.commit]
        known = described(None if world.repo is None else world.repo.git, commits, sources.lookups.described)
        return LineageFindResult(
            asked=tuple(asked),
            found=tuple(one if one.commit is None else replace(one, commit=known[one.commit.commit]) for one in found),
            more=limit is not None and runs > limit,
            runs=world.count_runs(),
            remote=None if world.remote is None else world.label,
        )


def _values(world: Context, runs: Sequence[Oid], spaces: Collection[str]) -> dict[str, dict[Oid, dict[str, Any]]]:
    """Returns what runs have in each space; parameters of the runs before them too."""
    found = {space: world.index.values(runs, space) for space in spaces}
    if PARAM in found:
        before = params_before(world.index, runs)
        found[PARAM] = {run: {**before[run], **values} for run, values in found[PARAM].items()}
    return found


def lineage_diff(
    repo: Repo | None,
    old: str,
    new: str,
    *,
    remote: str | None = None,
    environ: Mapping[str, str],
    progress: Progress,
) -> LineageDiffResult:
    """Tells what differs upstream of two artefacts or runs; data files where both listings can be read."""
    with opened(repo, remote, environ, progress) as world:
        sources = Sources(world)
        sides = []
        for text in (old, new):
            subject = subject_of(text, world, sources)
            sources.add_listing(subject.nodes)
            starts = _starts(subject, world, sources)
            graph = _walk_up(subject, starts[:1], world, sources, None)
            sides.append((subject, graph, tuple(_measured(starts, graph, world, sources))))
        (before, one, left), (after, other, right) = sides
        found = difference(
            one, other, lambda path, a, b: _compared(path, Oid(a), Oid(b), sources), measured=(left, right)
        )
        return LineageDiffResult(
            old=_side(before, one),
            new=_side(after, other),
            data=found.data,
            code=found.code,
            stages=found.stages,
            params=found.params,
            environment=found.environment,
            metrics=found.metrics,
            same=found.same,
            remote=None if world.remote is None else world.label,
            warnings=tuple(warnings_of((one, other), sources, world)),
        )


def _about_parameters(subject: Subject, below: LineageGraph | None, world: Context) -> Iterator[str]:
    """Yields a word of caution for a file of parameters: runs recorded its values, not its bytes."""
    start = f"{subject.path}:"
    keys = [key for key in world.index.keys(PARAM) if key.startswith(start)] if subject.path and below else []
    if keys:
        example = printable(keys[0].removeprefix(start))
        yield f"parameters of {quote(subject.path)} are recorded by value: dvlite lineage find {example}=VALUE finds what was made with one"


# --- where a walk begins ---


def _starts(subject: Subject, world: Context, sources: Sources) -> list[Node]:
    """Returns the content that is meant; what only a directory knows gets its path there, for each such path.

    Raises DvliteError if nobody knows it.
    """
    if subject.is_run:
        return list(_ran(subject, sources).outputs)
    thing = subject.thing()
    if sources.makers([thing.oid]):
        return [thing]
    if thing.path and (sources.source(thing, None).origin != "unknown" or sources.holders(thing, every=False)):
        return [thing]
    called = sources.named(thing.oid)
    if called is not None:
        return [called]
    inside = sources.listings.anywhere(thing.oid)
    if inside:
        made = {found: makers_of(sources.holders(found, every=False), sources) for found in inside}
        return sorted(inside, key=lambda found: not any(made[found].values()))
    if sources.users([thing.oid]):
        return [thing]
    raise _unknown(subject, world, sources)


def _ran(subject: Subject, sources: Sources) -> Ran:
    record = sources.record(subject.oid)
    assert record is not None
    return ran_of(record)


def _unknown(subject: Subject, world: Context, sources: Sources) -> DvliteError:
    runs = world.count_runs()
    hint = "records come with dvlite pull; a remote is asked with --remote NAME_OR_URL"
    if world.remote is not None:
        hint = "it may have been made outside of the pipeline, or its run was not pushed: dvlite push"
    if sources.is_tracked_now(subject.path):
        hint = f"it was changed since it was tracked; what was tracked: dvlite lineage HEAD:{quote(subject.path)}"
    what = "this content" if subject.oid.startswith(MANIFEST) else "these bytes"
    searched = f"{runs:,} {'run' if runs == 1 else 'runs'} searched"
    where = "on" if world.remote is not None else "known in"
    return DvliteError(f"no run {where} {world.label} made {what} ({short_name(subject.oid)}, {searched})", hint=hint)


def _told(subject: Subject, world: Context, sources: Sources) -> LineageSubject:
    if subject.is_run:
        return LineageSubject(text=subject.text, kind="run", oid=subject.oid)
    return LineageSubject(
        text=subject.text,
        kind="directory" if subject.oid.startswith(MANIFEST) else "file",
        oid=subject.oid,
        path=subject.path or None,
        size_bytes=subject.size_bytes,
        files=subject.files,
        sha256=_sha256(subject.oid, sources),
    )


def _sha256(oid: Oid, sources: Sources) -> str | None:
    """Returns the SHA-256 of a file as a run recorded it: the same bytes have the same."""
    for name, _ in sources.makers([oid]).get(oid, ()):
        record = sources.record(name)
        for item in record.outputs if record is not None else ():
            if item.oid == oid and item.sha256 is not None:
                return item.sha256
    return None


# --- walking ---


def _walk_up(
    subject: Subject, starts: Sequence[Node], world: Context, sources: Sources, depth: int | None
) -> LineageGraph:
    if subject.is_run:
        run = (subject.oid, _ran(subject, sources))
        graph = up((), sources, sources, run=run, first=sources.first, depth=depth)
        return report(graph, world, sources, run=subject.oid)
    return report(up(starts, sources, sources, first=sources.first, depth=depth), world, sources)


def _walk_down(starts: Sequence[Node], world: Context, sources: Sources, depth: int | None) -> LineageGraph:
    return report(down(starts, sources, sources, first=sources.first, depth=depth), world, sources)


def _measured(
    starts: Sequence[Node], above: LineageGraph | None, world: Context, sources: Sources
) -> Iterable[LineageMeasure]:
    """Yields the metrics of runs that began with this, as evaluation does: of each stage, of the run that is to be shown first."""
    if above is None or not above.runs:
        return
    stages = users_of(starts, sources, sources.first)
    first = [runs[0][0] for runs in stages]
    metrics = world.index.values(first, METRIC)
    for runs in stages:
        oid, ran = runs[0]
        if metrics[oid]:
            yield LineageMeasure(
                run=oid,
                name=name_of(ran.stage, oid),
                stage=ran.stage,
                file=ran.file,
                status=ran.status,
                metrics=metrics[oid],
                others=len(runs) - 1,
            )


# --- comparing ---


def _side(subject: Subject, graph: LineageGraph) -> LineageSide:
    run = graph.runs[0] if graph.runs else None
    return LineageSide(
        text=subject.text,
        oid=subject.oid,
        path=subject.path or None,
        run=None if run is None else run.run,
        name=None if run is None else run.name,
        commit=None if run is None else run.commit,
    )


def _compared(path: str, old: Oid, new: Oid, sources: Sources) -> tuple[Counts, tuple[FileChange, ...]] | None:
    """Compares two versions of a directory, if both listings can be read."""
    if not old.startswith(MANIFEST) or not new.startswith(MANIFEST):
        return None
    if not sources.listings.can_read([old, new]):
        return None
    counts = {"added": 0, "removed": 0, "modified": 0}
    delta = 0
    files: list[FileChange] = []
    try:
        for one, other in manifest.compare(parse_oid(old)[1], parse_oid(new)[1], sources.read_node):
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
