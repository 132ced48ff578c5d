"""`dvlite bench serve`: latency, throughput, errors, cold start and memory of a model server, recorded as runs that read the model."""

from __future__ import annotations

import contextlib
import math
import re
import shlex
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote

from dvlite.errors import DvliteError, PartlyDone, UsageError
from dvlite.formats import record, strict_json
from dvlite.formats.config import duration_seconds
from dvlite.formats.lockfile import Facts
from dvlite.formats.record import Code, Input, Run
from dvlite.formats.strict_yaml import Scalar, Tree
from dvlite.git.program import without_credentials
from dvlite.lineage.context import open_context
from dvlite.lineage.provenance import Provenance
from dvlite.lineage.target import find_target
from dvlite.oid import FILE, Oid, digest_bytes, digest_stage_key, format_oid
from dvlite.pipeline.executor import interruptible
from dvlite.pipeline.measured_server import MeasuredServer, running
from dvlite.pipeline.run_record import Author, Recorder, author, new_id
from dvlite.progress import Progress
from dvlite.repo.registered import model_in
from dvlite.repo.repository import Repo, open_cache
from dvlite.results import Result
from dvlite.runs.names import name_of
from dvlite.runs.records import open_records
from dvlite.serving import ask
from dvlite.serving.load import Figures, LoadTarget, check_address, measure, problem_of
from dvlite.serving.load_requests import LoadFile, LoadRequest, read_requests
from dvlite.show import Show, count, quote, word
from dvlite.store.cache_writer import Writer

STAGE, SPACE = "serve", "bench"
MOST_CONNECTIONS, MOST_LEVELS = 1000, 20
_POLL_SECONDS = 0.05
_PROBE_SECONDS = 5.0  # until it is known that no server runs yet
_ERRORS_ACCEPTED = 0.01  # of the requests of a level that is recorded as ok
_MOST_INPUTS = 1000
_END_SECONDS = 2.0  # until the end of a server that answers no more is known
_MOST_SECONDS, _MOST_PRICE = 86400, 1e9
_LEVEL = re.compile(r"[0-9]{1,6}")
_FIGURES = ("requests", "throughput", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms", "sent_bytes", "received_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchServeOptions:
    """The flags of `bench serve`. `url` is where a command listens; `model` may be the address of a server that names it; `price` is that of the machine for an hour."""

    requests: str
    url: str | None = None
    concurrency: tuple[int, ...]  # ascending
    duration_seconds: int
    timeout_seconds: int
    start_timeout_seconds: int
    model: str | None = None
    price: float | None = None
    record: bool = True


def options_of(
    *,
    requests: str,
    url: str | None,
    concurrency: str | Sequence[int],
    duration: str,
    timeout: str,
    start_timeout: str,
    model: str | None,
    price: float | None,
    record: bool,
) -> BenchServeOptions:
    """Returns the flags as they are typed (`1,4,16`, `30s`). Raises UsageError for what is no number or no time."""
    texts = concurrency.split(",") if isinstance(concurrency, str) else list(map(str, concurrency))
    levels = [int(text) if _LEVEL.fullmatch(text.strip()) else 0 for text in texts]
    if len(levels) > MOST_LEVELS or not all(1 <= level <= MOST_CONNECTIONS for level in levels) or not levels:
        raise UsageError(
            f"--concurrency takes up to {MOST_LEVELS} numbers from 1 to {MOST_CONNECTIONS}", hint="--concurrency 1,4,16"
        )
    if price is not None and not (math.isfinite(price) and 0 <= price <= _MOST_PRICE):
        raise UsageError("--price is no price of an hour", hint="--price 0.42")
    return BenchServeOptions(
        requests=requests,
        url=url,
        concurrency=tuple(sorted(set(levels))),
        duration_seconds=_seconds("--for", duration),
        timeout_seconds=_seconds("--timeout", timeout),
        start_timeout_seconds=_seconds("--start-timeout", start_timeout),
        model=model,
        price=price,
        record=record,
    )


def _seconds(flag: str, text: str) -> int:
    seconds = duration_seconds(text)
    if seconds is None or not 1 <= seconds <= _MOST_SECONDS:
        raise UsageError(f"{flag} {quote(text)} is no time from 1s to 24h", hint=f"{flag} 30s")
    return seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchLevel:
    """What was measured at one number of connections. `cost_per_million` requests is in the currency of the price."""

    figures: Figures
    error_rate: float
    peak_rss_bytes: int | None = None
    cost_per_million: float | None = None
    run: str = ""  # its name


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchedModel:
    """The model that was served."""

    path: str
    oid: Oid
    size_bytes: int = 0
    files: int = 1


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class BenchServeResult(Result):
    """The figures of a server, the fewest connections first."""

    schema: ClassVar[str] = "dvlite.bench-serve/1"
    url: str
    command: str
    requests_file: str
    levels: tuple[BenchLevel, ...]
    models: tuple[BenchedModel, ...] = ()
    cold_start_seconds: float | None = None
    price: float | None = None
    warnings: tuple[str, ...] = ()

    def failure(self, _show: Show) -> DvliteError | None:
        """Returns that requests failed."""
        wrong = sum(sum(level.figures.errors.values()) for level in self.levels)
        if not wrong:
            return None
        every = sum(level.figures.requests for level in self.levels)
        kinds = dict.fromkeys(kind for level in self.levels for kind in level.figures.errors)
        return PartlyDone(
            f"{wrong:,} of {count(every, 'request')} failed: {', '.join(list(kinds)[:4])}",
            hint="a level with more than 1 % of errors is recorded as failed, and counts for no promotion",
        )


def bench_serve(
    repo: Repo,
    target: Sequence[str],
    options: BenchServeOptions,
    *,
    environ: Mapping[str, str],
    host: str = "",
    version: str = "",
    progress: Progress,
) -> BenchServeResult:
    """Measures a running server (its URL), or one that a command starts (a text with a blank, or several words).

    Raises UsageError for input that cannot be used, PartlyDone for a server that does not answer well or that dies: nothing is recorded then.
    """
    url, script = _target(target, options)
    place = LoadTarget(url=url, token=environ.get(ask.TOKEN, ""), timeout_seconds=options.timeout_seconds)
    loaded = read_requests(repo.cwd, options.requests)
    inputs = _inputs(repo, loaded) if options.record else ()
    models: tuple[BenchedModel, ...] = ()
    asked = options.model or url  # a model, or the address of the server that names it
    if not ask.is_url(asked):
        models = (_model(repo, asked, environ, progress),)
    why = ""
    with tempfile.TemporaryDirectory(prefix="dvlite-bench-") as folder, interruptible():
        log = Path(folder, "log")
        with _server(repo, script, place, loaded.requests[0], options, environ, log) as (server, cold_start):
            if not models and options.record:
                models, why = _served_models(repo, asked, loaded, environ, progress)
            levels = list[tuple[int, BenchLevel]]()
            for connections in options.concurrency:
                progress.start(f"measuring {count(connections, 'connection')}")
                levels.append((time.time_ns(), _level(server, place, loaded, connections, options)))
                progress.finish()
        result = BenchServeResult(
            url=without_credentials(url),
            command=script,
            requests_file=options.requests,
            levels=tuple(level for _, level in levels),
            models=models,
            cold_start_seconds=cold_start,
            price=options.price,
            warnings=(f"which model is served is not known: {why}; the runs have none, --model names it",)
            if why
            else (),
        )
        if not options.record:
            return result
        by = author(repo, environ, host, version)
        code = Recorder(repo, open_cache(repo), by, ()).code()
        recorder = _LevelRecorder(repo, options, result, inputs, by, _kept(repo, log, progress), code)
        named = tuple(recorder.put(level, at, progress) for at, level in levels)
    return replace(result, levels=named)


def _target(words: Sequence[str], options: BenchServeOptions) -> tuple[str, str]:
    """Returns the address of the server, and the command that starts it if it does not run."""
    script = shlex.join(words) if len(words) > 1 else words[0] if words else ""
    if not script.strip() or "\0" in script:
        raise UsageError("there is no server to measure", hint="give its address, or the command that starts it")
    if len(words) == 1 and ask.is_url(script):
        if options.url is not None:
            raise UsageError("--url is for a command, and an address was given", hint="leave it out")
        check_address(script)
        return script, ""
    if len(words) == 1 and " " not in script:
        raise UsageError(
            f"{quote(script)} is neither an address nor a command with a blank",
            hint=f"dvlite bench serve --url http://localhost:8000 --requests FILE -- {word(script)}",
        )
    if options.url is None:
        raise UsageError("where the command listens is not known", hint="add --url http://localhost:8000")
    check_address(options.url)
    return options.url, script


# --- the server ---


@contextlib.contextmanager
def _server(
    repo: Repo,
    script: str,
    place: LoadTarget,
    first: LoadRequest,
    options: BenchServeOptions,
    environ: Mapping[str, str],
    log: Path,
) -> Iterator[tuple[MeasuredServer | None, float | None]]:
    """Yields the server that a command runs, None for one that runs already, once it answers; and the seconds until then."""
    if not script:
        problem = problem_of(place, first)
        if problem:
            raise PartlyDone(
                f"{place.label} does not answer the first request well: {problem}",
                hint="is it running, and are path and body what it takes?",
            )
        yield None, None
        return
    there = problem_of(place, first, _PROBE_SECONDS)
    if there != "no connection":
        raise UsageError(
            f"at {place.label} a server runs already: its start could not be measured",
            hint="stop it, or let the command listen elsewhere (--url)",
        )
    with running(script, repo.cwd, environ, log) as server:
        until = server.started + options.start_timeout_seconds
        # As long for an answer as the load waits: a model that is loaded by its first request is not asked again and again.
        while problem := problem_of(
            place, first, max(_POLL_SECONDS, min(options.timeout_seconds, until - time.monotonic()))
        ):
            server.require_running()
            if time.monotonic() > until:
                raise PartlyDone(
                    f"{quote(script[:200])} gave no good answer at {place.label} in {options.start_timeout_seconds:g} s: {problem}",
                    hint="does it listen there, and are path and body of the first request what it takes?",
                )
            time.sleep(_POLL_SECONDS)
        yield server, round(time.monotonic() - server.started, 3)


def _level(
    server: MeasuredServer | None, place: LoadTarget, loaded: LoadFile, connections: int, options: BenchServeOptions
) -> BenchLevel:
    if server is not None:
        server.peak_bytes()
    try:
        figures = measure(place, loaded.requests, connections, options.duration_seconds)
    except PartlyDone:
        if server is not None:
            server.require_running(_END_SECONDS)
        raise
    if server is not None:
        server.require_running()
    wrong = sum(figures.errors.values())
    cost = None
    if options.price is not None and figures.throughput:
        cost = round(options.price / 3600 / figures.throughput * 1e6, 6)
    return BenchLevel(
        figures=figures,
        error_rate=round(wrong / figures.requests, 6) if figures.requests else 0.0,
        peak_rss_bytes=None if server is None else server.peak_bytes(),
        cost_per_million=cost,
    )


# --- what was served ---


def _model(repo: Repo, text: str, environ: Mapping[str, str], progress: Progress) -> BenchedModel:
    """Returns the model that a text names: a path, REV:PATH, an id, model:NAME@V."""
    registered = model_in(repo, text)
    if registered is not None and not registered[1]:
        version = registered[0]
        pointer = version.pointer
        return BenchedModel(path=version.path, oid=version.oid, size_bytes=pointer.size_bytes, files=pointer.files or 1)
    with open_context(repo, None, environ, progress) as context:
        found = find_target(text, Provenance(context))
    if found.is_run:
        raise UsageError(f"{quote(text)} is a run, not a model", hint="name the model: its path, or model:NAME@VERSION")
    return BenchedModel(
        path=found.path or "model", oid=found.oid, size_bytes=found.size_bytes or 0, files=found.files or 1
    )


def _served_models(
    repo: Repo, url: str, loaded: LoadFile, environ: Mapping[str, str], progress: Progress
) -> tuple[tuple[BenchedModel, ...], str]:
    """Returns the models that a server says to serve: its only one, or those that the requests name; else why they are not known."""
    try:
        claims = ask.ask(url, environ.get(ask.TOKEN, ""))
        if len({claim.model for claim in claims}) > 1:
            parts = {unquote(part) for one in loaded.requests for part in one.path.partition("?")[0].split("/")}
            claims = [claim for claim in claims if claim.model in parts]
        unknown = next((claim.problem for claim in claims if not claim.digest and not claim.digits), "")
        if unknown or not claims:
            return (), unknown or "no request names one of its models"
        return tuple(_model(repo, claim.digest or claim.digits, environ, progress) for claim in claims), ""
    except DvliteError as error:
        return (), error.message


# --- the record ---


def _inputs(repo: Repo, loaded: LoadFile) -> tuple[Input, ...]:
    """Returns the file of requests and those of the bodies as inputs. Raises UsageError for one outside the repository."""
    inputs: dict[str, Input] = {}
    for name, data in list(loaded.contents.items())[:_MOST_INPUTS]:
        path = repo.relative(name)
        inputs[path] = Input(path=path, oid=format_oid(FILE, digest_bytes(data)), size_bytes=len(data))
    return tuple(inputs.values())


def _kept(repo: Repo, log: Path, progress: Progress) -> Oid | None:
    """Stores the log of the server, where there is one."""
    if not log.exists() or not log.stat().st_size:
        return None
    with Writer(open_cache(repo), progress) as writer:
        digest, _ = writer.put_file(log)
        writer.commit()
    return format_oid(FILE, digest)


@dataclass(frozen=True, slots=True)
class _LevelRecorder:
    """Writes a run for each level."""

    repo: Repo
    options: BenchServeOptions
    result: BenchServeResult
    inputs: tuple[Input, ...]
    by: Author
    log: Oid | None
    code: Code

    def put(self, level: BenchLevel, began_ns: int, progress: Progress) -> BenchLevel:
        """Records a level; returns it with the name of its run."""
        oid = open_records(self.repo, progress).put(self._run(level, began_ns))
        return replace(level, run=name_of(STAGE, oid))

    def _run(self, level: BenchLevel, began_ns: int) -> Run:
        figures, who, run_id = level.figures, self.by, new_id()
        models = tuple(
            Input(path=one.path, oid=one.oid, size_bytes=one.size_bytes, files=one.files) for one in self.result.models
        )
        ends_ns = began_ns + round(figures.seconds * 1e9)
        is_ok = figures.good > 0 and level.error_rate <= _ERRORS_ACCEPTED
        return Run(
            id=run_id,
            invocation=who.invocation,
            key=digest_stage_key(strict_json.dump({"bench serve": run_id})),  # no stage has it: nothing is reused
            stage=STAGE,
            file=SPACE,
            status="ok" if is_ok else "failed",
            facts=Facts(
                cmd=self.result.command or f"dvlite bench serve {word(self.result.url)}", params=self._params(level)
            ),
            log=self.log,
            code=self.code,
            inputs=(*models, *self.inputs),
            metrics=self._metrics(level),
            start=record.time_text(began_ns),
            end=record.time_text(ends_ns),
            seconds=figures.seconds,
            max_rss_bytes=level.peak_rss_bytes,
            user=who.user,
            host=who.host,
            ci=who.ci,
            project=who.project,
            dvlite=who.dvlite,
        )

    def _params(self, level: BenchLevel) -> dict[str, Tree]:
        params: dict[str, Tree] = {
            "concurrency": level.figures.connections,
            "for_seconds": self.options.duration_seconds,
            "url": self.result.url,
        }
        if self.options.price is not None:
            params["price_per_hour"] = self.options.price
        return {f"{SPACE}:{key}": value for key, value in sorted(params.items())}

    def _metrics(self, level: BenchLevel) -> dict[str, Scalar]:
        values: dict[str, Scalar] = {name: getattr(level.figures, name) for name in _FIGURES}
        values |= {
            "errors": sum(level.figures.errors.values()),
            "error_rate": level.error_rate,
            "cold_start_seconds": self.result.cold_start_seconds,
            "peak_rss_bytes": level.peak_rss_bytes,
            "cost_per_million": level.cost_per_million,
        }
        return {f"{SPACE}:{key}": value for key, value in sorted(values.items()) if value is not None}
