"""The versions of a model that stand in a place, by their sidecars, and the one that its server follows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dvlite.errors import DvliteError, FormatError
from dvlite.formats import served
from dvlite.formats.served import ServedModel
from dvlite.serving import kserve, plain, tfserving, torchserve, triton
from dvlite.serving.folder import FolderPlace
from dvlite.serving.layout import WITHDRAWN, ServingLayout
from dvlite.serving.place import ServingPlace, read
from dvlite.show import quote

LAYOUTS: Mapping[str, ServingLayout] = {
    each.to: each for each in (triton.LAYOUT, tfserving.LAYOUT, torchserve.LAYOUT, kserve.LAYOUT, plain.LAYOUT)
}


@dataclass(frozen=True, slots=True)
class HeldVersion:
    """A version in a place. `model` is None for what dvlite did not write, or if `problem` says why its sidecar cannot be read."""

    number: int
    folder: str
    model: ServedModel | None
    sidecar_sha256: str = ""
    problem: str = ""
    withdrawn: bool = False

    @property
    def name(self) -> str:
        """What the model is called; where its sidecar cannot be read, as its folder is."""
        parts = self.folder.split("/")
        return self.model.model if self.model is not None else parts[-2].lstrip(".") if len(parts) > 1 else self.folder


def versions_of(place: ServingPlace, layout: ServingLayout, name: str) -> list[HeldVersion]:
    """Returns the versions of a model, lowest first, also those that were withdrawn."""
    base = layout.base_of(name)
    found = [
        held_in(place, layout, f"{folder}/{child}", number, withdrawn=folder != base)
        for folder in (base, *((f"{base}/{WITHDRAWN}",) if layout.takes_highest else ()))
        for child in place.children(folder)
        if (number := layout.number_of(child)) is not None
    ]
    return sorted(found, key=lambda held: (held.number, held.withdrawn))


def held_in(
    place: ServingPlace, layout: ServingLayout, folder: str, number: int, *, withdrawn: bool = False
) -> HeldVersion:
    """Returns the version in a folder."""
    try:
        sidecar = f"{folder}/{layout.sidecar}" if folder else layout.sidecar
        data = read(place, sidecar, served.LIMIT_BYTES)
        if data is None:
            return HeldVersion(number, folder, None, withdrawn=withdrawn)
        model = served.parse(data, quote(f"{place.url}/{sidecar}"))
    except FormatError as error:
        return HeldVersion(number, folder, None, problem=error.message, withdrawn=withdrawn)
    return HeldVersion(number or model.version, folder, model, hashlib.sha256(data).hexdigest(), withdrawn=withdrawn)


@dataclass(frozen=True, slots=True)
class ServerFront:
    """The file that a server follows: absent, a stranger's (no `version`), or dvlite's."""

    is_there: bool
    version: int | None = None
    data: bytes = b""
    problem: str = ""


def front_of(place: ServingPlace, layout: ServingLayout, name: str) -> ServerFront:
    """Returns what the server is pointed to."""
    path = layout.front_of(name)
    if layout.to == "dir" and isinstance(place, FolderPlace):
        target = place.linked(path)
        return ServerFront(is_there=False) if target is None else _read(layout, target.encode("utf-8", "replace"), path)
    data = place.head(path, layout.front_bytes + 1)
    if data is not None and layout is torchserve.LAYOUT and len(data) > layout.front_bytes:
        version = _read(layout, data, path)
        return (
            version
            if version.version is not None
            else _read(layout, place.head(path, 2 * served.LIMIT_BYTES) or b"", path)
        )
    if data is not None and len(data) > layout.front_bytes:
        return ServerFront(is_there=True, problem=f"{quote(path)} has more than {layout.front_bytes:,} bytes")
    return ServerFront(is_there=False) if data is None else _read(layout, data, path)


def _read(layout: ServingLayout, data: bytes, path: str) -> ServerFront:
    try:
        return ServerFront(is_there=True, version=layout.current(data, path), data=data)
    except DvliteError as error:
        return ServerFront(is_there=True, data=data, problem=error.message)


def served_now(layout: ServingLayout, held: Sequence[HeldVersion], front: ServerFront) -> HeldVersion | None:
    """Returns the version that the server follows, if it is there."""
    return next((one for one in held if one.number == front.version and not one.withdrawn), None)
