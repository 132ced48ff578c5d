"""Tasks of one stage as a job of a cluster: what the manifests of Kubernetes and Swarm have in common with the script for Slurm, which is all here. Knows no network and no store."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from shlex import join

WORK = "/work"  # of a container: the cache, and where commands run
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterJob:
    """Tasks that need the same resources. `spec` names the task, or the list of them, on the remote.

    `secret` is the cluster's own name of the credentials; of a remote that is a folder, of the volume with it. None is ever written out.
    """

    stage: str
    spec: str
    tasks: int
    remote: str
    is_folder: bool = False
    endpoint_url: str = ""
    region: str = ""
    image: str
    secret: str
    parallel: int
    cpu: float = 0
    memory_bytes: int = 0
    gpu: int | None = None

    @property
    def name(self) -> str:
        """A name that any cluster takes: at most 50 lower-case letters, digits and '-'."""
        words = _NOT_IN_NAMES.sub("-", self.stage.lower()).strip("-")[:40].strip("-") or "stage"
        return f"{words}-{self.spec[:8]}"

    @property
    def environ(self) -> dict[str, str]:
        """The variables that say where the remote is; no secret."""
        found = {"AWS_ENDPOINT_URL": self.endpoint_url, "AWS_REGION": self.region}
        return {name: value for name, value in found.items() if value}

    def command(self, *, index_from: str = "", cache: str = "") -> tuple[str, ...]:
        """Returns the command of a worker; with `index_from`, of the one task that this variable numbers."""
        flags: Sequence[str] = ("--index-from", index_from) if index_from else ()
        place: Sequence[str] = ("--cache", cache) if cache else ()
        return ("dvlite", "exec-task", "--remote", self.remote, *place, *flags, self.spec)


def head(jobs: Sequence[ClusterJob], submit: str) -> str:
    """Returns the first lines of a manifest, as remarks: how it is submitted, and what comes after."""
    stages = ", ".join(dict.fromkeys(job.stage for job in jobs))
    tasks = sum(job.tasks for job in jobs)
    return (
        f"# Written by dvlite repro: {tasks:,} {'task' if tasks == 1 else 'tasks'} of {stages}. Submit:  {submit}\n"
        "# Afterwards, in the clone:  dvlite task collect\n"
    )


def sbatch_script(job: ClusterJob) -> str:
    """Returns a script for sbatch of Slurm, one array task for each task. Credentials are those of who submits it, in their home; dvlite is the one on PATH there."""
    options = [f"--job-name={job.name}", f"--array=0-{job.tasks - 1}%{min(job.parallel, job.tasks)}", "--requeue"]
    options += [f"--cpus-per-task={max(1, round(job.cpu))}"] if job.cpu else []
    options += [f"--mem={max(1, job.memory_bytes >> 20)}M"] if job.memory_bytes else []
    options += [f"--gpus={job.gpu}"] if job.gpu else []
    exports = "".join(f"export {join([f'{name}={value}'])}\n" for name, value in job.environ.items())
    return (
        "#!/bin/sh\n"
        + head([job], "sbatch FILE")
        + "".join(f"#SBATCH {option}\n" for option in options)
        + exports
        + f"exec {join(job.command(index_from='SLURM_ARRAY_TASK_ID'))}\n"
    )
