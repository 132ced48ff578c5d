"""Tasks as a stack of Docker Swarm: for each stage a job whose replicas claim tasks of its list until none is left.

Not by slot: a swarm gives replicas of a job numbers that are not always numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from json import dumps

from dvlite.clusters.job import WORK, ClusterJob, head

_TRIES = 3


def stack(jobs: Sequence[ClusterJob]) -> str:
    """Returns a stack file with a service for each stage, as YAML."""
    text = head(jobs, "docker stack deploy -c FILE --resolve-image never dvlite") + 'version: "3.8"\nservices:\n'
    text += "".join(map(_service, jobs))
    secrets = sorted({job.secret for job in jobs if not job.is_folder})
    if secrets:
        text += "secrets:\n" + "".join(f"  {dumps(name)}:\n    external: true\n" for name in secrets)
    return text


def _service(job: ClusterJob) -> str:
    command = job.command(cache=f"{WORK}/cache")
    return f"""\
  {job.name}:
    image: {dumps(job.image)}
    entrypoint: {_words(command[:1])}
    command: {_words(command[1:])}
{_environ(job)}{_places(job)}\
    deploy:
      mode: replicated-job
      replicas: {min(job.parallel, job.tasks)}
      restart_policy:
        condition: on-failure
        max_attempts: {_TRIES}
        delay: 5s
{_resources(job)}"""


def _words(command: Sequence[str]) -> str:
    return dumps([word.replace("$", "$$") for word in command])  # docker fills in $NAME


def _environ(job: ClusterJob) -> str:
    values = {"HOME": WORK, **job.environ}
    if not job.is_folder:
        values["AWS_SHARED_CREDENTIALS_FILE"] = f"/run/secrets/{job.secret}"
    return "    environment:\n" + "".join(
        f"      {name}: {dumps(value.replace('$', '$$'))}\n" for name, value in values.items()
    )


def _places(job: ClusterJob) -> str:
    if not job.is_folder:
        return f"    secrets: {dumps([job.secret])}\n"
    bind = f"    - type: bind\n      source: {dumps(job.remote)}\n      target: {dumps(job.remote)}\n"
    return f"    volumes:\n{bind}"


def _resources(job: ClusterJob) -> str:
    if not (job.cpu or job.memory_bytes or job.gpu):
        return ""
    lines = ["      resources:"]
    if job.memory_bytes:
        lines += ["        limits:", f'          memory: "{job.memory_bytes}"']
    lines.append("        reservations:")
    lines += [f'          cpus: "{job.cpu:g}"'] if job.cpu else []
    lines += [f'          memory: "{job.memory_bytes}"'] if job.memory_bytes else []
    if job.gpu:
        kind = f"          - discrete_resource_spec:\n              kind: gpu\n              value: {job.gpu}"
        lines += ["          generic_resources:", kind]
    return "".join(f"{line}\n" for line in lines)
