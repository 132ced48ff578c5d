"""What a stage runs in: the captured values it asks for, its machine and its Python.

Values of variables that no stage names are never read. No network is used; a program is started only to ask a Python for its packages, or
for a command that the pipeline file names.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from dvlite.formats.lockfile import LockedStage
from dvlite.formats.pipeline import Capture
from dvlite.formats.strict_yaml import Scalar
from dvlite.oid import FILE, digest_bytes, digest_path, format_oid
from dvlite.pipeline.executor import Command
from dvlite.pipeline.process import output_of, shell_command
from dvlite.pipeline.slots import GPU_VARIABLE, Machine
from dvlite.pipeline.stages import Stage, captured_name
from dvlite.pipeline.staleness import NOT_LOOKED_AT
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.show import quote

NOT_INSTALLED, NOT_SET, FAILED = "not installed", "not set", "failed"
_LOCK_FILES = (
    *("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pixi.lock", "conda-lock.yml"),
    *("requirements.txt", "environment.yml", "package-lock.json", "Cargo.lock"),
)
_MOST_TEXT = 4096  # characters of a command's output that are recorded
_PROBE = """
import importlib.metadata as m, json, platform, sys
def version(name):
    try:
        return m.version(name)
    except m.PackageNotFoundError:
        return None
names = json.loads(sys.argv[1])
print(json.dumps([platform.python_version(), platform.python_implementation(), {n: version(n) for n in names}]))
"""


class Surroundings:
    """Describes this machine; every value is read once. `environ` is the user's; `dry`: commands of the pipeline are not run; `probes`: what is known of Pythons."""

    def __init__(
        self,
        repo: Repo,
        environ: Mapping[str, str],
        progress: Progress,
        stages: Sequence[Stage] = (),
        *,
        dry: bool = False,
        probes: dict[Any, Any] | None = None,
    ) -> None:
        self._repo, self._environ, self._progress = repo, environ, progress
        self._dry = dry
        self._pythons: dict[tuple[str, tuple[str, ...]], tuple[str, str, Mapping[str, str | None]] | None] = (
            {} if probes is None else probes
        )
        self._machine: dict[str, Scalar] | None = None
        # the packages of all stages, so that one Python is asked once
        self._names = {item.name for stage in stages for item in stage.spec.capture if item.kind == "package"}

    def command(
        self, stage: Stage, key: str, log: Path, show: Callable[[str], None], variables: Mapping[str, str] | None = None
    ) -> Command:
        """Returns the command of a stage with its environment, in which `variables` replace others."""
        environ = {
            "PYTHONUNBUFFERED": "1",
            **self.environ_of(stage),
            "DVLITE_STAGE": stage.address,
            "DVLITE_KEY": key,
            "DVLITE_REPRO": os.fspath(self._repo.state_dir),
            **(variables or {}),
        }
        folder, timeout = self._repo.root / stage.wdir, stage.spec.limits.timeout_seconds
        return Command(stage.address, stage.spec.cmd, folder, environ, log, show, timeout)

    def machine(self) -> Machine:
        """Returns what commands share here: the CPUs that this process may use, the memory, and the GPUs that the user lets it see."""
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return Machine(cpus, memory, visible_gpus(self._environ))

    def environ_of(self, stage: Stage) -> dict[str, str]:
        """Returns the variables that a stage's command sees, but for those that name this run."""
        return {**self._environ, **stage.spec.env}

    def values(self, stage: Stage, locked: LockedStage | None) -> Mapping[str, str]:
        """Returns what a stage asks to be recorded; in a dry run, what would need a command is as the lockfile has it."""
        known = {} if locked is None else locked.facts.capture
        names = {captured_name(item): item for item in stage.spec.capture}
        return {name: self._value(stage, item, known.get(name)) for name, item in names.items()}

    def _value(self, stage: Stage, item: Capture, known: str | None) -> str:
        if item.kind == "env":
            return self.environ_of(stage).get(item.name, NOT_SET)
        if item.kind != "package":
            return self._command(stage, item) if not self._dry else NOT_LOOKED_AT if known is None else known
        if self._dry and any(name == "PATH" or name.startswith("PYTHON") for name in stage.spec.env):
            return NOT_INSTALLED if known is None else known
        python = self._python(stage)
        version = python[2].get(item.name) if python is not None else None
        if version:
            return version
        return (
            known if self._dry and known is not None else NOT_INSTALLED
        )  # a job that only checks need not install all

    def describe(self, stage: Stage) -> dict[str, Scalar]:
        """Returns the environment of a run: Python, platform, CPU, GPU, container image and lock files as far as they are known."""
        if self._machine is None:
            self._machine = _machine(self._environ)
        environment = dict(self._machine)
        python = self._python(stage)
        if python is not None:
            environment |= {"python": python[0], "python_implementation": python[1]}
        return environment | self._lock_files(stage)

    def _python(self, stage: Stage) -> tuple[str, str, Mapping[str, str | None]] | None:
        """Asks the Python that the stage's commands find on PATH, which need not be the one that runs dvlite."""
        environ = _without_relative(self._environ if self._dry else self.environ_of(stage))
        path = environ.get("PATH")
        program, names = _python_on(path), tuple(sorted(self._names))
        if program is None:
            return None
        if (program, names) not in self._pythons:
            self._pythons[program, names] = _asked(program, names, environ)
        return self._pythons[program, names]

    def _command(self, stage: Stage, capture: Capture) -> str:
        environ = self.environ_of(stage)
        text = output_of(shell_command(capture.name, environ), self._repo.root / stage.wdir, environ)
        if text is None:
            self._progress.warn(
                f"{stage.file} line {capture.line}: {quote(capture.name)} failed; it is recorded as that"
            )
            return FAILED
        return _shortened(text)

    def _lock_files(self, stage: Stage) -> dict[str, Scalar]:
        """Returns `lock:NAME` -> oid of the files that pin packages, those nearest to the stage first."""
        pins: dict[str, Scalar] = {}
        folder = self._repo.root / stage.folder
        for place in (folder, *folder.parents):
            for name in _LOCK_FILES:
                path = place / name
                if f"lock:{name}" not in pins and path.is_file() and not path.is_symlink():
                    pins[f"lock:{name}"] = format_oid(FILE, digest_path(path)[0])
            if place == self._repo.root:
                break
        return pins


def visible_gpus(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the GPUs that the user lets programs see here, by the names that CUDA_VISIBLE_DEVICES takes."""
    visible = environ.get(GPU_VARIABLE)
    named = visible.split(",") if visible is not None else [str(number) for number in range(len(_gpus()))]
    return tuple(name for name in map(str.strip, named) if name not in ("", "-1"))


def captured_now(names: Iterable[str], folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Returns what captured values (`torch`, `env NAME`, `command ...`) are on this machine; commands run in a folder."""
    packages = tuple(sorted(name for name in names if " " not in name))
    program = _python_on(environ.get("PATH"))
    python = None if program is None or not packages else _asked(program, packages, environ)
    found = {name: (python[2].get(name) if python is not None else None) or NOT_INSTALLED for name in packages}
    for name in names:
        kind, _, what = name.partition(" ")
        if kind == "env":
            found[name] = environ.get(what, NOT_SET)
        elif what:
            text = output_of(shell_command(what, environ), folder, environ)
            found[name] = FAILED if text is None else _shortened(text)
    return found


def machine_of(environ: Mapping[str, str]) -> dict[str, Scalar]:
    """Returns the environment of a run on this machine: Python, platform, CPU, GPU and container image as far as they are known."""
    program = _python_on(environ.get("PATH"))
    python = None if program is None else _asked_once(program, tuple(sorted(environ.items())))
    known = {} if python is None else {"python": python[0], "python_implementation": python[1]}
    return {**_machine(environ), **known}


@lru_cache(16)  # a worker is asked after each task
def _asked_once(
    program: str, variables: tuple[tuple[str, str], ...]
) -> tuple[str, str, Mapping[str, str | None]] | None:
    return _asked(program, (), dict(variables))


def _python_on(path: str | None) -> str | None:
    program = shutil.which("python", path=path) or shutil.which("python3", path=path)
    return None if program is None else os.path.abspath(program)


def _asked(
    program: str, names: tuple[str, ...], environ: Mapping[str, str]
) -> tuple[str, str, Mapping[str, str | None]] | None:
    """Returns version and implementation of a Python, and its versions of packages; None if it does not say."""
    # started at the root of the disk: Python looks for modules in the current folder first, and this one may be anybody's
    text = output_of([program, "-c", _PROBE, json.dumps(names)], Path(os.sep), environ)
    try:
        version, implementation, versions = json.loads((text or "").splitlines()[-1])
    except (ValueError, IndexError, TypeError):
        return None
    return version, implementation, versions


def _shortened(text: str) -> str:
    if len(text) > _MOST_TEXT:
        return f"{text[:_MOST_TEXT]} ... {format_oid(FILE, digest_bytes(text.encode('utf-8', 'replace')))}"
    return text


def _without_relative(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns variables whose PATH has no entry that depends on the current folder: nothing of a repository is started unasked."""
    path = os.pathsep.join(entry for entry in environ.get("PATH", os.defpath).split(os.pathsep) if os.path.isabs(entry))
    return {**environ, "PATH": path}


def _machine(environ: Mapping[str, str]) -> dict[str, Scalar]:
    machine: dict[str, Scalar] = {
        "platform": f"{platform.system().lower()}-{platform.machine()}",
        "os": _system(),
        "cpu": _cpu(),
        "cpus": os.cpu_count() or 1,
    }
    gpus = _gpus()
    if gpus:
        machine["gpu"] = ", ".join(f"{gpus.count(name)} x {name}" for name in dict.fromkeys(gpus))
    driver = _first_match(Path("/proc/driver/nvidia/version"), r"Kernel Module\s+(?:for \S+\s+)?([0-9.]+)")
    if driver:
        machine["gpu_driver"] = driver
    image = environ.get("DVLITE_IMAGE") or _first_match(Path("/run/.containerenv"), r'image="([^"]+)"')
    if image:
        machine["image"] = image
    return machine


def _system() -> str:
    if sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]}"
    return _first_match(Path("/etc/os-release"), r'PRETTY_NAME="?([^"\n]+)') or platform.platform()


def _cpu() -> str:
    return _first_match(Path("/proc/cpuinfo"), r"model name\s*:\s*(.+)") or platform.processor() or platform.machine()


def _gpus() -> list[str]:
    return [
        name
        for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
        if (name := _first_match(path, r"Model:\s*(.+)"))
    ]


def _first_match(path: Path, expression: str) -> str | None:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            match = re.search(expression, file.read(1 << 16))
    except OSError:
        return None
    return match[1].strip() if match else None
