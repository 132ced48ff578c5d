"""Exports in real servers: `make test-servers`. What is not installed is skipped, with the reason."""

import json
import os
import subprocess
import tempfile

import pytest

from dvlite.serving.opened import opened_place
from tests.serving import running
from tests.serving.test_export_serving import export, followed, place, rolled_back

pytestmark = pytest.mark.servers

MODEL = """\
import numpy as np
import triton_python_backend_utils as utils


class TritonPythonModel:
    def execute(self, requests):
        inputs = [utils.get_input_tensor_by_name(request, "X").as_numpy() for request in requests]
        return [utils.InferenceResponse([utils.Tensor("Y", x * np.float32({factor}))]) for x in inputs]
"""
CONFIG = """\
max_batch_size: 0
input [ { name: "X" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "Y" data_type: TYPE_FP32 dims: [ -1 ] } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
"""
HANDLER = """\
import json
import os

import torch

model = about = None


def handle(data, context):
    global model, about
    if model is None:
        folder = context.system_properties["model_dir"]
        model = torch.jit.load(os.path.join(folder, context.manifest["model"]["serializedFile"]))
        with open(os.path.join(folder, "dvlite.json")) as file:
            about = file.read()
    if data is None:
        return None
    if context.get_request_header(0, "describe") == "True":
        return [about]
    body = data[0].get("data") or data[0].get("body")
    body = json.loads(body) if isinstance(body, (bytes, bytearray, str)) else body
    return [model(torch.tensor(body)).tolist()]
"""
MAKE_TORCH = """\
import sys, torch
class Net(torch.nn.Module):
    factor: float
    def __init__(self, factor):
        super().__init__()
        self.factor = factor
    def forward(self, x):
        return x * self.factor
torch.jit.script(Net(float(sys.argv[2]))).save(sys.argv[1])
"""


def require(name):
    reason = running.why_not(name)
    if reason:
        pytest.skip(reason)


def script(name, text, *args, env=None):
    """Runs a script in an environment, and returns what it prints."""
    environ = {**os.environ, **(env or {})}
    for key in ("PYTHONPATH", "LD_PRELOAD"):
        environ.pop(key, None)
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:  # torch reads the source of a class
        file.write(text)
        file.flush()
        words = [running.python_of(name), file.name, *map(str, args)]
        done = subprocess.run(words, capture_output=True, text=True, env=environ)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def digest_at(project, url):
    (model,) = project.json("lineage", "--served", url)["models"]
    assert model["lineage"]["subject"]["oid"] == model["digest"]
    return model["version"], model["digest"]


def assert_benched(project, request, digest, *words):
    """Two connections are measured without an error, and the run reads the model that the server names."""
    project.write("requests.jsonl", json.dumps(request))
    flags = ("--requests", "requests.jsonl", "--for", "1s", "--concurrency", "2")
    result = project.json("bench", "serve", *words, *flags)
    assert [one["oid"] for one in result["models"]] == [digest]
    assert result["warnings"] == []
    (level,) = result["levels"]
    assert level["figures"]["good"] == level["figures"]["requests"] > 0
    (run,) = [row for row in project.json("runs", "list")["runs"] if row["stage"] == "serve"]
    assert digest in json.dumps(project.json("runs", "show", run["name"]))


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_triton_serves_the_export_switches_and_says_what_it_serves(birds, tmp_path):
    require("triton")
    birds.write("config.pbtxt", CONFIG)
    birds.write("net.py", MODEL.format(factor=2))
    birds.dvlite("repro", "-q")
    birds.commit("Factor 2")
    first = export(birds, "triton", None, "--config", "config.pbtxt")
    folder = tmp_path / "server"
    folder.mkdir()
    with running.running_triton(place(birds), folder) as server:

        def load_and_ask():
            server.call("/v2/repository/models/birds/load", b"{}")
            tensor = {"name": "X", "shape": [2], "datatype": "FP32", "data": [1, 2]}
            answer = server.call("/v2/models/birds/infer", json.dumps({"inputs": [tensor]}).encode())
            return answer["outputs"][0]["data"]

        assert load_and_ask() == [2, 4]
        assert digest_at(birds, server.url) == (1, first["digest"])
        birds.write("net.py", MODEL.format(factor=3))
        birds.dvlite("repro", "-q")
        birds.commit("Factor 3")
        second = export(birds, "triton", None, "--config", "config.pbtxt")
        assert digest_at(birds, server.url) == (1, first["digest"]), "it was not told to load"
        assert load_and_ask() == [3, 6]
        assert digest_at(birds, f"{server.url}/v2/models/birds") == (2, second["digest"])
        rolled_back(birds, "triton")
        assert load_and_ask() == [2, 4]
        assert digest_at(birds, server.url) == followed(birds) == (1, first["digest"])
        tensor = {"name": "X", "shape": [2], "datatype": "FP32", "data": [1, 2]}
        ask = {"path": "/v2/models/birds/infer", "body": {"inputs": [tensor]}}
        assert_benched(birds, ask, first["digest"], server.url)
        done = birds.dvlite("verify", "--served", server.url, code=3)
        assert "the bytes were not seen" in done.stderr
    flip(place(birds) / "birds/1/weights.bin")
    assert "weights.bin" in birds.dvlite("verify", "--served", "../served", code=13).stderr


def test_torchserve_serves_the_archive_and_says_what_it_serves(birds, tmp_path):
    require("torch")
    birds.write("handler.py", HANDLER)
    script("torch", MAKE_TORCH, birds.root / "model.pt", 2)
    birds.dvlite("add", "model.pt")
    birds.commit("Factor 2")
    done = export(birds, "torchserve")
    folder = tmp_path / "server"
    folder.mkdir()
    with running.running_torchserve(place(birds), "birds=birds.mar", folder) as server:
        assert server.call("/predictions/birds", b"[1.0, 2.0]", infer=True) == [2, 4]
        digits = done["digest"].partition(":")[2][:12]
        assert server.call("/models/birds")[0]["modelVersion"] == f"1-{digits}"
        assert digest_at(birds, server.url) == digest_at(birds, f"{server.url}/models/birds") == (1, done["digest"])
        ask = {"path": "/predictions/birds", "body": [1.0, 2.0]}
        assert_benched(birds, ask, done["digest"], server.inference_url, "--model", server.url)
    flip(place(birds) / "birds.mar")
    assert birds.dvlite("verify", "--served", "../served/birds.mar", code=13)
    assert birds.dvlite("verify", "--served", "../served", code=13)


KSERVE = """\
import sys
from kserve_storage import Storage
Storage.download(sys.argv[1], sys.argv[2])
"""


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_the_init_container_of_kserve_downloads_the_export_and_dvlite_checks_it(birds, invoke, tmp_path, weed, kind):
    require("kserve")
    env = {
        "AWS_ACCESS_KEY_ID": weed.access_key_id,
        "AWS_SECRET_ACCESS_KEY": weed.secret_access_key,
        "AWS_ENDPOINT_URL": weed.endpoint_url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "S3_USE_HTTPS": "0",
        "S3_VERIFY_SSL": "0",
    }
    with pytest.MonkeyPatch.context() as patch:
        for key, value in env.items():
            patch.setenv(key, value)
        dest = "../served" if kind == "folder" else f"s3://{weed.bucket}/kserve"
        done = export(birds, "kserve", dest=dest)
        front = birds.root / dest / done["front"]
        if kind == "bucket":
            with opened_place(dest, None, os.environ) as there:
                text = there.head(done["front"], 1 << 20).decode()
        else:
            text = front.read_text()
    uri = next(line for line in text.splitlines() if "storageUri" in line).split('"')[1]
    assert done["digest"].partition(":")[2][:12] in uri
    mounted = tmp_path / "models"
    mounted.mkdir()
    script("kserve", KSERVE, uri, mounted, env=env)
    words = ("verify", "--served", mounted, "--digest", done["digest"])
    assert invoke(*words, cwd=tmp_path).returncode == 0
    printed = subprocess.run(
        "find -L . -type f ! -name 'dvlite.*' -printf '%P\\n' | LC_ALL=C sort | xargs sha256sum | sha256sum",
        shell=True,
        cwd=mounted,
        capture_output=True,
        text=True,
    )
    assert f'dvlite/sha256: "{printed.stdout.split()[0]}"' in text
    weights = mounted / "weights.bin"
    data = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(data)
    flip(weights)
    assert invoke(*words, cwd=tmp_path).returncode == 13


TRITON_CONFIG = """\
import sys
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2
parsed = text_format.Parse(open(sys.argv[1]).read(), model_config_pb2.ModelConfig())
print(parsed.name, list(parsed.version_policy.specific.versions), parsed.parameters["dvlite.digest"].string_value)
"""
TENSORFLOW_CONFIG = """\
import sys
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2
parsed = text_format.Parse(open(sys.argv[1]).read(), model_server_config_pb2.ModelServerConfig())
config = parsed.model_config_list.config[0]
print(config.name, config.base_path, list(config.model_version_policy.specific.versions))
"""


def test_the_protobuf_of_triton_reads_the_config(birds):
    require("triton")
    birds.write("config.pbtxt", CONFIG)
    done = export(birds, "triton", None, "--config", "config.pbtxt")
    printed = script("triton", TRITON_CONFIG, place(birds) / done["front"])
    assert printed.split() == ["birds", "[1]", done["digest"]]


def test_the_protobuf_of_tensorflow_serving_reads_the_config(birds):
    require("tfapi")
    done = export(birds, "tfserving", None, "--seen-at", "/models")
    printed = script("tfapi", TENSORFLOW_CONFIG, place(birds) / done["front"])
    assert printed.split() == ["birds", "/models/birds", "[1]"]


TENSORFLOW = """\
import sys
import tensorflow as tf
class M(tf.Module):
    def __init__(self, factor):
        self.factor = tf.Variable(factor)
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def __call__(self, x):
        return {"y": self.factor * x}
if sys.argv[1] == "save":
    model = M(2.0)
    tf.saved_model.save(model, sys.argv[2], signatures={"serving_default": model.__call__})
else:
    print(tf.saved_model.load(sys.argv[2])(tf.constant([1.0, 2.0]))["y"].numpy().tolist())
"""


def test_tensorflow_loads_the_version_with_what_dvlite_put_into_it(birds):
    require("tf")
    script("tf", TENSORFLOW, "save", birds.root / "saved", env={"TF_CPP_MIN_LOG_LEVEL": "3"})
    birds.dvlite("add", "saved")
    birds.commit("A SavedModel")
    done = export(birds, "tfserving", "saved")
    folder = place(birds) / done["folder"]
    assert script("tf", TENSORFLOW, "load", folder, env={"TF_CPP_MIN_LOG_LEVEL": "3"}).strip() == "[2.0, 4.0]"
    assert (folder / "assets.extra/dvlite.json").exists()
    flip(folder / "saved_model.pb")
    assert "saved_model.pb" in birds.dvlite("verify", "--served", "../served", code=13).stderr
