"""TensorFlow Serving: `<base>/<version>/{saved_model.pb, variables/, ...}`. Of a folder it serves the highest number, which appears by one rename;
of a bucket that would be before it is complete, so `models.config`, written last, names the version.
"""

from __future__ import annotations

import re

from dvlite.formats import pbtxt
from dvlite.formats.served import NAME, ServedModel
from dvlite.serving.layout import ServerSettings, ServingLayout, only_version
from dvlite.show import quote

_MARK = re.compile(r"# dvlite\.digest: (?:blake3|manifest):[0-9a-f]{64}\n")


def write(model: ServedModel, asked: ServerSettings) -> bytes:
    """Returns a config for `--model_config_file`; TensorFlow Serving takes no field for ids, so they are a comment."""
    run = f"# dvlite.run: {model.run}\n" if model.run else ""
    return (
        f"# dvlite.digest: {model.digest}\n{run}"
        "model_config_list {\n  config {\n"
        f"    name: {pbtxt.quoted(model.model)}\n"
        f"    base_path: {pbtxt.quoted(f'{asked.seen_at}/{model.model}')}\n"
        '    model_platform: "tensorflow"\n'
        f"    model_version_policy {{ specific {{ versions: {model.version} }} }}\n"
        "  }\n}\n"
    ).encode("utf-8", "surrogateescape")


def current(data: bytes, where: str) -> int | None:
    """Returns the one version that a config of dvlite serves."""
    text = pbtxt.decoded(data, quote(where))
    fields = pbtxt.parse(text, where)
    if _MARK.match(text) is None:
        return None
    return only_version(
        pbtxt.texts_at(fields, "model_config_list", "config", "model_version_policy", "specific", "versions")
    )


LAYOUT = ServingLayout(
    to="tfserving",
    sidecar=f"assets.extra/{NAME}",
    front="{name}/models.config",
    copy="assets.extra/dvlite.models.config",
    last="saved_model.pb",
    write=write,
    current=current,
    takes_highest=True,
)
