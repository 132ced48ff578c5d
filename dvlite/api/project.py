"""`Repo`, whose methods are the verbs of the command line: a method is called as its verb, an argument as its flag.

What a flag chooses only for the screen has no argument. `place` knows how a verb runs.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TextIO, overload

from dvlite import __version__
from dvlite.api.open_file import Name, opened
from dvlite.api.place import Place, RemoteChoice, ReportsTo, hinted
from dvlite.errors import UsageError
from dvlite.progress import Progress
from dvlite.repo import repository
from dvlite.repo.revisions import Scope

if TYPE_CHECKING:
    from dvlite.commands.add import AddResult
    from dvlite.commands.bench_serve import BenchServeResult
    from dvlite.commands.check import CheckResult
    from dvlite.commands.diff import DiffResult
    from dvlite.commands.diff_rows import DiffRowsResult
    from dvlite.commands.export_croissant import ExportCroissantResult
    from dvlite.commands.export_serving import ExportServingResult
    from dvlite.commands.get import GetResult
    from dvlite.commands.lineage import LineageDiffResult, LineageFindResult, LineageResult, LineageServedResult
    from dvlite.commands.log import LogResult
    from dvlite.commands.ls import LsResult, SnapshotsResult
    from dvlite.commands.metrics import MetricsDiffResult, MetricsShowResult
    from dvlite.commands.model import ModelDiffResult, ModelHistoryResult, ModelListResult, ModelShowResult
    from dvlite.commands.model_add import ModelAddResult
    from dvlite.commands.model_promote import ModelPromoteResult
    from dvlite.commands.params import ParamsDiffResult
    from dvlite.commands.plots import PlotsResult
    from dvlite.commands.repro import ReproResult
    from dvlite.commands.runs import RunsBestResult, RunsCompareResult, RunsDiffResult, RunsListResult, RunsShowResult
    from dvlite.commands.status import StatusResult
    from dvlite.commands.update import UpdateResult
    from dvlite.commands.verify import VerifyResult
    from dvlite.commands.verify_served import VerifyServedResult
    from dvlite.reading.filesystem import DvliteFileSystem
    from dvlite.runs.options import RunsOptions
    from dvlite.share.fetch_plan import FetchResult, PullResult
    from dvlite.share.imports import ImportResult
    from dvlite.share.publish import PushResult
    from dvlite.workspace.restore import CheckoutResult

Words = str | Sequence[str]


class Repo:
    """A repository to work in or to read from: the verbs of the command line as methods, with the flags as arguments.

    `where` is a folder inside it (the current one if it is left out), the URL of one far away, or nothing where `remote` is a URL: then
    there are only the snapshots at that place. `rev` is what is read wherever a verb is given no other: without it what is on disk, and of
    a far repository its default branch. `remote` is the name of the remote to use. Verbs that write need a folder; paths start there.

    `progress` is a function that is called with each ProgressEvent, "bar", or None. With `wait=False`, Busy is raised where another dvlite
    command works. A verb that fails raises a DvliteError; what it did before is the error's `result`. A Repo can be shared by threads, and
    goes to other processes.
    """

    def __init__(
        self,
        where: Name | None = None,
        rev: str | None = None,
        remote: str | None = None,
        *,
        progress: ReportsTo = None,
        wait: bool = True,
    ) -> None:
        self._place = Place(None if where is None else os.fspath(where), rev, remote, progress, wait=wait)

    def __repr__(self) -> str:
        at = self._place
        words = [] if at.where is None else [repr(at.shown)]
        words += [f"{name}={value!r}" for name, value in (("rev", at.rev), ("remote", at.remote)) if value is not None]
        return f"Repo({', '.join(words)})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Lets it go to another process, which opens the same place."""
        at = self._place
        return partial(Repo, progress=at.progress, wait=at.wait), (at.where, at.rev, at.remote)

    # -- work

    def add(
        self,
        *paths: Name | BinaryIO,
        update: bool = False,
        force: bool = False,
        output: Name | None = None,
        allow_purged: bool = False,
        stage: bool = True,
    ) -> AddResult:
        """Track files and folders, or update tracked ones.

        With `output`, the one path given (a file or folder from elsewhere, or a file that is open for reading) is added as that.
        """
        from dvlite.commands.add import add as verb

        flags: dict[str, Any] = {"force": force, "allow_purged": allow_purged, "stage": stage}
        if output is not None:
            if len(paths) != 1 or update or force:
                raise UsageError(
                    "output takes one source, without update and force", hint='add("/mnt/raw", output="data/raw")'
                )
            source: Any = paths[0]
            if isinstance(source, str | os.PathLike):
                source = Path(str(self._place.where), source).resolve()
            flags |= {"source": source}
            return self._place.write(
                lambda repo, progress: verb(repo, (os.fspath(output),), **flags, progress=progress)
            )
        if not paths and not update:
            raise UsageError("no path is given", hint="add(PATH, ...), or add(update=True) for what changed")
        return self._place.write(
            lambda repo, progress: verb(repo, _paths(paths), update=update, **flags, progress=progress)
        )

    def status(self, *paths: Name, remote: RemoteChoice = False) -> StatusResult:
        """Show what is not added, committed, cached or pushed.

        With `remote` (True: the default one), also what that one has.
        """
        from dvlite.commands.status import status as verb

        name, asks = self._place.asked(remote)
        return self._place.write(
            lambda repo, progress: verb(repo, _paths(paths), remote=name, check_remote=asks, progress=progress)
        )

    @overload
    def diff(self, *revisions: str, paths: Words = ()) -> DiffResult: ...

    @overload
    def diff(
        self, *revisions: str, rows: Name, key: Words = (), columns: Words = (), limit: int = 20
    ) -> DiffRowsResult: ...

    def diff(
        self,
        *revisions: str,
        paths: Words = (),
        rows: Name | None = None,
        key: Words = (),
        columns: Words = (),
        limit: int = 20,
    ) -> DiffResult | DiffRowsResult:
        """Show which files differ between revisions, or from the workspace.

        In a Repo with `rev`, that stands where the workspace would. With `rows`, the path of a table, the rows and cells that differ in it.
        """
        from dvlite.commands.diff import diff as verb
        from dvlite.commands.diff_rows import diff_rows
        from dvlite.tables.changed import RowOptions

        sides = self._place.sides(revisions)
        if rows is None:
            return self._place.read(lambda repo, progress: verb(repo, sides, _words(paths), progress=progress))
        path, options = os.fspath(rows), RowOptions(_words(key), _words(columns), limit)

        def of_rows(repo: repository.Repo, progress: Progress) -> DiffRowsResult:
            found = verb(repo, sides, (path,), progress=progress)
            files = [change for item in found.paths for change in item.files]
            return diff_rows(repo, path, (found.old, found.new), files, options, progress=progress)

        return self._place.read(of_rows)

    def checkout(
        self,
        *paths: Name,
        rev: str | None = None,
        force: bool = False,
        allow_missing: bool = False,
        relink: bool = False,
    ) -> CheckoutResult:
        """Update the workspace to match the pointers."""
        from dvlite.commands.checkout import checkout as verb

        flags: dict[str, Any] = {"force": force, "allow_missing": allow_missing, "relink": relink}
        return self._place.write(
            lambda repo, progress: verb(repo, _paths(paths), revision=rev, **flags, progress=progress)
        )

    # -- read

    def ls(
        self, path: Name | None = None, *, rev: str | None = None, long: bool = False, recursive: bool = False
    ) -> LsResult | SnapshotsResult:
        """List what is tracked; of another repository, files of git too.

        Of a place without a repository, its snapshots, or what is in the one that `rev` names.
        """
        from dvlite.commands.ls import ls as verb
        from dvlite.commands.ls import ls_remote, ls_repository

        target, rev = _path(path), rev or self._place.rev
        flags: dict[str, Any] = {"long": long, "recursive": recursive}
        if self._place.where is None:
            if rev is not None and target is not None:
                raise UsageError("a snapshot is listed as a whole", hint="ls(), or open a file of it")
            return self._place.anywhere(partial(ls_remote, str(self._place.remote), rev or target))
        if not self._place.is_near:
            return self._place.anywhere(partial(ls_repository, self._place.where, target, revision=rev, **flags))
        return self._place.read(lambda repo, progress: verb(repo, target, revision=rev, **flags, progress=progress))

    def get(
        self,
        path: Name,
        output: Name | BinaryIO | None = None,
        *,
        rev: str | None = None,
        jobs: int | None = None,
        delta_version: int | None = None,
    ) -> GetResult:
        """Copy data, or files of git, out of any repository, without a clone.

        Writes to `output`, a path from the current folder of the process on, or a file that is open for writing. Of a Delta table, `delta_version`
        copies that version: its log up to there and its data files.
        """
        from dvlite.commands.get import get as verb

        at, rev = self._place, rev or self._place.rev
        where: Any = os.fspath(output) if isinstance(output, os.PathLike) else output
        to = partial(verb, output=where, jobs=jobs, remote=at.remote, delta_version=delta_version)
        if at.where is None:
            return at.anywhere(partial(to, f"{rev or ''}:{os.fspath(path)}"))
        return at.anywhere(partial(to, at.where, os.fspath(path), revision=rev))

    @overload
    def open(self, path: Name, mode: Literal["rb"] = "rb", *, rev: str | None = None) -> BinaryIO: ...
    @overload
    def open(
        self, path: Name, mode: Literal["r", "rt"], *, rev: str | None = None, encoding: str | None = None
    ) -> TextIO: ...
    def open(
        self, path: Name, mode: str = "rb", *, rev: str | None = None, encoding: str | None = None
    ) -> BinaryIO | TextIO:
        """Open a file of a version to read from it: only the parts that are read are fetched. Text is UTF-8 unless `encoding` says else."""
        return opened(self._place, os.fspath(path), mode, rev, encoding)

    def fs(self, *, rev: str | None = None) -> DvliteFileSystem:
        """Return the file system of fsspec for a version: `dvlite://`, for libraries that take one. Paths start at the root."""
        with hinted():
            return self._place.file_system(rev)

    def log(
        self,
        path: Name,
        *,
        rev: str | None = None,
        number: int | None = None,
        patch: bool = False,
        limit: int | None = None,
    ) -> LogResult:
        """Show the versions of a path, with commit, run and metrics."""
        from dvlite.commands.log import LogOptions, changes_to_list
        from dvlite.commands.log import log as verb

        options = LogOptions(rev or self._place.rev, number, changes_to_list(patch=patch, limit=limit))
        return self._place.read(lambda repo, progress: verb(repo, os.fspath(path), options, progress=progress))

    # -- share

    def push(
        self,
        *paths: Name,
        rev: str | None = None,
        all_branches: bool = False,
        all_tags: bool = False,
        all_commits: bool = False,
        jobs: int | None = None,
        dry_run: bool = False,
        remote: str | None = None,
        allow_missing: bool = False,
    ) -> PushResult:
        """Upload data to a remote."""
        from dvlite.commands.push import push as verb

        scope = _scope(rev, all_branches=all_branches, all_tags=all_tags, all_commits=all_commits)
        flags: dict[str, Any] = {"jobs": jobs, "dry_run": dry_run, "allow_missing": allow_missing}
        flags |= {"remote": remote or self._place.remote, "scope": scope}
        return self._place.write(lambda repo, progress: verb(repo, _paths(paths), **flags, progress=progress))

    def pull(
        self,
        *paths: Name,
        rev: str | None = None,
        all_branches: bool = False,
        all_tags: bool = False,
        all_commits: bool = False,
        jobs: int | None = None,
        dry_run: bool = False,
        remote: str | None = None,
        force: bool = False,
        exclude: Words = (),
        allow_missing: bool = False,
    ) -> PullResult:
        """Download data and check it out."""
        from dvlite.commands.pull import pull as verb

        scope = _scope(rev, all_branches=all_branches, all_tags=all_tags, all_commits=all_commits)
        flags: dict[str, Any] = {"jobs": jobs, "dry_run": dry_run, "allow_missing": allow_missing, "force": force}
        flags |= {"remote": remote or self._place.remote, "scope": scope, "exclude": _words(exclude)}
        return self._place.write(lambda repo, progress: verb(repo, _paths(paths), **flags, progress=progress))

    def fetch(
        self,
        *paths: Name,
        rev: str | None = None,
        all_branches: bool = False,
        all_tags: bool = False,
        all_commits: bool = False,
        jobs: int | None = None,
        dry_run: bool = False,
        remote: str | None = None,
        exclude: Words = (),
        allow_missing: bool = False,
    ) -> FetchResult:
        """Download data into the cache only."""
        from dvlite.commands.fetch import fetch as verb

        scope = _scope(rev, all_branches=all_branches, all_tags=all_tags, all_commits=all_commits)
        flags: dict[str, Any] = {"jobs": jobs, "dry_run": dry_run, "allow_missing": allow_missing}
        flags |= {"remote": remote or self._place.remote, "scope": scope, "exclude": _words(exclude)}
        return self._place.write(lambda repo, progress: verb(repo, _paths(paths), **flags, progress=progress))

    # -- data of others

    def import_(
        self,
        address: Name,
        path: str,
        *,
        rev: str | None = None,
        output: Name | None = None,
        jobs: int | None = None,
        stage: bool = True,
    ) -> ImportResult:
        """Track data of another repository, and remember where it is from."""
        from dvlite.commands.import_ import import_ as verb

        flags: dict[str, Any] = {"revision": rev, "jobs": jobs, "stage": stage}
        flags |= {"output": _path(output)}
        return self._place.write(
            lambda repo, progress: verb(repo, os.fspath(address), path, **flags, progress=progress)
        )

    def import_url(
        self,
        url: Name,
        output: Name | None = None,
        *,
        download: bool = True,
        jobs: int | None = None,
        stage: bool = True,
    ) -> ImportResult:
        """Track data from a URL, bucket or folder, and remember its source."""
        from dvlite.commands.import_url import import_url as verb

        target = _path(output)
        flags: dict[str, Any] = {"download": download, "jobs": jobs, "stage": stage}
        return self._place.write(lambda repo, progress: verb(repo, os.fspath(url), target, **flags, progress=progress))

    def update(
        self,
        *paths: Name,
        rev: str | None = None,
        dry_run: bool = False,
        force: bool = False,
        jobs: int | None = None,
        stage: bool = True,
    ) -> UpdateResult:
        """Bring imported data to what its source has now."""
        from dvlite.commands.update import update as verb

        flags: dict[str, Any] = {"revision": rev, "dry_run": dry_run, "force": force, "jobs": jobs, "stage": stage}
        return self._place.write(lambda repo, progress: verb(repo, _paths(paths), **flags, progress=progress))

    # -- pipeline

    def repro(
        self,
        *targets: Name,
        jobs: int | None = None,
        on: str | None = None,
        dry_run: bool = False,
        explain: bool = False,
        force: bool = False,
        single: bool = False,
        downstream: bool = False,
        keep_going: bool = False,
        pull: bool = False,
        add: bool = True,
        run_cache: bool = True,
        set: Mapping[str, Any] | None = None,  # noqa: A002  # as the flag
        stage: bool = True,
    ) -> ReproResult:
        """Run the stages that are out of date.

        `set` are values of parameters: `{"lr": 0.003, "conf/net.yaml:depth": 18}`. `on` is `dask` or `dask:ADDRESS`.
        """
        import json

        from dvlite.commands.repro import repro as verb
        from dvlite.pipeline.invocation import ReproOptions

        options = ReproOptions(
            jobs, dry_run, explain, force, single, downstream, keep_going, pull, run_cache=run_cache, add=add, on=on
        )
        flags: dict[str, Any] = {"settings": [(name, json.dumps(value)) for name, value in (set or {}).items()]}
        flags |= {"stage": stage} | _made_here()
        return self._place.write(
            lambda repo, progress: verb(repo, _paths(targets), options, **flags, progress=progress)
        )

    def params(self, *revisions: str, paths: Words = ()) -> ParamsDiffResult:
        """Show which parameters differ between revisions, or from the workspace."""
        from dvlite.commands.params import params_diff as verb

        return self._place.read(
            lambda repo, progress: verb(repo, self._place.sides(revisions), _words(paths), progress=progress)
        )

    def metrics(self, *revisions: str, paths: Words = ()) -> MetricsShowResult:
        """Show the metrics of the workspace or of revisions, side by side."""
        from dvlite.commands.metrics import metrics_show as verb

        def work(repo: repository.Repo, progress: Progress) -> MetricsShowResult:
            sides = revisions or ((self._place.revision,) if self._place.revision else ())
            return verb(repo, sides, _words(paths), progress=progress)

        return self._place.read(work)

    def metrics_diff(
        self, *revisions: str, paths: Words = (), rtol: float = 0.0, atol: float = 0.0
    ) -> MetricsDiffResult:
        """Show which metrics differ between revisions, or from the workspace."""
        from dvlite.commands.metrics import metrics_diff as verb

        return self._place.read(
            lambda repo, progress: verb(
                repo, self._place.sides(revisions), _words(paths), rtol=rtol, atol=atol, progress=progress
            )
        )

    def plots(self, *targets: Name, rev: str | None = None) -> PlotsResult:
        """Show the plots of the workspace, a revision or a run. TARGET is a path or a title."""
        from dvlite.commands.plots import PlotsOptions
        from dvlite.commands.plots import plots_show as verb

        options, rev = PlotsOptions(), rev or self._place.revision
        return self._place.read(
            lambda repo, progress: verb(repo, _paths(targets), revision=rev, options=options, progress=progress)
        )

    def plots_diff(self, *revisions: str, targets: Words = ()) -> PlotsResult:
        """Show the plots of several revisions or runs over each other."""
        from dvlite.commands.plots import PlotsOptions
        from dvlite.commands.plots import plots_diff as verb

        sides, options = self._place.sides(revisions), PlotsOptions()
        return self._place.read(
            lambda repo, progress: verb(repo, sides, _words(targets), options=options, progress=progress)
        )

    # -- runs and lineage

    def runs(
        self,
        *,
        stage: str | None = None,
        tag: Words = (),
        status: Words = (),
        param: Words = (),
        metric: Words = (),
        since: str | None = None,
        until: str | None = None,
        commit: str | None = None,
        sweep: str | None = None,
        limit: int | None = None,
        all: bool = False,  # noqa: A002  # as the flag
        columns: Words = (),
        sort: str | None = None,
    ) -> RunsListResult:
        """List runs, newest first, with the columns in which they differ.

        Conditions are texts as on the command line: `metric="acc>0.9"`. Without a `limit`, there is none; `all`: with those that were hidden.
        """
        from dvlite.commands.runs import runs_list as verb

        wanted = _wanted(
            stage, tag, status, param, metric, since, until, commit, sweep,
            limit=limit, hidden=all, columns=_words(columns), sort=sort,
        )  # fmt: skip
        return self._place.of_runs(lambda repo, progress: verb(repo, wanted, now_ns=time.time_ns(), progress=progress))

    def runs_best(
        self,
        key: str,
        /,
        *,
        better: Literal["higher", "lower"] | None = None,
        stage: str | None = None,
        tag: Words = (),
        status: Words = (),
        param: Words = (),
        metric: Words = (),
        since: str | None = None,
        until: str | None = None,
        commit: str | None = None,
        sweep: str | None = None,
    ) -> RunsBestResult:
        """Show the run with the best value of a metric.

        `better` is as the pipeline file declares it, unless it is given. `metric` are conditions, as for `runs`.
        """
        from dvlite.commands.runs import runs_best as verb

        wanted = _wanted(stage, tag, status, param, metric, since, until, commit, sweep)
        now_ns = time.time_ns()
        return self._place.of_runs(
            lambda repo, progress: verb(repo, key, wanted, better=better, now_ns=now_ns, progress=progress)
        )

    def runs_show(self, run: str, *, log: bool = False, diff: bool = False) -> RunsShowResult:
        """Show everything recorded about a run: train-7f3a9c, digits of it, last, last:STAGE."""
        from dvlite.commands.runs import runs_show as verb

        flags: dict[str, Any] = {"log": log, "diff": diff, "now_ns": time.time_ns()}
        return self._place.of_runs(lambda repo, progress: verb(repo, run, **flags, progress=progress))

    def runs_diff(self, old: str, new: str) -> RunsDiffResult:
        """Show what differs between two runs: parameters, metrics, data, code, environment."""
        from dvlite.commands.runs import runs_diff as verb

        return self._place.of_runs(lambda repo, progress: verb(repo, old, new, progress=progress))

    def runs_compare(self, *runs: str) -> RunsCompareResult:
        """Show what differs among runs, a column for each."""
        from dvlite.commands.runs import runs_compare as verb

        return self._place.of_runs(lambda repo, progress: verb(repo, runs, progress=progress))

    def lineage(
        self,
        subject: Name,
        *,
        way: Literal["up", "down", "both"] = "up",
        depth: int | None = None,
        sources: bool = False,
        remote: RemoteChoice | None = None,
    ) -> LineageResult:
        """Show how something was made, or what was made from it.

        The `subject` is a path, REV:PATH, an object id, a sha256, or a run. With `remote` (True: the default one) its runs are searched;
        with `sources`, those of repositories that data was imported from are fetched.
        """
        from dvlite.commands.lineage import lineage as verb

        text = os.fspath(subject)
        flags: dict[str, Any] = {
            "upwards": way != "down",
            "downwards": way != "up",
            "depth": depth,
            "sources": sources,
            "environ": os.environ,
        }

        def work(repo: repository.Repo | None, place: str | None, progress: Progress) -> LineageResult:
            if repo is not None and self._place.revision and ":" not in text:
                with contextlib.suppress(UsageError):  # no path at that revision
                    return verb(repo, f"{self._place.revision}:{text}", **flags, remote=place, progress=progress)
            return verb(repo, text, **flags, remote=place, progress=progress)

        return self._place.of_lineage(remote, work)

    def lineage_served(self, place: Name, *, remote: RemoteChoice | None = None) -> LineageServedResult:
        """Show which model is served at a place, and how it was made: `dvlite lineage --served`.

        The `place` is a folder, an archive of TorchServe, s3://..., or the URL of a running server.
        """
        from dvlite.commands.lineage import lineage_served as verb

        def work(repo: repository.Repo | None, remote: str | None, progress: Progress) -> LineageServedResult:
            return verb(repo, os.fspath(place), remote=remote, environ=os.environ, progress=progress)

        return self._place.of_lineage(remote, work)

    def lineage_find(
        self, *conditions: str, number: int | None = None, remote: RemoteChoice | None = None
    ) -> LineageFindResult:
        """List outputs of runs by parameter, metric, tag, stage, status, commit or path."""
        from dvlite.commands.lineage import lineage_find as verb

        return self._place.of_lineage(
            remote,
            lambda repo, place, progress: verb(
                repo, conditions, limit=number, remote=place, environ=os.environ, progress=progress
            ),
        )

    def lineage_diff(self, old: Name, new: Name, *, remote: RemoteChoice | None = None) -> LineageDiffResult:
        """Show what differs upstream of two things: data, code, parameters, environment."""
        from dvlite.commands.lineage import lineage_diff as verb

        sides = os.fspath(old), os.fspath(new)
        return self._place.of_lineage(
            remote,
            lambda repo, place, progress: verb(repo, *sides, remote=place, environ=os.environ, progress=progress),
        )

    # -- models

    def model_list(self, *names: str, fetch: bool = False) -> ModelListResult:
        """List models, the version in each stage, and lost or replaced tags."""
        from dvlite.commands.model import model_list as verb

        return self._place.write(lambda repo, progress: verb(repo, names, fetch=fetch, progress=progress))

    def model_show(self, name: str) -> ModelShowResult:
        """Show a version: content, run, commit, parameters and metrics."""
        from dvlite.commands.model import model_show as verb

        return self._place.write(lambda repo, progress: verb(repo, name, progress=progress))

    def model_history(self, name: str) -> ModelHistoryResult:
        """List what was registered and promoted, and by whom."""
        from dvlite.commands.model import model_history as verb

        return self._place.write(lambda repo, progress: verb(repo, name, progress=progress))

    def model_diff(self, old: str, new: str) -> ModelDiffResult:
        """Show how two versions differ: content, parameters, metrics, data."""
        from dvlite.commands.model import model_diff as verb

        return self._place.write(lambda repo, progress: verb(repo, old, new, progress=progress))

    def model_add(self, name: str, source: Name, *, message: str = "") -> ModelAddResult:
        """Register a path, or an output of a run, as the next version."""
        from dvlite.commands.model_add import model_add as verb

        return self._place.write(
            lambda repo, progress: verb(repo, name, os.fspath(source), message=message, progress=progress)
        )

    def model_promote(
        self, name: str, stage: str, *, when: Words = (), checks: bool = False, message: str = ""
    ) -> ModelPromoteResult:
        """Put a version, or the newest one, into a stage."""
        from dvlite.commands.model_promote import model_promote as verb

        flags: dict[str, Any] = {"when": _words(when), "checks": checks, "message": message}
        return self._place.write(
            lambda repo, progress: verb(repo, name, stage, **flags, now_ns=time.time_ns(), progress=progress)
        )

    def model_rollback(self, name: str, stage: str, *, message: str = "") -> ModelPromoteResult:
        """Give a stage back the version that it had before."""
        from dvlite.commands.model_promote import model_rollback as verb

        return self._place.write(lambda repo, progress: verb(repo, name, stage, message=message, progress=progress))

    # -- check

    def check(self, *paths: Name, dry_run: bool = False, force: bool = False) -> CheckResult:
        """Check data against the checks in dvlite.yaml; runs their commands.

        What failed is in the result; what could not be checked raises PartlyDone.
        """
        from dvlite.checks.execute import CheckOptions
        from dvlite.commands.check import check as verb

        options, flags = CheckOptions(force, dry_run), _made_here()
        return self._place.write(lambda repo, progress: verb(repo, _paths(paths), options, **flags, progress=progress))

    def verify_served(self, place: Name, *, digest: str | None = None) -> VerifyServedResult:
        """Check a model that servers read, byte by byte: `dvlite verify --served`. Findings are in the result: `passed` is true without any."""
        from dvlite.commands.verify_served import verify_served as verb

        return self._place.read(
            lambda repo, progress: verb(repo, os.fspath(place), digest=digest, environ=os.environ, progress=progress)
        )

    def export_croissant(
        self,
        path: Name,
        *,
        rev: str | None = None,
        output: Name | None = None,
        description: str = "",
        license: str = "",  # noqa: A002  # as the flag is called
    ) -> ExportCroissantResult:
        """Describe tracked data as Croissant: files, SHA-256, columns."""
        from dvlite.commands.export_croissant import CroissantOptions
        from dvlite.commands.export_croissant import export_croissant as verb

        target = _path(output)
        options = CroissantOptions(revision=rev, output=target, description=description, license=license)
        return self._place.read(lambda repo, progress: verb(repo, os.fspath(path), options, progress=progress))

    def export_serving(
        self,
        model: Name,
        *,
        to: Literal["triton", "tfserving", "torchserve", "kserve", "dir"],
        dest: Name,
        name: str | None = None,
        at: str | None = None,
        keep: int | None = None,
        config: Name | None = None,
        handler: str | None = None,
        model_format: str | None = None,
        seen_at: str | None = None,
        rollback: bool = False,
    ) -> ExportServingResult:
        """Write a model as the next version of what a server reads."""
        from dvlite.commands.export_serving import ExportServingOptions
        from dvlite.commands.export_serving import export_serving as verb

        options = ExportServingOptions(
            to=to, dest=os.fspath(dest), name=name, at=at, keep=keep, config=_path(config),
            model_format=model_format, handler=handler, seen_at=seen_at, rollback=rollback,
        )  # fmt: skip
        text = os.fspath(model)
        return self._place.write(
            lambda repo, progress: verb(repo, text, options, environ=os.environ, progress=progress)
        )

    def bench_serve(
        self,
        *target: str,
        requests: Name,
        url: str | None = None,
        concurrency: str | Sequence[int] | None = None,
        duration: str | None = None,
        timeout: str | None = None,
        start_timeout: str | None = None,
        model: Name | None = None,
        price: float | None = None,
        record: bool = True,
    ) -> BenchServeResult:
        """Measure latency, throughput, errors, cold start and memory."""
        from dvlite.commands.bench_serve import bench_serve as verb
        from dvlite.commands.bench_serve import options_of

        options = options_of(
            requests=os.fspath(requests), url=url, concurrency=concurrency or "1,4,16", duration=duration or "10s",
            timeout=timeout or "30s", start_timeout=start_timeout or "2m", model=_path(model), price=price, record=record,
        )  # fmt: skip
        flags = _made_here()
        return self._place.write(lambda repo, progress: verb(repo, target, options, **flags, progress=progress))

    def verify(
        self,
        *paths: Name,
        rev: str | None = None,
        range: str | None = None,  # noqa: A002  # as the flag
        remote: RemoteChoice = False,
        deep: bool = False,
        offline: bool = False,
        rerun: bool = False,
        stage_inputs: bool = False,
        twice: bool = False,
        keep: bool = False,
    ) -> VerifyResult:
        """Check that lockfiles, pointers and code agree; needs no data.

        Findings are in the result: `passed` is true without any. With `remote` (True: the default one), also that it has all data; `rerun`
        runs the stages again in a clean clone.
        """
        from dvlite.commands.verify import VerifyOptions, verify_again
        from dvlite.commands.verify import verify as verb
        from dvlite.rerun.session import RerunOptions

        name, asks = self._place.asked(remote)
        how = RerunOptions(stage_inputs, twice, keep, name, offline)

        def work(repo: repository.Repo, progress: Progress) -> VerifyResult:
            revision = None if range is not None else rev or self._place.revision
            options = VerifyOptions(
                paths=_paths(paths),
                revision=revision,
                commits=range,
                check_remote=asks,
                remote=name,
                deep=deep,
                offline=offline,
            )
            if rerun:
                return verify_again(repo, options, how, environ=os.environ, progress=progress)
            return verb(repo, options, progress=progress)

        return self._place.write(work) if rerun else self._place.read(work)


def _paths(paths: Sequence[Any]) -> tuple[str, ...]:
    return tuple(map(os.fspath, paths))


def _path(path: Name | None) -> str | None:
    return None if path is None else os.fspath(path)


def _made_here() -> dict[str, Any]:
    """Returns what a verb writes into the records that it makes, and the environment that it gives to commands."""
    import platform

    return {"environ": os.environ, "host": platform.node(), "version": __version__}


def _words(words: Words) -> tuple[str, ...]:
    return (words,) if isinstance(words, str) else tuple(words)


def _scope(revision: str | None, **every: bool) -> Scope:
    """Returns the revisions that are meant; raises UsageError for more than one choice."""
    if sum((revision is not None, *every.values())) > 1:
        raise UsageError("rev, all_branches, all_tags and all_commits exclude each other", hint="give one of them")
    return Scope(revision=revision, **every)


def _wanted(
    stage: str | None,
    tags: Words,
    statuses: Words,
    params: Words,
    metrics: Words,
    since: str | None,
    until: str | None,
    commit: str | None,
    sweep: str | None,
    **others: Any,
) -> RunsOptions:
    from dvlite.runs.options import RunsOptions

    return RunsOptions(
        stage=stage, tags=_words(tags), statuses=_words(statuses), params=_words(params), metrics=_words(metrics),
        since=since, until=until, commit=commit, sweep=sweep, **others,
    )  # fmt: skip
