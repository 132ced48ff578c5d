"""`dvlite export serving`: brings a version of a model to where a server reads it, and makes the server see it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from dvlite.errors import UsageError
from dvlite.files import is_there, read_regular, refused
from dvlite.formats import manifest, pbtxt
from dvlite.formats.manifest import EMPTY_DIR, EXECUTABLE, SYMLINK, Entries
from dvlite.formats.pointer import SUFFIX
from dvlite.formats.served import ServedInput, ServedModel
from dvlite.lineage.context import open_context
from dvlite.lineage.provenance import Provenance
from dvlite.oid import FILE, MANIFEST, Oid, format_oid
from dvlite.progress import Progress
from dvlite.registry.models import ModelVersion, is_reference, load
from dvlite.repo.registered import find_model, model_in
from dvlite.repo.repository import Repo
from dvlite.results import Result
from dvlite.runs.queries import Artefact
from dvlite.serving import kserve, torchserve
from dvlite.serving.folder import FolderPlace
from dvlite.serving.layout import ServerSettings, ServingLayout
from dvlite.serving.opened import opened_place
from dvlite.serving.place import ServedContent, ServingPlace, of_bytes, of_cache
from dvlite.serving.publish import PublishedVersion, ToServe, publish, roll_back
from dvlite.serving.versions import LAYOUTS
from dvlite.share.any_repository import Opened, open_any
from dvlite.share.bring import bring
from dvlite.show import quote, word
from dvlite.store.cache import Cache

_CODE_BYTES = 16 << 20  # of a handler
_SUFFIX = re.compile(r"\.(?:pt|pth|onnx|pkl|joblib|h5|keras|bin|plan|safetensors)$")
_AT = re.compile(r"(?P<name>.+)@(?P<version>[1-9][0-9]{0,17})")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportServingOptions:
    """Where a model goes, and how. `to` is the kind of server; `seen_at` is where that sees `dest`."""

    to: str
    dest: str
    name: str | None = None
    at: str | None = None
    keep: int | None = None
    config: str | None = None
    model_format: str | None = None
    handler: str | None = None
    seen_at: str | None = None
    rollback: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ExportServingResult(Result):
    """A version of a model that a server sees now. Nothing was done if neither `is_new` nor `switched`."""

    schema: ClassVar[str] = "dvlite.export-serving/1"
    to: str
    dest: str
    model: str
    version: int
    digest: str
    run: str | None = None
    folder: str  # of the version, in `dest`
    front: str  # the file that the server follows, in `dest`
    files: int = 0
    size_bytes: int = 0
    written_bytes: int = 0
    is_new: bool = False
    switched: bool = False
    before: int | None = None  # the version that the server saw
    kept: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()
    rolled_back: bool = False
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()


def export_serving(
    repo: Repo, text: str, options: ExportServingOptions, *, environ: Mapping[str, str], progress: Progress
) -> ExportServingResult:
    """Writes a model (a registered one, a path, REV:PATH or RUN:PATH) as the next version of its name in a folder or bucket, verified, and makes the server see it last.

    The version of a registered model is the one that it has in the registry. The same model again changes nothing. With `rollback`, `text` is NAME[@VERSION] of what stands there. Raises UsageError where files of
    others are in the way, ObjectMissing and ObjectCorrupt for data that is not there whole.
    """
    started = time.monotonic()
    layout = LAYOUTS[options.to]
    _require_sense(options)
    with opened_place(options.dest, repo, environ) as place:
        if options.rollback:
            match = _AT.fullmatch(text)
            name, number = (match["name"], int(match["version"])) if match else (text, None)
            layout.require_name(name)
            done = roll_back(place, layout, name, number, progress)
        else:
            done = _export(repo, text, layout, place, options, environ, progress)
        return _result(layout, place, done, options, time.monotonic() - started)


def _result(
    layout: ServingLayout,
    place: ServingPlace,
    done: PublishedVersion,
    options: ExportServingOptions,
    elapsed_seconds: float,
) -> ExportServingResult:
    model = done.model
    return ExportServingResult(
        to=layout.to,
        dest=place.url,
        model=model.model,
        version=model.version,
        digest=model.digest,
        run=model.run,
        folder=done.folder,
        front=done.front,
        files=len(model.files),
        size_bytes=model.size_bytes,
        written_bytes=done.written_bytes,
        is_new=done.is_new,
        switched=done.switched,
        before=done.before,
        kept=done.kept,
        removed=done.removed,
        rolled_back=options.rollback,
        elapsed_seconds=elapsed_seconds,
        warnings=done.warnings,
    )


def _require_sense(options: ExportServingOptions) -> None:
    for value, to, flag in (
        (options.config, "triton", "--config"),
        (options.model_format, "kserve", "--model-format"),
        (options.handler, "torchserve", "--handler"),
    ):
        if value is not None and options.to != to:
            raise UsageError(f"{flag} is for {to}", hint=f"leave it out, or export with --to {to}")
    if options.seen_at is not None and options.to not in ("kserve", "tfserving"):
        raise UsageError("--seen-at is for kserve and tfserving, which write an address", hint="leave it out")
    if options.rollback and (options.name is not None or options.at is not None or options.config is not None):
        raise UsageError(
            "--rollback takes the name of a model at the destination", hint="dvlite export serving NAME@6 --rollback"
        )


def _export(
    repo: Repo,
    text: str,
    layout: ServingLayout,
    place: ServingPlace,
    options: ExportServingOptions,
    environ: Mapping[str, str],
    progress: Progress,
) -> PublishedVersion:
    version = _registered(repo, text)
    with open_any(str(repo.cwd), text if version is None else version.reference, None, environ, progress) as opened:
        if version is not None:
            opened = replace(opened, path=version.path)  # noqa: PLW2901  # `model:NAME` alone means its one path
        if isinstance(place, FolderPlace):
            _refuse_own_folders(repo, place)
        base = os.path.basename(opened.path)
        usual = _SUFFIX.sub("", base) if version is None else version.name
        name = options.name or (usual.replace("_", "-") if layout is kserve.LAYOUT else usual) or repo.root.name
        layout.require_name(name)
        brought, gone = bring(opened, None, progress)
        if gone:
            raise UsageError(f"{quote(gone[0].path)} was purged: the model is not whole", hint="export another version")
        entries = brought.entries
        is_file = entries.paths == [b""]
        at = _at(options.at, base if is_file else "")
        contents, folders = _contents(entries, opened.cache, at)
        oid = Oid(brought.oid) if brought.oid else _oid_of(entries)
        extra, handler = _handler(repo, options, contents) if layout is torchserve.LAYOUT else ({}, "")
        model = _described(
            ServedModel(model=name, version=1, digest=oid, files=(), at=at, folders=folders, handler=handler),
            Artefact(oid, opened.path, sum(entries.sizes), len(contents)),
            opened,
            environ,
            progress,
        )
        if version is not None:
            model = replace(model, registered=version.name, run=version.run or model.run, commit=version.commit)
        number = None if version is None else version.number
        wanted = ToServe(
            model=model, contents=contents, extra=extra, number=number, asked=_asked(repo, options, layout, place)
        )
        return publish(place, layout, wanted, options.keep, progress)


def _registered(repo: Repo, text: str) -> ModelVersion | None:
    """Returns the version of a registered model that a word means, with `model:` in front or not; None for a path or a run."""
    if is_reference(text):
        found = model_in(repo, text)
        return None if found is None or found[1] else found[0]
    name = text.partition("@")[0]
    is_path = ":" in text or any(is_there(repo.cwd / each) for each in (text, text + SUFFIX))
    if is_path or not name or "/" in name or name not in load(repo.git).models:
        return None
    return find_model(repo, text)


def _refuse_own_folders(repo: Repo, place: FolderPlace) -> None:
    """Raises UsageError for a place in git's folder, dvlite's or the cache."""
    root = Path(os.path.realpath(place.root))
    for own in (repo.common_dir, repo.cache_dir, repo.root / ".dvlite"):
        if root.is_relative_to(os.path.realpath(own)):
            raise UsageError(f"{place.label} is inside {quote(str(own))}", hint="choose another folder: --dest DIR")


def _at(asked: str | None, usual: str) -> str:
    at = usual if asked is None else os.path.normpath(asked)
    if at.startswith(("/", "../")) or at == "..":
        raise UsageError(
            f"{quote(at)} leads out of the folder of the version", hint="give a name in it: --at model.onnx"
        )
    return "" if at == "." else at


def _contents(entries: Entries, cache: Cache, at: str) -> tuple[dict[str, ServedContent], tuple[str, ...]]:
    """Returns the files of a version by their paths in its folder, and its empty folders. Raises UsageError for what servers and buckets have not."""
    contents, folders = {}, []
    for i, path in enumerate(entries.paths):
        flags = entries.flags[i]
        try:
            inside = path.decode()
        except UnicodeDecodeError:
            shown = quote(os.fsdecode(path))
            raise UsageError(f"{shown} is no UTF-8, which servers and buckets take only", hint="rename it") from None
        name = "/".join(filter(None, (at, inside)))
        if flags == SYMLINK:
            raise UsageError(
                f"{quote(name)} is a symbolic link, which no server follows safely", hint="put the file itself there"
            )
        if flags == EMPTY_DIR:
            folders.append(name)
            continue
        is_executable = bool(flags & EXECUTABLE)
        contents[name] = of_cache(cache, entries.digest(i), entries.sizes[i], executable=is_executable)
    if not contents:
        raise UsageError("there is no file in it, so there is nothing to serve", hint="what is there: dvlite ls -R")
    return contents, tuple(sorted(folders))


def _oid_of(entries: Entries) -> Oid:
    if entries.paths == [b""]:
        return format_oid(FILE, entries.digest(0))
    return format_oid(MANIFEST, manifest.build(entries).root)


def _handler(
    repo: Repo, options: ExportServingOptions, contents: Mapping[str, ServedContent]
) -> tuple[dict[str, ServedContent], str]:
    """Returns the file of a handler that is not of the model, and what TorchServe calls the handler."""
    given = options.handler
    asked = ServerSettings(handler=given or "")
    if given is None or given in contents:
        return {}, torchserve.handler_of(asked, contents)
    if "/" not in given and "." not in given:
        return {}, given  # one of TorchServe's own
    data = _read(repo, given, _CODE_BYTES)
    if data is None:
        raise UsageError(f"there is no handler {quote(given)}", hint="name a file, or one of TorchServe's own")
    name = os.path.basename(given)
    if name in contents:
        raise UsageError(
            f"the model has a file {quote(name)} of its own", hint=f"--handler {word(name)} names that one"
        )
    return {name: of_bytes(data)}, name


def _asked(repo: Repo, options: ExportServingOptions, layout: ServingLayout, place: ServingPlace) -> ServerSettings:
    config = None
    if options.config is not None:
        config = _read(repo, options.config, pbtxt.LIMIT_BYTES)
        if config is None:
            raise UsageError(f"there is no file {quote(options.config)}", hint="name the config.pbtxt to start from")
    seen_at = options.seen_at
    if seen_at is None:
        seen_at = f"file://{place.url}" if layout is kserve.LAYOUT and isinstance(place, FolderPlace) else place.url
    return ServerSettings(
        seen_at=seen_at.rstrip("/"),
        config=config,
        config_name=options.config or "",
        model_format=options.model_format or "",
    )


def _read(repo: Repo, name: str, limit_bytes: int) -> bytes | None:
    """Returns a file that the user named, None if it is not there. Raises FormatError for a longer one."""
    data = read_regular(repo.cwd / name, name, limit_bytes + 1, follow=True)
    if data is not None and len(data) > limit_bytes:
        raise refused(name, f"it has more than {limit_bytes:,} bytes")
    return data


def _described(
    model: ServedModel, artefact: Artefact, opened: Opened, environ: Mapping[str, str], progress: Progress
) -> ServedModel:
    """Adds what is known of a model: its path, the run that made it, the commit, what that run read."""
    repo = opened.repo
    if repo is None:
        return model
    with open_context(repo, None, environ, progress) as context:
        provenance = Provenance(context)
        made = provenance.makers([artefact.oid]).get(artefact.oid, ())
        if not made and artefact.path:
            holders = provenance.holders(artefact, every=False)
            made = [one for holder in holders for one in provenance.makers([holder.oid]).get(holder.oid, ())]
        described = replace(model, path=artefact.path, project=repo.config.project or "")
        if not made:
            return replace(described, commit=opened.commit or provenance.source(artefact, None).commit)
        run = min(reversed(made), key=lambda each: provenance.rank(each[0]))[0]
        row = context.index.row(run)
        code = None if row is None or row.dirty else row.code
        inputs = provenance.runs([run], inputs=True)[run].inputs
        return replace(
            described,
            run=run,
            commit=provenance.commit_of_run(run) or code,
            inputs=tuple(ServedInput(path=item.path, digest=item.oid) for item in inputs[:1000]),
        )
