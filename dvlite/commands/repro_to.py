"""`dvlite repro --to`: gives out what is out of date to a remote as tasks, and writes the job that runs them on a cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from dvlite.clusters import k8s, swarm
from dvlite.clusters.job import ClusterJob, sbatch_script
from dvlite.errors import UsageError
from dvlite.files import os_error, write_atomic
from dvlite.formats.task import Task, checked
from dvlite.oid import digest_task
from dvlite.pipeline import given_tasks
from dvlite.pipeline.invocation import Invocation, ReproOptions
from dvlite.pipeline.offers import Offers
from dvlite.pipeline.task_send import send
from dvlite.progress import Progress
from dvlite.repo.open_stores import open_remote
from dvlite.repo.remotes import RemoteSettings
from dvlite.repo.repository import Repo, open_cache
from dvlite.results import Result
from dvlite.show import quote, some, word
from dvlite.store import tasks as on_remote
from dvlite.store.url import FOLDER, S3
from dvlite.workspace import running_outputs

CLUSTERS = ("k8s", "swarm", "slurm")
IMAGE, SECRET = "dvlite", "dvlite-remote"
_PARALLEL = 50
_SUFFIXES: Mapping[str, str] = {"k8s": ".yaml", "swarm": ".yml", "slurm": ".sh"}


@dataclass(frozen=True, slots=True)
class ToOptions:
    """For which cluster to write, where to, and what it calls its things. `secret`: of the credentials, or of the volume with a folder."""

    to: str
    output: str | None = None
    image: str = IMAGE
    secret: str = SECRET
    jobs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenOut:
    """The tasks of one stage: their number, and the id on the remote of the task, or of the list of them."""

    stage: str
    tasks: int
    spec: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StageHere:
    """A stage that is out of date and was not given out, with the reason."""

    stage: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ReproToResult(Result):
    """What was given out, and the job that runs it. `text` is empty if it was written to `files`."""

    schema: ClassVar[str] = "dvlite.repro-to/1"
    to: str
    remote: str
    stages: tuple[GivenOut, ...] = ()
    waiting: tuple[str, ...] = ()  # for results of these
    here_only: tuple[StageHere, ...] = ()
    text: str = ""
    files: tuple[str, ...] = ()
    uploaded_files: int = 0
    uploaded_bytes: int = 0  # before dedup and compression
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()


def repro_to(
    repo: Repo,
    targets: Sequence[str],
    options: ReproOptions,
    to: ToOptions,
    *,
    environ: Mapping[str, str],
    version: str = "",
    progress: Progress,
) -> ReproToResult:
    """Gives out the stages that are out of date and can run now, and returns the job that runs them; nothing runs here.

    Raises UsageError for a remote that no other machine can reach, ObjectMissing for an input that is nowhere.
    """
    started = time.monotonic()
    settings = repo.remote(None, to_push=True)
    if settings.location.scheme not in (S3, FOLDER) and to.to != "slurm":
        progress.warn(
            f"credentials for {settings.location.text} have to be in the image or mounted: see docs/how-to/clusters.md"
        )
    with running_outputs.hold(repo, environ, progress):
        run = Invocation(repo, targets, options, environ, progress)
        if run.outdated:
            raise run.outdated[0]
        offers = run.offers(version)
    _require_place(len(offers.ready), to)
    name, remote = open_remote(repo, open_cache(repo), None, None)
    files = size_bytes = 0
    jobs: list[ClusterJob] = []
    if offers.ready:
        with remote:
            texts = [_by_id(offer.tasks) for offer in offers.ready]
            done = send(repo, name, remote, offers.inputs, progress)
            files, size_bytes = done.files, done.size_bytes
            for offer, items in zip(offers.ready, texts, strict=True):
                on_remote.give_out(remote, items, remote.clone, repo.config.project or "")
                given_tasks.remember(repo, settings.key, items)
                ids = list(items)
                spec = ids[0] if len(ids) == 1 else on_remote.put_list(remote, ids)
                jobs.append(_job(offer.stage, offer.tasks, spec, settings, to))
        progress.finish()
    manifests = _texts(jobs, to)
    written = _write(manifests, to) if to.output is not None else ()
    return ReproToResult(
        to=to.to,
        remote=name,
        stages=tuple(GivenOut(stage=job.stage, tasks=job.tasks, spec=job.spec) for job in jobs),
        waiting=offers.waiting,
        here_only=tuple(StageHere(stage=stage, reason=reason) for stage, reason in offers.here_only),
        text="" if written else "".join(manifests.values()),
        files=written,
        uploaded_files=files,
        uploaded_bytes=size_bytes,
        elapsed_seconds=time.monotonic() - started,
        warnings=tuple(_left_behind(offers, to)),
    )


def _require_place(stages: int, to: ToOptions) -> None:
    if to.to == "slurm" and stages > 1 and (to.output is None or not _is_folder(to.output)):
        raise UsageError(
            f"Slurm takes a script for each stage, and there are {stages}",
            hint="dvlite repro --to slurm -o jobs/   writes each to a file of that folder",
        )


def _by_id(tasks: Sequence[Task]) -> dict[str, bytes]:
    """Returns the canonical bytes of tasks. Raises FormatError for one that a worker would refuse."""
    return {digest_task(data): data for data in map(checked, tasks)}


def _job(stage: str, tasks: Sequence[Task], spec: str, remote: RemoteSettings, to: ToOptions) -> ClusterJob:
    first, options = tasks[0], remote.options
    return ClusterJob(
        stage=stage,
        spec=spec,
        tasks=len(tasks),
        remote=str(remote.location.folder or remote.location.text),
        is_folder=remote.location.folder is not None,
        endpoint_url=options.get("endpoint_url", ""),
        region=options.get("region", ""),
        image=to.image,
        secret=to.secret,
        parallel=to.jobs or _PARALLEL,
        cpu=first.cpu,
        memory_bytes=first.memory_bytes,
        gpu=first.gpu,
    )


def _texts(jobs: Sequence[ClusterJob], to: ToOptions) -> dict[str, str]:
    """Returns what is written, by the name of its file."""
    if not jobs:
        return {}
    if to.to == "slurm":
        return {job.name + _SUFFIXES["slurm"]: sbatch_script(job) for job in jobs}
    write: Callable[[Sequence[ClusterJob]], str] = k8s.manifest if to.to == "k8s" else swarm.stack
    return {jobs[0].name + _SUFFIXES[to.to]: write(jobs)}


def _is_folder(output: str) -> bool:
    return output.endswith("/") or os.path.isdir(output)


def _write(texts: Mapping[str, str], to: ToOptions) -> tuple[str, ...]:
    assert to.output is not None
    written = []
    for name, text in texts.items():
        path = Path(to.output) / name if _is_folder(to.output) else Path(to.output)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise os_error(error, "make the folder", path.parent) from error
        write_atomic(path, text.encode())
        written.append(str(path))
    return tuple(written)


def _left_behind(offers: Offers, to: ToOptions) -> list[str]:
    found = []
    if offers.waiting:
        names = some([quote(name) for name in offers.waiting])
        again = "dvlite task collect, then this command again" if offers.ready else "dvlite repro"
        found.append(f"{names} {'waits' if len(offers.waiting) == 1 else 'wait'} for results of stages before: {again}")
    for stage, reason in offers.here_only:
        found.append(f"{stage} runs here only ({reason}): dvlite repro {word(stage)}")
    return found
