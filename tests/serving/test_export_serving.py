"""`dvlite export serving`, `lineage --served` and `verify --served`, in folders: what stands there, and what is found in it."""

import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from dataclasses import replace

import pytest

from dvlite.formats import model_tag, pointer, served
from dvlite.formats.model_tag import ModelEntry
from dvlite.oid import digest_bytes, parse_oid
from dvlite.serving import check
from tests.commands.project import tree

EXTRA = {"kserve": ("--model-format", "sklearn"), "torchserve": ("--handler", "handler.py")}
FRONTS = {
    "triton": "birds/config.pbtxt",
    "tfserving": "birds/models.config",
    "torchserve": "birds.mar",
    "kserve": "birds/inferenceservice.yaml",
    "dir": "birds/current",
}
SERVERS = ["triton", *(pytest.param(to, marks=pytest.mark.long) for to in FRONTS if to != "triton")]
# What every layout does by the same code; all of it in the sweep.
ONE_SERVER = [
    "triton",
    *(pytest.param(to, marks=(pytest.mark.long, pytest.mark.sweep)) for to in FRONTS if to != "triton"),
]


def model_for(to, revision=""):
    return revision + ("model.pt" if to == "torchserve" else "models/birds")


def answer(project, *words, code=0):
    """Returns what a command prints as JSON: its result, or its error with the result in it."""
    done = project.dvlite("--json", *words, code=code)
    result = json.loads(done.stdout) if done.stdout else None
    return result if not code else {**json.loads(done.stderr.splitlines()[-1]), "result": result}


def export(project, to, model=None, *more, dest="../served", code=0):
    words = ("export", "serving", model or model_for(to), "--to", to, "--dest", dest, "--name", "birds")
    return answer(project, *words, *EXTRA.get(to, ()), *more, code=code)


def rolled_back(project, to, model="birds", code=0):
    return answer(project, "export", "serving", model, "--to", to, "--dest", "../served", "--rollback", code=code)


def place(project):
    return project.root.parent / "served"


def followed(project):
    """Returns number and digest of what lineage says is served."""
    models = project.json("lineage", "--served", "../served")["models"]
    assert len(models) == 1
    return models[0]["version"], models[0]["digest"]


def is_whole(project, to):
    found = project.json("verify", "--served", "../served")
    return all(not one["findings"] and one["known"] == "known" for one in found["models"])


@pytest.mark.parametrize("to", SERVERS)
def test_each_server_gets_versions_one_after_the_other_and_lineage_reads_them_back(birds, to):
    first, second = export(birds, to, model_for(to, "v1:")), export(birds, to)
    assert (first["version"], second["version"], second["before"]) == (1, 2, 1)
    assert first["digest"] != second["digest"]
    assert followed(birds) == (2, second["digest"])
    (model,) = birds.json("lineage", "--served", "../served")["models"]
    assert model["server"] == to
    assert model["lineage"]["subject"]["oid"] == second["digest"]
    if to != "torchserve":  # whose model here no run made
        (run,) = model["lineage"]["up"]["runs"]
        assert (run["run"], run["stage"]) == (model["run"], "train")
        assert set(model["inputs"]) == {"data", "k.txt", "net.py"}
    assert is_whole(birds, to)
    assert len(birds.json("verify", "--served", "../served")["models"]) == 2


@pytest.mark.parametrize("to", ONE_SERVER)
def test_the_same_model_again_changes_nothing(birds, to):
    export(birds, to)
    before, inode = tree(place(birds)), os.lstat(place(birds) / FRONTS[to]).st_ino
    again = export(birds, to)
    assert not again["is_new"]
    assert not again["switched"]
    assert again["written_bytes"] == 0
    assert tree(place(birds)) == before
    assert os.lstat(place(birds) / FRONTS[to]).st_ino == inode


@pytest.mark.parametrize("to", ONE_SERVER)
def test_the_way_back_is_one_command_and_so_is_the_way_forth(birds, to):
    first, second = export(birds, to, model_for(to, "v1:")), export(birds, to)
    back = rolled_back(birds, to)
    assert (back["version"], back["before"], back["switched"]) == (1, 2, True)
    assert followed(birds) == (1, first["digest"])
    assert is_whole(birds, to)
    assert not export(birds, to)["is_new"]
    assert followed(birds) == (2, second["digest"])
    assert rolled_back(birds, to, "birds@1")["version"] == 1
    third = export(birds, to, model_for(to), "--at", "other") if to != "torchserve" else None
    assert third is None or third["version"] == 3, "no number is given twice"


@pytest.mark.parametrize("to", ONE_SERVER)
def test_the_newest_are_kept_and_the_one_that_is_served(birds, to):
    export(birds, to, model_for(to, "v1:"))
    done = export(birds, to, model_for(to), "--keep", "1")
    assert (done["removed"], done["kept"]) == ([1], [2])
    assert followed(birds)[0] == 2
    back = export(birds, to, model_for(to, "v1:"), "--keep", "1")
    assert back["version"] == 3, "a number is never given twice"
    rolled = rolled_back(birds, to, "birds@2", code=2)
    assert "versions of dvlite there: 3" in rolled["hint"]


@pytest.mark.long
def test_tensorflow_serving_sees_the_highest_number_so_what_is_higher_is_withdrawn(birds):
    export(birds, "tfserving", model_for("tfserving", "v1:"))
    export(birds, "tfserving")
    rolled_back(birds, "tfserving")
    numbers = [name for name in os.listdir(place(birds) / "birds") if name.isdecimal()]
    assert numbers == ["1"]
    export(birds, "tfserving")
    assert sorted(name for name in os.listdir(place(birds) / "birds") if name.isdecimal()) == ["1", "2"]


@pytest.mark.parametrize("to", SERVERS)
def test_one_wrong_byte_in_any_file_is_found(birds, to):
    export(birds, to)
    files = [path for path in sorted(place(birds).rglob("*")) if path.is_file() and not path.is_symlink()]
    files = [path for path in files if path.name != ".dvlite-export"]
    assert len(files) >= 3
    for path in files:
        data = path.read_bytes()
        for at in (0, len(data) // 2, len(data) - 1):
            path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            done = birds.dvlite("verify", "--served", "../served", code=None)
            assert done.returncode == 13, f"{path} at {at}: {done.stdout}{done.stderr}"
        path.write_bytes(data)
    assert is_whole(birds, to)


def test_a_file_that_is_gone_or_was_added_is_found(birds):
    export(birds, "triton")
    (place(birds) / "birds/1/sub/k").unlink()
    (place(birds) / "birds/1/evil.py").write_text("import os\n")
    error = answer(birds, "verify", "--served", "../served", code=13)
    kinds = {finding["kind"]: finding["path"] for finding in error["result"]["models"][0]["findings"]}
    assert kinds == {"missing": "birds/1/sub/k", "added": "birds/1/evil.py"}


@pytest.mark.long
def test_what_python_compiled_beside_a_model_cannot_be_checked(birds):
    export(birds, "triton")
    (place(birds) / "birds/1/__pycache__").mkdir()
    (place(birds) / "birds/1/__pycache__/model.cpython-311.pyc").write_bytes(b"\0")
    done = birds.dvlite("verify", "--served", "../served", code=3)
    assert "PYTHONDONTWRITEBYTECODE=1" in done.stderr


@pytest.mark.long
def test_a_model_whose_sidecar_was_changed_with_it_is_found_by_its_digest(birds, invoke, tmp_path):
    done = export(birds, "dir")
    folder = place(birds) / done["folder"]
    model = served.parse((folder / served.NAME).read_bytes(), "x")
    (folder / "model.py").write_bytes(b"import evil\n")
    hashes = {"size": 12, "sha256": hashlib.sha256(b"import evil\n").hexdigest()}
    digests = {row.path: digest_bytes((folder / row.path).read_bytes()) for row in model.files}
    forged = replace(
        model, files=tuple(replace(row, **hashes) if row.path == "model.py" else row for row in model.files)
    )
    (folder / served.NAME).write_bytes(served.dump(forged))
    found = answer(birds, "verify", "--served", "../served", code=13)["result"]["models"][0]["findings"]
    assert [one["kind"] for one in found] == ["digest"]
    forged = replace(forged, digest=check.digest_of(forged, digests))
    (folder / served.NAME).write_bytes(served.dump(forged))
    assert "not known to this clone" in birds.dvlite("verify", "--served", "../served").stdout
    copied = tmp_path / "mnt"
    shutil.copytree(folder, copied)
    done = invoke("verify", "--served", copied, "--digest", model.digest, cwd=tmp_path)
    assert done.returncode == 13
    assert "should be" in done.stdout + done.stderr


def test_an_init_container_checks_what_it_downloaded_without_a_clone(birds, invoke, tmp_path):
    done = export(birds, "kserve")
    mounted = tmp_path / "models"
    mounted.mkdir()
    for path in (place(birds) / done["folder"]).iterdir():  # as kserve-storage does it for file://
        (mounted / path.name).symlink_to(path)
    words = ("verify", "--served", mounted, "--digest", done["digest"])
    assert invoke(*words, cwd=tmp_path, check=True).stdout.startswith("whole")
    other = invoke("verify", "--served", mounted, "--digest", "manifest:" + "1" * 64, cwd=tmp_path)
    assert other.returncode == 13
    lost = invoke("--json", "lineage", "--served", mounted, cwd=tmp_path)
    assert lost.returncode == 3
    assert json.loads(lost.stdout)["models"][0]["digest"] == done["digest"]


@pytest.mark.long
def test_a_clone_that_does_not_know_the_model_says_so(birds, invoke, tmp_path):
    export(birds, "dir")
    invoke("init", "--no-hooks", cwd=birds.root.parent, check=False)
    other = tmp_path / "other"
    other.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=other, check=True)
    invoke("init", "--no-hooks", cwd=other, check=True)
    done = invoke("verify", "--served", place(birds), cwd=other)
    assert done.returncode == 0
    assert "not known to this clone" in done.stdout
    assert "this clone knows no version" in done.stderr
    lost = invoke("lineage", "--served", place(birds), cwd=other)
    assert lost.returncode == 3
    assert "it says run: run:" in lost.stdout


def test_an_archive_is_the_same_bytes_each_time_and_tells_what_it_is_anywhere(birds, tmp_path):
    done = export(birds, "torchserve")
    export(birds, "torchserve", dest="../elsewhere")
    archive = place(birds) / "birds.mar"
    assert archive.read_bytes() == (birds.root.parent / "elsewhere/birds.mar").read_bytes()
    alone = tmp_path / "some.mar"
    shutil.copy(archive, alone)
    (model,) = birds.json("lineage", "--served", str(alone))["models"]
    assert (model["digest"], model["version"]) == (done["digest"], 1)
    with zipfile.ZipFile(alone) as opened:
        assert opened.testzip() is None
        manifest = json.loads(opened.read("MAR-INF/MANIFEST.json"))["model"]
    digits = done["digest"].partition(":")[2][:12]
    assert manifest == {
        "modelName": "birds",
        "handler": "handler.py",
        "modelVersion": f"1-{digits}",
        "serializedFile": "model.pt",
    }


@pytest.mark.long
def test_a_handler_that_changed_is_another_version(birds):
    assert export(birds, "torchserve")["version"] == 1
    birds.write("handler.py", "def handle(data, context):\n    return []\n")
    assert export(birds, "torchserve")["version"] == 2


def test_the_config_of_the_user_stays_but_for_what_dvlite_writes(birds):
    config = 'name: "old"  # mine\nbackend: "python"\nmax_batch_size: 4\nversion_policy { all { } }\n'
    birds.write("config.pbtxt", config + 'parameters { key: "mine" value { string_value: "x" } }\n')
    export(birds, "triton", None, "--config", "config.pbtxt")
    text = (place(birds) / "birds/config.pbtxt").read_text()
    assert "max_batch_size: 4" in text
    assert 'key: "mine"' in text
    assert "all { }" not in text
    assert text.count("name:") == 1
    assert "versions: [ 1 ]" in text
    birds.write("config.pbtxt", config.replace("4", "8"))
    again = export(birds, "triton", None, "--config", "config.pbtxt")
    assert (again["version"], again["is_new"], again["switched"]) == (1, False, True)
    assert "max_batch_size: 8" in (place(birds) / "birds/config.pbtxt").read_text()


@pytest.mark.long
def test_empty_folders_and_executables_are_part_of_the_digest(birds):
    birds.write("tool/run.sh", "#!/bin/sh\n").chmod(0o755)
    (birds.root / "tool/empty").mkdir()
    birds.dvlite("add", "tool")
    export(birds, "dir", "tool")
    assert os.access(place(birds) / "birds/1/run.sh", os.X_OK)
    assert is_whole(birds, "dir")


@pytest.mark.long
def test_a_file_in_a_model_and_a_file_of_git_can_be_served(birds):
    part = export(birds, "dir", "models/birds/weights.bin")
    assert [row["path"] for row in json.loads((place(birds) / part["folder"] / served.NAME).read_bytes())["files"]] == [
        "weights.bin"
    ]
    assert part["run"] is not None
    assert export(birds, "dir", "net.py")["version"] == 2


REFUSED = {
    "a name with a slash": (("--name", "a/b"), "cannot be the name of a model"),
    "a name of 300 letters": (("--name", "a" * 300), "has 300 characters"),
    "a name that climbs": (("--name", ".."), "cannot be the name of a model"),
    "a hidden name": (("--name", ".x"), "cannot be the name of a model"),
    "a place that leaves the folder": (("--at", "../x"), "leads out of the folder"),
    "a flag of another server": (("--handler", "x"), "--handler is for torchserve"),
    "a destination in git's folder": (("--dest", ".git/x"), "is inside"),
    "a destination that is a file": (("--dest", "net.py"), "is no folder"),
    "a destination of a strange kind": (("--dest", "gs://bucket/x"), "folders and to s3://"),
    "a config that is not there": (("--config", "none"), "there is no file"),
    "a config that is too long": (("--config", "long.pbtxt"), "more than 1,048,576 bytes"),
}


def test_what_cannot_be_is_refused_in_one_line(birds):
    birds.write("long.pbtxt", "#" * ((1 << 20) + 1))  # its beginning alone would be a config
    base = [("--dest", "../served"), ("--name", "birds")]
    for case, (flags, words) in REFUSED.items():
        given = [word for pair in base if pair[0] != flags[0] for word in pair] + list(flags)
        done = birds.dvlite("export", "serving", "models/birds", "--to", "triton", *given, code=None)
        assert done.returncode in (1, 2), case
        assert words in done.stderr.splitlines()[0], case
        assert done.stderr.startswith("error: "), case
    assert not (place(birds) / "birds").exists()


def test_files_of_others_are_neither_replaced_nor_counted_as_versions_of_dvlite(birds):
    foreign = place(birds) / "birds"
    (foreign / "7").mkdir(parents=True)
    (foreign / "7/model.py").write_text("x")
    (foreign / "config.pbtxt").write_text('name: "birds"\n')
    before = tree(place(birds))
    error = export(birds, "triton", code=2)
    assert "is not of dvlite" in error["error"]
    after = tree(place(birds))
    after.pop("birds/.dvlite-export")
    assert after == before
    taken = export(birds, "triton", None, "--config", str(foreign / "config.pbtxt"), "--keep", "1")
    assert taken["version"] == 8
    assert (foreign / "7/model.py").read_text() == "x"


HOSTILE = [b"\0" * 100, b"a: {" * 5000, b"x: [" * 5000, b"name: 'birds'" * 200_000, b'name: "\x1b[2J"', b"{"]


@pytest.mark.parametrize("config", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.long
def test_a_hostile_config_is_refused_in_one_line(birds, config):
    front = place(birds) / "birds/config.pbtxt"
    front.parent.mkdir(parents=True)
    front.write_bytes(config)
    error = export(birds, "triton", code=2)
    assert "is not of dvlite" in error["error"]
    birds.write("mine.pbtxt", config)
    done = birds.dvlite(
        "export", "serving", "models/birds", "--to", "triton", "--dest", "../b", "--config", "mine.pbtxt", code=None
    )
    assert done.returncode in (0, 1, 2)
    assert "\x1b" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.long
def test_two_servers_do_not_share_a_folder(birds):
    export(birds, "triton")
    assert "stands there for triton" in export(birds, "dir", code=2)["error"]


@pytest.mark.long
def test_a_link_in_a_model_is_refused(birds):
    (birds.root / "links").mkdir()
    (birds.root / "links/a").symlink_to("b")
    birds.write("links/b", "x")
    birds.dvlite("add", "links")
    assert "symbolic link" in export(birds, "dir", "links", code=2)["error"]


def test_a_version_that_was_changed_is_not_served_again(birds):
    export(birds, "dir", "v1:models/birds")
    export(birds, "dir")
    (place(birds) / "birds/1/model.py").write_text("evil")
    error = rolled_back(birds, "dir", code=13)
    assert "model.py" in error["error"]
    assert followed(birds)[0] == 2
    assert "is not as it was written" in export(birds, "dir", "v1:models/birds", code=13)["error"]


@pytest.mark.long
def test_a_place_without_a_model_of_dvlite_says_so(birds, tmp_path):
    (tmp_path / "empty").mkdir()
    assert birds.dvlite("verify", "--served", "../nowhere", code=2).stderr.startswith("error: there is nothing at")
    assert "no model of dvlite" in birds.dvlite("lineage", "--served", str(tmp_path / "empty"), code=2).stderr
    assert "--served" in birds.dvlite("verify", "data", "--served", "x", code=2).stderr
    assert "--digest belongs to --served" in birds.dvlite("verify", "--digest", "x", code=2).stderr


def register(project, number, revision):
    """Registers the model of a revision, as `dvlite model add` does."""
    listed = next(row for row in project.json("ls", "--rev", revision)["entries"] if row["path"] == "models/birds")
    version = pointer.Pointer("directory", parse_oid(listed["oid"])[1], listed["size_bytes"], files=listed["files"])
    name = model_tag.parse_name(f"birds@v{number}")
    entry = ModelEntry(name=name, order=number, after={}, path="models/birds", pointer=version)
    project.git("tag", "-a", str(name), revision, "-m", model_tag.dump(entry, ""))


def test_a_registered_model_has_the_version_of_the_registry_and_is_found_by_it(birds):
    register(birds, 1, "v1")
    register(birds, 2, "v2")
    done = export(birds, "triton", "birds@1")
    assert (done["version"], done["model"]) == (1, "birds")
    assert export(birds, "triton", "model:birds")["version"] == 2
    (model,) = birds.json("lineage", "--served", "../served")["models"]
    assert (model["registered"], model["version"], model["models"]) == ("birds", 2, ["model:birds@2"])
    assert {tuple(one["models"]) for one in birds.json("verify", "--served", "../served")["models"]} == {
        ("model:birds@1",),
        ("model:birds@2",),
    }
    assert export(birds, "triton", "birds@1")["before"] == 2
    other = export(birds, "dir", "birds@3", code=2)
    assert "birds" in other["error"]
    taken = export(birds, "triton", "models/birds/model.py", "--at", "model.py")
    assert taken["version"] == 3


@pytest.mark.long
def test_a_number_of_the_registry_that_has_other_bytes_there_is_an_error(birds):
    export(birds, "dir", "net.py")
    register(birds, 1, "v1")
    assert "is another model" in export(birds, "dir", "birds@1", code=2)["error"]


@pytest.mark.long
def test_a_model_that_says_it_is_a_registered_one_and_is_not_is_found(birds):
    register(birds, 1, "v1")
    done = export(birds, "dir", "birds@1")
    birds.git("tag", "-d", "birds@v1")
    birds.git("update-ref", "-d", "refs/dvlite/models/birds@v1")
    register(birds, 1, "v2")
    error = answer(birds, "verify", "--served", "../served", code=13)
    assert "says that it is model:birds@1" in error["error"]
    assert done["digest"] != "manifest:"
