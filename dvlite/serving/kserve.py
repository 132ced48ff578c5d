"""KServe: a prefix whose name has the digest of the model, and an `InferenceService` that names it. Its init container checks nothing: the manifest
carries the digest, and a SHA-256 of those of all files.
"""

from __future__ import annotations

import json
import re

from dvlite.errors import UsageError
from dvlite.formats.served import ServedModel
from dvlite.serving.layout import SHORT, ServerSettings, ServingLayout

_VERSION = re.compile(r'^    dvlite/version: "([1-9][0-9]{0,17})"$', re.MULTILINE)
_LONGEST_NAME = 40  # a Kubernetes label has 63; KServe appends to the name


def write(model: ServedModel, asked: ServerSettings) -> bytes:
    """Returns the manifest. Every text in it is JSON, which is YAML too."""
    if not asked.model_format:
        raise UsageError(
            "KServe has to know the format of the model", hint="give it: --model-format sklearn   (onnx, pytorch, ...)"
        )
    short = model.digest.partition(":")[2][:SHORT]
    facts = {
        "digest": model.digest,
        "version": str(model.version),
        "run": model.run or "",
        "commit": model.commit or "",
        "registered": model.registered,
        "sha256": model.sha256,
    }
    annotations = "".join(f"    dvlite/{key}: {json.dumps(value)}\n" for key, value in facts.items() if value)
    return (
        "apiVersion: serving.kserve.io/v1beta1\n"
        "kind: InferenceService\n"
        "metadata:\n"
        f"  name: {json.dumps(model.model)}\n"
        f"  annotations:\n{annotations}"
        f'  labels:\n    dvlite/digest: "{short}"\n'
        "spec:\n  predictor:\n    model:\n"
        f"      modelFormat:\n        name: {json.dumps(asked.model_format)}\n"
        f"      storageUri: {json.dumps(f'{asked.seen_at}/{model.model}/{model.version}-{short}')}\n"
    ).encode()


def current(data: bytes, where: str) -> int | None:
    """Returns the version that a manifest of dvlite names."""
    match = _VERSION.search(data.decode("utf-8", "replace"))
    return None if match is None else int(match[1])


LAYOUT = ServingLayout(
    to="kserve",
    front="{name}/inferenceservice.yaml",
    copy="dvlite.inferenceservice.yaml",
    with_digest=True,
    names=re.compile(r"[a-z](?:[a-z0-9-]*[a-z0-9])?"),
    longest_name=_LONGEST_NAME,
    name_rule="small letters, digits and -, and begins with a letter",
    write=write,
    current=current,
)
