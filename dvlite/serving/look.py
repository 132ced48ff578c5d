"""Finds the models of dvlite in a place: a folder of versions, one version (what an init container downloaded), a whole repository, an archive."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dvlite.errors import DvliteError, UsageError
from dvlite.formats import served
from dvlite.progress import Progress
from dvlite.serving import kserve, plain, tfserving, torchserve, triton
from dvlite.serving.check import ServedFinding, check_archive, check_held, opened_archive, sidecar_of
from dvlite.serving.folder import FolderPlace
from dvlite.serving.layout import ServingLayout
from dvlite.serving.place import ServingPlace, hashed_content, of_file
from dvlite.serving.versions import HeldVersion, front_of, held_in, served_now, versions_of
from dvlite.show import quote

_SIDECARS = (served.NAME, tfserving.LAYOUT.sidecar)
_BY_FRONT = (triton.LAYOUT, tfserving.LAYOUT, kserve.LAYOUT, plain.LAYOUT)
_MOST_MODELS = 1000
_VERSION = re.compile(r"([1-9][0-9]{0,17})(-[0-9a-f]{12})?")


@dataclass(frozen=True, slots=True)
class SeenVersion:
    """A version of a model that stands somewhere. `is_served`: the server follows it, None where nothing says so.

    `layout` is None for one version alone; `held` for an archive alone.
    """

    place: ServingPlace | None
    layout: ServingLayout | None
    held: HeldVersion
    is_served: bool | None
    archive: Path | None = None
    stray_front: str = ""  # a file that the server follows, and that names no version here: of the highest one

    @property
    def server(self) -> str:
        """What kind of server it was written for; empty where that is not known."""
        return "" if self.layout is None else self.layout.to

    @property
    def shown(self) -> str:
        """Where it stands, for people."""
        if self.place is None:
            return self.held.folder
        return f"{self.place.url}/{self.held.folder}" if self.held.folder else self.place.url


def look(place: ServingPlace) -> list[SeenVersion]:
    """Returns the versions in a place, the lowest first of each model. Raises UsageError where there is none of dvlite's."""
    names = place.children("")
    seen = [*_alone(place, names)]
    above = place.above()
    if not seen and above is not None:
        seen = [*_of_model(*above, names)]
    if not seen:
        for name in names[:_MOST_MODELS]:
            if name.endswith(".mar") and len(name) > len(".mar"):
                seen += _of_store(place, name.removesuffix(".mar"))
            elif not name.startswith("."):
                seen += _of_model(place, name, place.children(name))
    if not seen:
        raise UsageError(
            f"there is no model of dvlite in {place.label}",
            hint="name the folder or bucket that was given as --dest, one model in it, or one version",
        )
    return seen


def look_at_stored(place: ServingPlace, name: str) -> list[SeenVersion]:
    """Returns the versions of an archive in a bucket. Raises UsageError where there is none of dvlite's."""
    seen = list(_of_store(place, name.removesuffix(".mar")))
    if not seen:
        raise UsageError(f"there is no archive {quote(name)} of dvlite in {place.label}", hint="see what is there")
    return seen


def look_at_archive(file: Path) -> SeenVersion:
    """Returns the version in an archive. Raises UsageError for one that dvlite did not make."""
    with opened_archive(file, str(file)) as archive:
        model = sidecar_of(archive, str(file))
    if model is None:
        raise UsageError(
            f"{quote(str(file))} has no {served.NAME}: dvlite did not make it",
            hint="dvlite export serving MODEL --to torchserve --dest DIR   makes one that has",
        )
    return SeenVersion(None, torchserve.LAYOUT, HeldVersion(model.version, str(file), model), None, archive=file)


def check_seen(seen: SeenVersion, progress: Progress) -> list[ServedFinding]:
    """Reads every byte of a version, and of the file that its server follows; returns what is not as dvlite wrote it."""
    if seen.archive is not None:
        return check_archive(seen.archive, str(seen.archive), progress)[1]
    assert seen.place is not None
    if seen.held.problem:
        return [ServedFinding(kind="unreadable", path=seen.held.folder, message=seen.held.problem)]
    model = seen.held.model
    assert model is not None
    layout = seen.layout or plain.LAYOUT
    findings = check_held(seen.place, layout, seen.held, progress)
    is_part = findings and all(finding.kind == "missing" for finding in findings)
    if is_part and seen.is_served is False and not isinstance(seen.place, FolderPlace):
        message = f"{quote(seen.held.folder)} is not complete: an export or a removal was interrupted"
        findings = [ServedFinding(kind="unfinished", path=seen.held.folder, message=message)]
    if seen.stray_front:
        message = f"{quote(seen.stray_front)} was changed: it names no version that dvlite wrote"
        findings.append(ServedFinding(kind="front", path=seen.stray_front, message=message))
    if seen.layout is not None and seen.is_served and seen.layout.copy:
        path, copy = layout.front_of(model.model), f"{seen.held.folder}/{layout.copy_of(model.model)}"
        findings += _check_front(seen.place, path, copy)
    return findings


def _check_front(place: ServingPlace, path: str, copy: str) -> Iterator[ServedFinding]:
    with place.fetched(copy) as kept:
        if kept is None:
            yield ServedFinding(kind="missing", path=copy, message=f"{quote(copy)} is missing")
            return
        wanted = hashed_content(of_file(kept))
    if place.hashed(path, wanted.size_bytes, lambda _: None) != wanted:
        message = f"{quote(path)} was changed: it is not {quote(copy)}, which dvlite wrote with it"
        yield ServedFinding(kind="front", path=path, message=message)


def _alone(place: ServingPlace, names: Sequence[str]) -> Iterator[SeenVersion]:
    """Yields the version that a place is, as the init container of KServe makes it."""
    for sidecar in _SIDECARS:
        if sidecar.partition("/")[0] in names:
            layout = _layout_of_version(sidecar, names)
            held = held_in(place, replace(layout, sidecar=sidecar), "", 0)
            if held.model is not None or held.problem:
                yield SeenVersion(place, layout if held.model else None, held, None)
                return


def _layout_of_version(sidecar: str, names: Sequence[str]) -> ServingLayout:
    """Returns the layout that a folder of a version has, by the copy of the front in it."""
    if sidecar != served.NAME:
        return tfserving.LAYOUT
    return next((each for each in (triton.LAYOUT, kserve.LAYOUT) if each.copy in names), plain.LAYOUT)


def _of_model(place: ServingPlace, name: str, names: Sequence[str]) -> Iterator[SeenVersion]:
    """Yields the versions of a model, by the names in its folder."""
    if not any(_VERSION.fullmatch(child) for child in names):
        return
    layout = layout_in(place, name, names)
    if layout is not None:
        yield from _versions(place, layout, name)


def layout_in(place: ServingPlace, name: str, names: Sequence[str]) -> ServingLayout | None:
    """Returns the layout of a model by its front, else by what a version has; None where dvlite wrote neither."""
    for layout in _BY_FRONT:
        if layout.front.rpartition("/")[2] in names and front_of(place, layout, name).version is not None:
            return layout
    for child in names:
        if _VERSION.fullmatch(child):
            inside = place.children(f"{name}/{child}")
            if tfserving.LAYOUT.sidecar.partition("/")[0] in inside:
                return tfserving.LAYOUT
            if served.NAME in inside:
                return _layout_of_version(served.NAME, inside)
    return None


def _of_store(place: ServingPlace, name: str) -> Iterator[SeenVersion]:
    """Yields the versions of an archive that TorchServe has in its model store; of one that was copied there, that alone."""
    seen = [*_versions(place, torchserve.LAYOUT, name)]
    if not any(one.is_served for one in seen):
        with place.fetched(f"{name}.mar") as file, contextlib.suppress(DvliteError):
            if file is not None and isinstance(place, FolderPlace):
                seen.append(look_at_archive(file))
    yield from seen


def _versions(place: ServingPlace, layout: ServingLayout, name: str) -> Iterator[SeenVersion]:
    held, front = versions_of(place, layout, name), front_of(place, layout, name)
    now = served_now(layout, held, front)
    own = [one for one in held if one.model is not None or one.problem]
    for one in own:
        is_stray = front.is_there and now not in own and one is own[-1]
        yield SeenVersion(place, layout, one, one is now, stray_front=layout.front_of(name) if is_stray else "")
