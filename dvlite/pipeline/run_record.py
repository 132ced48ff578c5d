"""Builds the run record of a stage: what it ran with, where and how it ran, its outputs (docs/reference/formats/record.md)."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from dvlite.errors import DvliteError
from dvlite.formats import parameters, record
from dvlite.formats.lockfile import Locked, LockedStage
from dvlite.formats.record import Code, Input, Output, Run, Status
from dvlite.formats.strict_yaml import Scalar
from dvlite.git.output import differences
from dvlite.git.program import without_credentials
from dvlite.oid import FILE, Oid, digest_bytes, format_oid
from dvlite.pipeline.executor import Ended
from dvlite.pipeline.known_data import KnownData
from dvlite.pipeline.stages import Stage, StageOut
from dvlite.repo.repository import Repo
from dvlite.repo.stage_names import metrics_file
from dvlite.store.cache import Cache
from dvlite.store.cache_writer import Writer
from dvlite.store.pack import KIND_FILE

_DIFF_LIMIT_BYTES = 4 << 20
_CODE_AGE_SECONDS = 2.0  # git is not asked again sooner: two processes for each of many quick stages
_MOST_METRICS = 1000
# What dvlite itself writes: the record names the data by other means.
_OWN = ("**/dvlite.lock", "**/*.dvlite", "**/.gitignore", ".dvlite/**", ".dvliteignore", ".gitattributes")
_NOT_CODE = tuple(f":(exclude,top,glob){name}" for name in _OWN)
_CI_JOBS = (("CI_JOB_URL",), ("BUILD_URL",), ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID"))


ReadFile = Callable[[str, int], bytes | None]  # a path, and how many bytes it may have


@dataclass(frozen=True, slots=True)
class Author:
    """Who and where: of all runs of one `repro`."""

    invocation: str
    user: str
    host: str
    ci: str | None
    project: str
    dvlite: str
    sweep: str = ""


def author(repo: Repo, environ: Mapping[str, str], host: str, version: str) -> Author:
    """Returns what the records of this invocation have in common."""
    user = environ.get("GIT_AUTHOR_EMAIL") or repo.git.config_get("user.email") or environ.get("USER", "")
    return Author(new_id(), user, host, _ci_url(environ), repo.config.project or "", version)


def new_id() -> str:
    """Returns a fresh UUIDv7."""
    return record.new_id(time.time_ns(), os.urandom(10))


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of a stage before its end is known."""

    stage: Stage
    entry: LockedStage
    started_ns: int
    inputs: tuple[Input, ...]
    retry: int = 0


class Known(Protocol):
    """What belongs at paths: of the work tree, or of a revision."""

    known: KnownData

    def expected(self, path: str) -> Locked | None:
        """Returns what belongs at a path."""


def begun(stage: Stage, entry: LockedStage, contents: Known, started_ns: int) -> Attempt:
    """Returns what is known of a run as it begins; of an input in a tracked directory also which version of it that is."""
    inputs = []
    for dep in entry.deps:
        path = stage.placed(dep.path)
        outer = contents.known.holder(path)
        holds = contents.expected(outer) if outer is not None else None
        inputs.append(
            Input(
                path=path,
                oid=dep.oid,
                size_bytes=dep.size_bytes,
                files=dep.files,
                inside=outer if holds is not None else None,
                inside_oid=holds.oid if holds is not None else None,
            )
        )
    return Attempt(stage, entry, started_ns, tuple(inputs))


class Recorder:
    """Builds records; asks git where the code is, and keeps what differs from the commit."""

    def __init__(self, repo: Repo, cache: Cache, made_by: Author, outputs: Iterable[str]) -> None:
        self._repo, self._cache, self._author = repo, cache, made_by
        self._excluded = [f":(exclude,top,literal){path}" for path in sorted(outputs)]
        self._code = Code()
        self._code_read = float("-inf")

    def ran(
        self, attempt: Attempt, status: Status, ended: Ended, *, environment: Mapping[str, Scalar], log: Oid | None
    ) -> Run:
        """Returns the record of a command that ran; its outputs are added by `with_outputs`."""
        return replace(
            self._run(attempt, status),
            environment=environment,
            exit_code=ended.exit_code,
            signal=ended.signal,
            timed_out=ended.timeout_seconds is not None,
            retry=attempt.retry,
            log=log,
            seconds=round(ended.seconds, 3),
            cpu_seconds=round(ended.cpu_seconds, 3),
            max_rss_bytes=ended.max_rss_bytes,
        )

    def with_outputs(
        self,
        run: Run,
        outputs: Iterable[tuple[StageOut, Locked]],
        metrics: Mapping[str, Scalar],
        taint: Iterable[str],
    ) -> Run:
        """Adds what a command produced, and the inputs that changed while it ran."""
        items = (_output(item, "metric" if out.spec.metric else "out", self._sha256(item)) for out, item in outputs)
        return replace(run, outputs=tuple(items), metrics=dict(metrics), taint=tuple(taint))

    def asserted(
        self,
        attempt: Attempt,
        outputs: Iterable[tuple[StageOut, Locked]],
        metrics: Mapping[str, Scalar],
        code: Code | None = None,
    ) -> Run:
        """Returns the record of outputs that the user vouches for: nothing ran, and how they were made is not known. `code`: where they were, if not here."""
        return self.with_outputs(self._run(attempt, "asserted", code), outputs, metrics, ())

    def cached(self, attempt: Attempt, of: Oid, original: Run, outputs: Sequence[Locked]) -> Run:
        """Returns the record of a stage that reuses the outputs of an earlier run."""
        pairs = zip(outputs, original.outputs, strict=True)
        known = tuple(_output(item, earlier.role, earlier.sha256) for item, earlier in pairs)
        return replace(self._run(attempt, "cached"), of=of, metrics=original.metrics, outputs=known)

    def _run(self, attempt: Attempt, status: Status, code: Code | None = None) -> Run:
        stage, who = attempt.stage, self._author
        return Run(
            id=new_id(),
            invocation=who.invocation,
            key=attempt.entry.key,
            stage=stage.name,
            file=stage.file,
            status=status,
            facts=attempt.entry.facts,
            code=code or self.code(),
            inputs=attempt.inputs,
            start=record.time_text(attempt.started_ns),
            end=record.time_text(time.time_ns()),
            user=who.user,
            host=who.host,
            ci=who.ci,
            project=who.project,
            dvlite=who.dvlite,
            sweep=who.sweep,
            axes=stage.spec.axes,
        )

    def code(self) -> Code:
        """Returns the commit that is checked out and what differs from it, outputs and lockfiles left out."""
        if time.monotonic() - self._code_read < _CODE_AGE_SECONDS:
            return self._code
        git = self._repo.git
        url, commit = git.remote_url(), git.head()
        dirty: tuple[str, ...] = ()
        diff: Oid | None = None
        if commit is not None:
            paths = ("--", ":(top)", *_NOT_CODE, *self._excluded)
            how = ("--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--no-abbrev", "--binary")
            both = git.run("diff", "--patch-with-raw", "-z", *how, "HEAD", *paths)
            names, _, text = both.partition(b"\0\0")
            dirty = tuple(file.path for file in differences(names))
            if dirty:
                diff = self._keep(text) if len(text) <= _DIFF_LIMIT_BYTES else None
        self._code = Code(repo=without_credentials(url) if url else None, commit=commit, dirty=dirty, diff=diff)
        self._code_read = time.monotonic()
        return self._code

    def _keep(self, data: bytes) -> Oid:
        with Writer(self._cache) as writer:
            digest = digest_bytes(data)
            writer.put(KIND_FILE, digest, data)
            writer.commit()
        return format_oid(FILE, digest)

    def _sha256(self, item: Locked) -> str | None:
        """Returns the SHA-256 of a single file, from its copy in the cache: registries and model servers know files by it."""
        wanted = item.pointer()
        if wanted.kind != "file":
            return None
        if self._cache.has_large(wanted.digest):
            with self._cache.open_large(wanted.digest) as descriptor, open(descriptor, "rb", closefd=False) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        return hashlib.sha256(self._cache.read_file(wanted.digest, wanted.size_bytes)).hexdigest()


def metrics_of(read: ReadFile, stage: Stage, paths: Iterable[str]) -> tuple[dict[str, Scalar], list[str]]:
    """Returns `file:dotted.key` -> value of metrics files, and what could not be read as metrics."""
    metrics: dict[str, Scalar] = {}
    problems = []
    for path in paths:
        try:
            data = read(path, parameters.metrics_limit_bytes(path))
            if data is None:
                problems.append(f"cannot read {path}: there is no such file")
                continue
            tree = parameters.load_metrics(data, path)
        except DvliteError as error:
            problems.append(error.message)
            continue
        flat = parameters.flatten(tree) if isinstance(tree, dict) else {}
        name = metrics_file(stage.file, stage.name, path)
        metrics |= {f"{name}:{key}": value for key, value in flat.items() if not isinstance(value, (dict, list))}
    return dict(sorted(metrics.items())[:_MOST_METRICS]), problems


def _output(item: Locked, role: Literal["out", "metric"], sha256: str | None) -> Output:
    return Output(
        path=item.path,
        oid=item.oid,
        size_bytes=item.size_bytes,
        files=item.files,
        executable=item.executable,
        role=role,
        cached=item.cache,
        sha256=sha256,
    )


def _ci_url(environ: Mapping[str, str]) -> str | None:
    for names in _CI_JOBS:
        if all(environ.get(name) for name in names):
            server, *path = (environ[name] for name in names)
            return without_credentials("/".join((server, path[0], "actions/runs", path[1])) if path else server)
    return None
