"""Exports that are killed at every step: the server sees the old version or the new one, whole, and the same command does the rest."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from dvlite.store.s3 import S3Store
from tests.commands.project import tree
from tests.faults import calls
from tests.faults.calls import CHANGE, FAIL_FROM, KILL, SPACE, Fault
from tests.serving.test_export_serving import EXTRA, FRONTS, answer, model_for

pytestmark = pytest.mark.long
ENOSPC = 28
FOLDERS = ("triton", "tfserving", "torchserve", "dir")


def one_and_all(servers):
    """Returns the servers, all but the first for `make test-sweep`."""
    first, *others = servers
    return [first, *(pytest.param(to, marks=pytest.mark.sweep) for to in others)]


@pytest.fixture(scope="module")
def program():
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="dvlite-serving-", dir=memory if memory.is_dir() else None) as folder:
        try:
            with calls.running(Path(folder)) as running:
                yield running
        except RuntimeError as reason:
            pytest.skip(str(reason))


def words(to, model, dest):
    return ("export", "serving", model, "--to", to, "--dest", dest, "--name", "birds", *EXTRA.get(to, ()))


def seen(project, to, dest):
    """Returns the version that the server is pointed to, after reading every byte of it; None before the first is visible."""
    done = project.dvlite("--json", "verify", "--served", dest, code=None)
    if done.returncode == 2:
        return None
    assert done.returncode == 0, done.stdout + done.stderr
    served = [one["version"] for one in json.loads(done.stdout)["models"] if one["is_served"]]
    assert len(served) <= 1
    return served[0] if served else None


def highest(folder):
    """Returns the version that TensorFlow Serving takes without a config."""
    names = os.listdir(folder / "birds") if (folder / "birds").exists() else []
    return max((int(name) for name in names if name.isdecimal()), default=None)


@pytest.mark.parametrize(
    ("to", "step"), [("triton", 17), *(pytest.param(to, 5, marks=pytest.mark.sweep) for to in FOLDERS)]
)
def test_killed_at_any_step_a_folder_has_the_old_version_or_the_new_one(birds, program, to, step):
    place = birds.root.parent / "served"
    old, new = words(to, model_for(to, "v1:"), "../served"), words(to, model_for(to), "../served")
    birds.dvlite(*old)
    start = birds.root.parent / "start"
    shutil.copytree(place, start, symlinks=True)
    done = program.run(birds.root, *new, fault=Fault(calls.COUNT, CHANGE), root=place)
    assert done.code == 0, done.text
    end = tree(place)
    assert done.calls > 15
    for at in range(1, done.calls + 1, step):
        shutil.rmtree(place)
        shutil.copytree(start, place, symlinks=True)
        killed = program.run(birds.root, *new, fault=Fault(KILL, CHANGE, at, at % 2), root=place)
        assert killed.code in (-9, 0), killed.text
        assert seen(birds, to, "../served") in (1, 2), f"killed at {at}"
        birds.dvlite(*new)
        assert seen(birds, to, "../served") == 2
        assert tree(place) == end, f"killed at {at}, then again"


@pytest.mark.sweep
def test_killed_at_any_step_tensorflow_serving_without_a_config_has_a_whole_version(birds, program):
    place = birds.root.parent / "served"
    for model in ("v1:models/birds", "models/birds"):
        birds.dvlite(*words("tfserving", model, "../served"))
    start = birds.root.parent / "start"
    shutil.copytree(place, start, symlinks=True)
    back = ("export", "serving", "birds", "--to", "tfserving", "--dest", "../served", "--rollback")
    count = program.run(birds.root, *back, fault=Fault(calls.COUNT, CHANGE), root=place).calls
    for at in range(1, count + 1):
        shutil.rmtree(place)
        shutil.copytree(start, place, symlinks=True)
        program.run(birds.root, *back, fault=Fault(KILL, CHANGE, at), root=place)
        assert highest(place) in (1, 2)
        assert (place / "birds" / str(highest(place)) / "weights.bin").exists()
        birds.dvlite(*back[:-1], "--rollback", code=None)


def test_on_a_full_disk_the_old_version_stays(birds, program):
    place = birds.root.parent / "served"
    birds.dvlite(*words("triton", "v1:models/birds", "../served"))
    new = words("triton", "models/birds", "../served")
    count = program.run(birds.root, *new, "--at", "other", fault=Fault(calls.COUNT, SPACE), root=place).calls
    shutil.rmtree(place)
    birds.dvlite(*words("triton", "v1:models/birds", "../served"))
    for at in range(1, count + 1, 9):
        full = program.run(birds.root, *new, fault=Fault(FAIL_FROM, SPACE, at, ENOSPC), root=place)
        if full.code == 0:
            continue
        assert full.code == 1, full.text
        assert full.text.startswith("error: cannot "), full.text
        assert "Traceback" not in full.text
        assert seen(birds, "triton", "../served") in (1, 2)
        assert not [name for name in os.listdir(place / "birds") if name.startswith(".dvl-")]


@pytest.mark.parametrize("to", one_and_all(FRONTS))
def test_killed_at_any_request_a_bucket_has_the_old_version_or_the_new_one(birds, weed, monkeypatch, to):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", weed.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", weed.secret_access_key)
    monkeypatch.setenv("AWS_ENDPOINT_URL", weed.endpoint_url)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    birds.dvlite("config", "remote.jobs", "1", code=None)
    real = S3Store.put_key
    for at in range(1, 20):
        dest = f"s3://{weed.bucket}/{to}-{at}"
        birds.dvlite(*words(to, model_for(to, "v1:"), dest))
        count = 0

        def put(store, *args, at=at, **flags):
            nonlocal count
            count += 1
            if count == at:
                raise KeyboardInterrupt
            return real(store, *args, **flags)

        with monkeypatch.context() as patch:
            patch.setattr(S3Store, "put_key", put)
            killed = birds.dvlite(*words(to, model_for(to), dest), code=None)
        assert killed.returncode in (0, 130), killed.stderr
        began = birds.dvlite("--json", "verify", "--served", dest, code=None)
        assert began.returncode in (0, 3), began.stderr
        found = json.loads(began.stdout)["models"]
        assert [one["version"] for one in found if one["is_served"]] in ([1], [2])
        assert all(not one["findings"] for one in found if one["is_served"])
        again = answer(birds, *words(to, model_for(to), dest))
        assert again["version"] == 2, "the number that was claimed"
        assert seen(birds, to, dest) == 2
        if killed.returncode == 0:
            break
    assert at > 3


def test_two_exports_to_a_bucket_do_not_mix(birds, weed, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", weed.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", weed.secret_access_key)
    monkeypatch.setenv("AWS_ENDPOINT_URL", weed.endpoint_url)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    dest = f"s3://{weed.bucket}/race"
    real, other = S3Store.put_key, []

    def put(store, *args, **flags):
        if not other:  # another one comes first, just before the claim
            other.append(True)
            birds.dvlite(*words("triton", "v1:models/birds", dest))
        return real(store, *args, **flags)

    with monkeypatch.context() as patch:
        patch.setattr(S3Store, "put_key", put)
        late = birds.dvlite(*words("triton", "models/birds", dest), code=1)
    assert "was claimed by another export" in late.stderr
    assert seen(birds, "triton", dest) == 1
    birds.dvlite(*words("triton", "models/birds", dest))
    assert seen(birds, "triton", dest) == 2
