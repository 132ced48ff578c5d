"""Triton Inference Server: `<repository>/<model>/{config.pbtxt, <version>/...}`. The config names the version to serve, and dvlite's ids as
parameters, which the running server returns at `/v2/models/<model>/config`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from dvlite.errors import UsageError
from dvlite.formats import pbtxt
from dvlite.formats.served import ServedModel
from dvlite.serving.layout import ServerSettings, ServingLayout, only_version
from dvlite.show import quote

START = "dvlite."
_MOST_INPUTS = 50  # in the config; all are in the sidecar
_BACKENDS = {".onnx": "onnxruntime", ".pt": "pytorch", ".plan": "tensorrt", ".py": "python"}
_BY_NAME = {"model.savedmodel": "tensorflow", "model.graphdef": "tensorflow", "saved_model.pb": "tensorflow"}


def write(model: ServedModel, asked: ServerSettings) -> bytes:
    """Returns the config: that of the user, but for name, version policy and dvlite's own parameters."""
    text = "" if asked.config is None else pbtxt.decoded(asked.config, quote(asked.config_name))
    fields = pbtxt.parse(text, quote(asked.config_name))
    rest = "".join(_kept(text, fields)).strip("\n")
    lines = ["# dvlite export serving replaces this file; what is not of dvlite comes from --config"]
    lines.append(f"name: {pbtxt.quoted(model.model)}")
    if not pbtxt.texts(fields, "backend") and not pbtxt.texts(fields, "platform"):
        backend = _backend(model)
        lines += [f'backend: "{backend}"'] if backend else []
    lines += [rest] if rest else []
    lines.append(f"version_policy {{ specific {{ versions: [ {model.version} ] }} }}")
    lines += [
        f"parameters {{ key: {pbtxt.quoted(START + key)} value {{ string_value: {pbtxt.quoted(value)} }} }}"
        for key, value in claims_of(model).items()
    ]
    return "\n".join(lines).encode("utf-8", "surrogateescape") + b"\n"


def claims_of(model: ServedModel) -> dict[str, str]:
    """Returns what the parameters say of a model, by name."""
    claims = {"digest": model.digest, "version": str(model.version), "path": model.path}
    claims |= {"registered": model.registered, "project": model.project}
    claims |= {"run": model.run or "", "commit": model.commit or ""}
    if model.inputs:
        inputs = {item.path: item.digest for item in model.inputs[:_MOST_INPUTS]}
        claims["inputs"] = json.dumps(inputs, separators=(",", ":"))
    return {key: value for key, value in claims.items() if value}


def current(data: bytes, where: str) -> int | None:
    """Returns the one version that a config of dvlite serves."""
    fields = pbtxt.parse(pbtxt.decoded(data, quote(where)), where)
    if "digest" not in claims_in(fields):
        return None
    return only_version(pbtxt.texts_at(fields, "version_policy", "specific", "versions"))


def claims_in(fields: Sequence[pbtxt.Field]) -> dict[str, str]:
    """Returns dvlite's own parameters of a config."""
    claims = {}
    for one in pbtxt.messages(fields, "parameters"):
        for key in pbtxt.texts(one, "key")[:1]:
            values = [text for value in pbtxt.messages(one, "value") for text in pbtxt.texts(value, "string_value")]
            if key.startswith(START) and values:
                claims[key.removeprefix(START)] = values[0]
    return claims


def claims_of_server(config: Mapping[str, Any]) -> dict[str, str]:
    """Returns dvlite's own parameters of a config as a running server returns it."""
    claims = {}
    parameters = config.get("parameters")
    for key, value in parameters.items() if isinstance(parameters, dict) else ():
        text = value.get("string_value") if isinstance(value, dict) else None
        if key.startswith(START) and isinstance(text, str):
            claims[key.removeprefix(START)] = text
    return claims


def _kept(text: str, fields: Sequence[pbtxt.Field]) -> list[str]:
    """Returns what of a text is none of the fields that dvlite writes."""
    parts, at = [], 0
    for field in fields:
        is_own = field.name in ("name", "version_policy")
        if field.name == "parameters":
            keys = [key for one in pbtxt.messages([field], "parameters") for key in pbtxt.texts(one, "key")]
            is_own = any(key.startswith(START) for key in keys)
            if is_own and len(keys) > 1:
                raise UsageError(
                    "the config has parameters of dvlite in a list with others", hint="write each of them on its own"
                )
        if is_own:
            parts.append(text[at : field.start])
            at = field.end
            if text[at : at + 1] == "\n" and (field.start == 0 or text[field.start - 1] == "\n"):
                at += 1
    return [*parts, text[at:]]


def _backend(model: ServedModel) -> str:
    names = [file.path for file in model.files]
    for name in names:
        first = name.partition("/")[0]
        if first in _BY_NAME:
            return _BY_NAME[first]
    found = {_BACKENDS[suffix] for name in names for suffix in _BACKENDS if name == f"model{suffix}"}
    return found.pop() if len(found) == 1 else ""


LAYOUT = ServingLayout(
    to="triton", front="{name}/config.pbtxt", copy="dvlite.config.pbtxt", write=write, current=current
)
