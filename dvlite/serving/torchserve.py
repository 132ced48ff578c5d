"""TorchServe: one archive, `<model store>/<model>.mar`, which has `dvlite.json` in it; that of each version is kept in the hidden folder `.<model>/`."""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

from dvlite.errors import UsageError
from dvlite.formats import mar, served
from dvlite.formats.mar import MarManifest
from dvlite.formats.served import ServedModel
from dvlite.serving.layout import SHORT, ServerSettings, ServingLayout
from dvlite.serving.place import PIECE_BYTES, ServedContent
from dvlite.show import quote

HANDLER = "handler.py"
_SERIALIZED = (".pt", ".pth", ".onnx")


def write_archive(path: Path, model: ServedModel, contents: Mapping[str, ServedContent]) -> None:
    """Writes an archive: manifest, ids, then the files by their names; the same model gives the same bytes."""
    taken = {mar.MANIFEST, served.NAME} & contents.keys()
    if taken:
        raise UsageError(f"the model has a file {quote(taken.pop())}, which the archive has of its own")
    parts = [(mar.MANIFEST, manifest_of(model).dump()), (served.NAME, served.dump(model))]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in parts:
            archive.writestr(mar.entry(name, len(data)), data)
        for name in sorted(contents):
            content = contents[name]
            with content.opened() as source, archive.open(mar.entry(name, content.size_bytes), "w") as file:
                view = memoryview(source)
                for at in range(0, len(view), PIECE_BYTES):
                    file.write(view[at : at + PIECE_BYTES])
                view.release()


def version_text(model: ServedModel) -> str:
    """Returns what TorchServe calls the version: number and first digits of the digest, which it returns whatever the handler does."""
    return f"{model.version}-{model.digest.partition(':')[2][:SHORT]}"


def handler_of(asked: ServerSettings, names: Collection[str]) -> str:
    """Returns what TorchServe calls the handler: what the user named, else that of the model. Raises UsageError without one."""
    if not asked.handler and HANDLER not in names:
        raise UsageError(
            f"TorchServe needs a handler, and the model has no {HANDLER}",
            hint="name a file, or one of TorchServe's own: --handler image_classifier",
        )
    return asked.handler or HANDLER


def manifest_of(model: ServedModel) -> MarManifest:
    """Returns the manifest of the archive of a model."""
    names = [file.path for file in model.files]
    serialized = [name for name in names if "/" not in name and name.endswith(_SERIALIZED)]
    return MarManifest(model.model, version_text(model), model.handler, serialized[0] if len(serialized) == 1 else "")


def current(data: bytes, where: str) -> int | None:
    """Returns the version in the sidecar of an archive, from its first bytes; None if dvlite did not write it."""
    sidecar = mar.first_file(data, served.NAME)
    return None if sidecar is None else served.parse(sidecar, where).version


LAYOUT = ServingLayout(to="torchserve", base=".{name}", front="{name}.mar", copy="{name}.mar", current=current)
