"""Brings a version to a place, and makes the server see it: plan, then write under another name, verify, the front last.

Killed anywhere, the server sees the old version or the new one; the same command again does the rest.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dvlite.errors import ObjectCorrupt, UsageError
from dvlite.files import os_error
from dvlite.formats import served
from dvlite.formats.served import ServedFile, ServedModel
from dvlite.progress import Progress
from dvlite.serving import check, plain, torchserve, triton
from dvlite.serving.folder import FolderPlace
from dvlite.serving.layout import WITHDRAWN, ServerSettings, ServingLayout
from dvlite.serving.look import layout_in
from dvlite.serving.place import ServedContent, ServingPlace, hashed_content, of_bytes, of_file
from dvlite.serving.versions import HeldVersion, ServerFront, front_of, versions_of
from dvlite.show import quote, short_oid, word


@dataclass(frozen=True, slots=True, kw_only=True)
class ToServe:
    """What is to be served. `model` has no version yet unless `number` fixes it, and no files; `contents` are the model's, by their paths."""

    model: ServedModel
    contents: Mapping[str, ServedContent]
    extra: Mapping[str, ServedContent]  # files for the server that are not of the model
    number: int | None = None
    asked: ServerSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedVersion:
    """What became of a place."""

    model: ServedModel
    folder: str
    front: str
    written_bytes: int = 0
    is_new: bool = False  # the version was not there
    switched: bool = False  # the server sees another version, or other settings, than before
    before: int | None = None
    removed: tuple[int, ...] = ()
    kept: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()


def publish(
    place: ServingPlace, layout: ServingLayout, wanted: ToServe, keep: int | None, progress: Progress
) -> PublishedVersion:
    """Writes a version, unless it is there, makes the server see it, and removes versions of dvlite beyond the newest `keep`.

    Raises UsageError where files of others are in the way, VersionTaken, ObjectCorrupt for a version there that is not as it was written.
    """
    name = wanted.model.model
    with place.held(layout.base_of(name), progress.warn):
        held, front = versions_of(place, layout, name), front_of(place, layout, name)
        _refuse_foreign(place, layout, name, front, wanted.asked)
        _refuse_other_server(place, layout, name)
        number, there = _number(wanted, held, layout.copy_of(name))
        _refuse_higher(place, layout, number, held)
        known = None if there is None else there.model
        model = _described(wanted, number, progress) if known is None else known
        folder, copy = layout.folder(name, number, model.digest), layout.copy_of(name)
        with _payload(layout, model, wanted) as (model, contents):
            progress.start(f"writing version {number}", total_bytes=sum(each.size_bytes for each in contents.values()))
            written = _write(place, layout, folder, contents, there, copy)
            front_data = contents[copy] if copy else of_bytes(layout.write(model, wanted.asked))
            switched = _switch(place, layout, HeldVersion(number, folder, model), held, front, front_data)
            progress.finish()
        removed, kept = _prune(place, layout, name, number, keep)
    return PublishedVersion(
        model=model,
        folder=folder,
        front=layout.front_of(name),
        written_bytes=written,
        is_new=there is None,
        switched=switched,
        before=front.version,
        removed=removed,
        kept=kept,
    )


def roll_back(
    place: ServingPlace, layout: ServingLayout, name: str, number: int | None, progress: Progress
) -> PublishedVersion:
    """Makes the server see an earlier version that stands there: the one before, or a number. Its bytes are read and checked first.

    Raises UsageError where there is none, ObjectCorrupt for one that was changed.
    """
    with place.held(layout.base_of(name), progress.warn):
        held, front = versions_of(place, layout, name), front_of(place, layout, name)
        _refuse_foreign(place, layout, name, front, ServerSettings())
        own = [one for one in held if one.model is not None]
        if number is None:
            number = max((one.number for one in own if one.number < (front.version or 0)), default=None)
        target = next((one for one in own if one.number == number), None)
        if target is None or target.model is None:
            which = f"no version {number}" if number is not None else "no earlier version"
            numbers = ", ".join(str(one.number) for one in own) or "none"
            raise UsageError(
                f"there is {which} of {quote(name)} in {place.label}", hint=f"versions of dvlite there: {numbers}"
            )
        _refuse_higher(place, layout, target.number, held)
        findings = check.check_held(place, layout, target, progress)
        compiled = [finding.message for finding in findings if finding.kind in check.UNCHECKED]
        findings = [finding for finding in findings if finding.kind not in check.UNCHECKED]
        if findings:
            raise ObjectCorrupt(
                f"version {target.number} of {quote(name)} is not served: {findings[0].message}",
                hint="find out who wrote there, and export that model to a new place",
            )
        copy = layout.copy_of(name)
        with place.fetched(f"{target.folder}/{copy or layout.sidecar}") as path:
            if path is None:
                raise ObjectCorrupt(
                    f"version {target.number} of {quote(name)} lacks {quote(copy)}",
                    hint="export that model again: dvlite export serving MODEL",
                )
            front_data = of_file(path) if copy else of_bytes(layout.write(target.model, ServerSettings()))
            switched = _switch(place, layout, target, held, front, front_data)
    kept = tuple(one.number for one in own)
    return PublishedVersion(
        model=target.model,
        folder=layout.folder(name, target.number, target.model.digest),
        front=layout.front_of(name),
        switched=switched,
        before=front.version,
        kept=kept,
        warnings=tuple(compiled),
    )


def _refuse_foreign(
    place: ServingPlace, layout: ServingLayout, name: str, front: ServerFront, asked: ServerSettings
) -> None:
    """Raises UsageError for a front that dvlite did not write, unless the user gave its very bytes to start from."""
    if not front.is_there or front.version is not None or (asked.config is not None and asked.config == front.data):
        return
    path = f"{place.url}/{layout.front_of(name)}"
    if layout is triton.LAYOUT and not front.problem:
        hint = f"to take it over: --config {word(path)}; or choose another --name"
    else:
        hint = "move it away, or choose another --name"
    raise UsageError(f"{quote(path)} is not of dvlite, and is not replaced", hint=hint)


def _refuse_other_server(place: ServingPlace, layout: ServingLayout, name: str) -> None:
    """Raises UsageError for a folder in which a model stands for another server."""
    base = layout.base_of(name)
    other = layout_in(place, name, place.children(base)) if base == name else None
    if other is not None and other is not layout:
        raise UsageError(
            f"{quote(name)} in {place.label} stands there for {other.to}",
            hint="choose another place, or another --name",
        )


def _refuse_higher(place: ServingPlace, layout: ServingLayout, number: int, held: Sequence[HeldVersion]) -> None:
    """Raises UsageError for a higher version that is not of dvlite, where the server takes the highest."""
    if not layout.takes_highest or not isinstance(place, FolderPlace):
        return
    higher = [one.number for one in held if one.number > number and one.model is None and not one.withdrawn]
    if higher:
        raise UsageError(
            f"version {higher[-1]} in {place.label} is not of dvlite, and higher than {number}: it would stay served",
            hint="move it away, or choose another --name",
        )


def _number(wanted: ToServe, held: Sequence[HeldVersion], copy: str) -> tuple[int, HeldVersion | None]:
    """Returns the number of the version, and the version if it stands there. Raises UsageError for a number that other bytes have."""
    extra = {path: content.size_bytes for path, content in wanted.extra.items()}
    same = [one for one in held if one.model is not None and _is_same(one.model, wanted, extra, copy)]
    if wanted.number is None:
        chosen = same[-1] if same else None
        return (chosen.number if chosen else max((one.number for one in held), default=0) + 1), chosen
    there = [one for one in held if one.number == wanted.number]
    if there and there[0] not in same:
        model = there[0].model
        what = "is not of dvlite" if model is None else f"is another model ({short_oid(model.digest)})"
        if model is not None and model.digest == wanted.model.digest:
            what = "is the same model with another handler, or at another place"
        raise UsageError(
            f"version {wanted.number} stands there already, and {what}", hint="choose another place, or another --name"
        )
    return wanted.number, there[0] if there else None


def _is_same(model: ServedModel, wanted: ToServe, extra: Mapping[str, int], copy: str) -> bool:
    if (model.digest, model.at, model.handler) != (wanted.model.digest, wanted.model.at, wanted.model.handler):
        return False
    if {file.path: file.size for file in model.extra if file.path != copy} != extra:
        return False
    hashes = {file.path: file.sha256 for file in model.extra}
    return all(hashed_content(content).sha256 == hashes[path] for path, content in wanted.extra.items())


def _described(wanted: ToServe, number: int, progress: Progress) -> ServedModel:
    """Returns the sidecar of a new version: every file is read for it."""
    progress.start("hashing the model", total_bytes=sum(content.size_bytes for content in wanted.contents.values()))

    def of(contents: Mapping[str, ServedContent]) -> Iterator[ServedFile]:
        for path in sorted(contents):
            content, found = contents[path], hashed_content(contents[path])
            progress.advance(size_bytes=content.size_bytes)
            yield ServedFile(path=path, size=content.size_bytes, sha256=found.sha256, executable=content.executable)

    described = replace(wanted.model, version=number, files=tuple(of(wanted.contents)), extra=tuple(of(wanted.extra)))
    progress.finish()
    return described


@contextlib.contextmanager
def _payload(
    layout: ServingLayout, model: ServedModel, wanted: ToServe
) -> Iterator[tuple[ServedModel, dict[str, ServedContent]]]:
    """Yields the model with the copy of the front named in it, and the files of the folder of a version: the model's, the sidecar, that copy."""
    files = {**wanted.contents, **wanted.extra}
    copy = layout.copy_of(model.model)
    if layout is torchserve.LAYOUT:
        try:
            with tempfile.TemporaryDirectory(prefix="dvlite-") as folder:
                archive = Path(folder) / "model.mar"
                torchserve.write_archive(archive, model, files)
                yield model, {copy: of_file(archive), layout.sidecar: of_bytes(served.dump(model))}
        except OSError as error:
            raise os_error(error, "write", "the archive, in the temporary folder") from error
        return
    own = {}
    if copy:
        front = layout.write(model, wanted.asked)
        row = ServedFile(path=copy, size=len(front), sha256=hashlib.sha256(front).hexdigest())
        model = replace(model, extra=(*(file for file in model.extra if file.path != copy), row))
        own[copy] = of_bytes(front)
    own[layout.sidecar] = of_bytes(served.dump(model))
    taken = own.keys() & files.keys()
    if taken:
        raise UsageError(f"the model has a file {quote(min(taken))}, which the export has of its own")
    yield model, {**files, **own}


def _write(
    place: ServingPlace,
    layout: ServingLayout,
    folder: str,
    contents: Mapping[str, ServedContent],
    there: HeldVersion | None,
    copy: str,
) -> int:
    """Writes what the folder of a version lacks; returns how many bytes."""
    if there is None:
        return place.write_version(folder, contents, layout.sidecar, layout.last)
    written = 0
    own = [path for path in (copy, layout.sidecar) if path]  # written again where the user gave another config
    if isinstance(place, FolderPlace):
        if there.withdrawn:
            place.move(there.folder, folder)
        sizes = place.sizes(folder)
        wrong = [
            path for path, content in contents.items() if path not in own and sizes.get(path) != content.size_bytes
        ]
        if wrong:
            raise ObjectCorrupt(
                f"version {there.number} in {place.label} is not as it was written: {quote(wrong[0])}",
                hint=f"see what was changed: dvlite verify --served {word(place.url)}",
            )
    else:
        written += place.complete(
            folder, {path: each for path, each in contents.items() if path not in own}, layout.last
        )
    for path in own:
        if not _holds(place, f"{folder}/{path}", contents[path]):
            place.write(f"{folder}/{path}", contents[path])
            written += contents[path].size_bytes
    return written


def _holds(place: ServingPlace, path: str, content: ServedContent) -> bool:
    return place.hashed(path, content.size_bytes, lambda _: None) == hashed_content(content)


def _switch(
    place: ServingPlace,
    layout: ServingLayout,
    target: HeldVersion,
    held: Sequence[HeldVersion],
    front: ServerFront,
    front_data: ServedContent,
) -> bool:
    """Makes the server see a version: withdraws higher ones where it would take the highest, then replaces the front."""
    assert target.model is not None
    name, number = target.model.model, target.number
    switched = False
    if isinstance(place, FolderPlace) and layout.takes_highest:
        if target.withdrawn and place.children(target.folder):
            place.move(target.folder, layout.folder(name, number, target.model.digest))
            switched = True
        for one in held:  # lowest first: all that a server sees before the last is what it saw before
            if one.number > number and not one.withdrawn:
                place.move(one.folder, f"{layout.base_of(name)}/{WITHDRAWN}/{one.number}")
                switched = True
    path = layout.front_of(name)
    if layout is plain.LAYOUT and isinstance(place, FolderPlace):
        if front.version != number:
            place.link(path, str(number))
            switched = True
    elif not (front.is_there and _holds(place, path, front_data)):
        place.write(path, front_data)
        switched = True
    return switched


def _prune(
    place: ServingPlace, layout: ServingLayout, name: str, number: int, keep: int | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Removes versions of dvlite but the newest and the one that is served; returns the numbers of both kinds."""
    own = [one for one in versions_of(place, layout, name) if one.model is not None]
    newest = sorted({one.number for one in own}, reverse=True)
    stay = {number, *(newest if keep is None else newest[:keep])}
    for one in own:
        if one.number not in stay:
            place.remove_version(one.folder, layout.sidecar)
    gone = tuple(sorted({one.number for one in own} - stay))
    return gone, tuple(sorted({one.number for one in own} & stay))
