"""Tasks as Indexed Jobs of Kubernetes: one pod for each task, which is run again as its exit code says."""

from __future__ import annotations

from collections.abc import Sequence
from json import dumps

from dvlite.clusters.job import WORK, ClusterJob, head

INDEX = "JOB_COMPLETION_INDEX"
FINAL = (12, 13)  # the inputs are gone or damaged: no pod can run any of these tasks
_NO_USE = (2, 4)  # the task itself: its command failed after its own retries, or it cannot be read
_LASTS_SECONDS = 24 * 3600  # that a finished job stays listed
_USER = 1000  # of the image in examples/container


def manifest(jobs: Sequence[ClusterJob]) -> str:
    """Returns a Job for each stage, as YAML."""
    return head(jobs, "kubectl apply -f FILE") + "---\n".join(map(_job, jobs))


def _job(job: ClusterJob) -> str:
    return f"""\
apiVersion: batch/v1
kind: Job
metadata:
  name: {job.name}
  labels:
    app.kubernetes.io/managed-by: dvlite
  annotations:
    dvlite/stage: {dumps(job.stage)}
    dvlite/tasks: {dumps(job.spec)}
spec:
  completions: {job.tasks}
  parallelism: {min(job.parallel, job.tasks)}
  completionMode: Indexed
  backoffLimitPerIndex: 3
  ttlSecondsAfterFinished: {_LASTS_SECONDS}
  podFailurePolicy:
    rules:
    - action: FailJob  # data that the tasks need is missing, or damaged
      onExitCodes:
        operator: In
        values: {dumps(FINAL)}
    - action: FailIndex  # the command failed, after its own retries
      onExitCodes:
        operator: In
        values: {dumps(_NO_USE)}
    - action: Ignore  # the node went away: that counts as no try
      onPodConditions:
      - type: DisruptionTarget
        status: "True"
  template:
    metadata:
      labels:
        app.kubernetes.io/managed-by: dvlite
    spec:
      restartPolicy: Never
      automountServiceAccountToken: false
      securityContext:
        runAsNonRoot: true
        runAsUser: {_USER}
        runAsGroup: {_USER}
        fsGroup: {_USER}
      containers:
      - name: task
        image: {dumps(job.image)}
        command: {_words(job.command(index_from=INDEX, cache=f"{WORK}/cache"))}
        workingDir: {WORK}
{_environ(job)}{_resources(job)}\
        securityContext:
          allowPrivilegeEscalation: false
          capabilities:
            drop: ["ALL"]
        volumeMounts:
        - name: work
          mountPath: {WORK}
{_remote_mount(job)}\
      volumes:
      - name: work
        emptyDir: {{}}
{_remote_volume(job)}"""


def _words(command: Sequence[str]) -> str:
    return dumps([word.replace("$(", "$$(") for word in command])  # kubernetes fills in $(NAME)


def _environ(job: ClusterJob) -> str:
    lines = ["        env:", "        - name: HOME", f"          value: {WORK}"]
    for name, value in job.environ.items():
        lines += [f"        - name: {name}", f"          value: {_words([value])[1:-1]}"]
    if not job.is_folder:
        lines += ["        envFrom:", "        - secretRef:", f"            name: {dumps(job.secret)}"]
    return "\n".join(lines) + "\n"


def _resources(job: ClusterJob) -> str:
    memory = [f"memory: {dumps(str(job.memory_bytes))}"] if job.memory_bytes else []
    requests = ([f'cpu: "{job.cpu:g}"'] if job.cpu else []) + memory
    limits = memory + ([f'nvidia.com/gpu: "{job.gpu}"'] if job.gpu else [])
    lines = ["        resources:"] if requests or limits else []
    for name, values in (("requests", requests), ("limits", limits)):
        lines += [f"          {name}:", *(f"            {value}" for value in values)] if values else []
    return "".join(f"{line}\n" for line in lines)


def _remote_mount(job: ClusterJob) -> str:
    return f"        - name: remote\n          mountPath: {dumps(job.remote)}\n" if job.is_folder else ""


def _remote_volume(job: ClusterJob) -> str:
    claim = f"        persistentVolumeClaim:\n          claimName: {dumps(job.secret)}\n"
    return f"      - name: remote\n{claim}" if job.is_folder else ""
