"""`lineage`: what made something, and what was made of it; in a clone, in another one, and with nothing but the remote."""

import json
import os
import re
import shutil
from dataclasses import replace

import pytest

from dvlite.progress import NullProgress
from dvlite.repo.repository import open_repo
from dvlite.runs.records import open_records
from tests.commands.conftest import start_project
from tests.commands.project import Project
from tests.copies import copy_of
from tests.runs.synthetic import oid, run

PIPELINE = """\
stages:
  prepare:
    cmd: mkdir -p data/tiles; for f in data/images/*; do head -c 90 "$f" > "data/tiles/$(basename "$f")"; done
    deps: [data/images]
    outs: [data/tiles]
  train:
    cmd: sh src/train.sh
    deps: [src/train.sh, data/tiles]
    params: [lr]
    outs: [model.pt]
    metrics: [{path: metrics.json, cache: false}]
"""
TRAIN = """\
cat data/tiles/* > model.pt
grep lr params.yaml >> model.pt
echo "{\\"acc\\": $(grep -c . model.pt)}" > metrics.json
"""


@pytest.fixture
def trained(tmp_path, invoke):
    """Returns a repository with three commits of different data and parameters; `tmp_path/model-N` are copies of the models."""

    def build(folder):
        project = start_project(folder / "repo", invoke)
        project.git("remote", "add", "origin", "https://me:secret@example.com/birds.git")
        for name in ("one", "two"):
            project.write(f"data/images/{name}.jpg", name * 50)
        project.write("src/train.sh", TRAIN)
        project.write("dvlite.yaml", PIPELINE)
        project.dvlite("add", "data/images")
        for number, lr in ((1, "0.01"), (2, "0.003"), (3, "0.003")):
            project.write("params.yaml", f"lr: {lr}\n")
            if number == 3:
                project.write("data/images/three.jpg", "three" * 50)
                (project.root / "data/images/one.jpg").unlink()
                project.dvlite("add", "-u")
            project.commit(f"Inputs {number}")
            project.dvlite("repro")
            project.commit(f"Model {number}")
            shutil.copy(project.root / "model.pt", folder / f"model-{number}")

    return Project(copy_of("trained", build, tmp_path) / "repo", invoke)


def commit_of(project, subject):
    return project.git("log", "--all", "--format=%H", "--grep", subject).strip()


def pushed(project):
    """Pushes the data of all commits, and the records, to a folder beside the repository."""
    project.dvlite("remote", "add", project.root.parent / "store")
    project.dvlite("push", "--all-commits")


def images(project, revision):
    return re.search(r"manifest:[0-9a-f]{64}", project.git("show", f"{revision}:data/images.dvlite"))[0]


def facts(found):
    """Returns what the issue asks of a model: its data, the commit, the parameters."""
    graph = found["up"]
    runs = {run["stage"]: run for run in graph["runs"]}
    source = next(item for item in graph["artefacts"] if item["origin"] == "data")
    return source["oid"], runs["train"]["commit"]["commit"], runs["train"]["params"]["params.yaml:lr"]


def wanted(project, number):
    lr = {1: 0.01, 2: 0.003, 3: 0.003}[number]
    return images(project, commit_of(project, f"Model {number}")), commit_of(project, f"Model {number}"), lr


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_model_that_was_copied_and_renamed_tells_its_data_commit_and_parameters(trained, tmp_path, number):
    found = trained.json("lineage", tmp_path / f"model-{number}")
    assert facts(found) == wanted(trained, number)
    prepared = next(run for run in found["up"]["runs"] if run["stage"] == "prepare")
    first = "Model 3" if number == 3 else "Model 1"  # the first commit whose lockfile names that run, not a later one
    assert prepared["commit"]["subject"] == first


def test_the_words_are_those_of_the_session(trained, tmp_path):
    lines = trained.dvlite("lineage", tmp_path / "model-2").stdout.splitlines()
    name = re.search(r"train-[0-9a-f]{6}", lines[1])[0]
    source = images(trained, "HEAD~2")[9:17]
    assert re.fullmatch(rf"{tmp_path}/model-2  \d+ B  blake3:[0-9a-f]{{8}}  sha256:[0-9a-f]{{8}}", lines[0])
    assert re.fullmatch(
        rf"made as model.pt by {name} on \d{{4}}-\d\d-\d\d \d\d:\d\d UTC, test@example.com on \S+, status ok", lines[1]
    )
    added = commit_of(trained, "Inputs 1")[:7]
    assert re.fullmatch(
        rf'  data    data/tiles [0-9a-f]{{8}} <- prepare-[0-9a-f]{{6}} <- data/images {source} \(2 files, commit {added} "Inputs 1"\)',
        lines[2],
    )
    assert lines[3].startswith(f'  code    https://example.com/birds.git {commit_of(trained, "Model 2")[:7]} "Model 2"')
    assert lines[4] == "  params  lr=0.003"
    assert lines[5].startswith("  env     Python 3.")
    assert lines[6].startswith("  result  acc=")
    assert "secret" not in "".join(lines)


def test_down_prints_exactly_what_was_made_of_a_version(trained, tmp_path):
    models = {number: trained.json("lineage", tmp_path / f"model-{number}")["subject"]["oid"] for number in (1, 2, 3)}

    def made_of(what):
        runs = trained.json("lineage", "--down", what)["down"]["runs"]
        return {link["oid"] for run in runs for link in run["outputs"] if link["path"] == "model.pt"}

    assert made_of("data/images") == {models[3]}
    assert made_of(f"{commit_of(trained, 'Model 1')}:data/images") == {models[1], models[2]}
    assert made_of("data/images/three.jpg") == {models[3]}
    assert made_of("data/images/two.jpg") == set(models.values())  # in both versions
    assert made_of("model.pt") == set()
    text = trained.dvlite("lineage", "--down", "data/images").stdout
    assert text.count("model.pt") == 1
    assert "model.pt " + models[3][7:15] in text
    assert "in use" in text.splitlines()[-3]


def test_the_same_in_a_clone_and_with_nothing_but_the_remote(trained, tmp_path, invoke):
    pushed(trained)
    empty = tmp_path / "empty"
    empty.mkdir()
    for number in (1, 2, 3):
        done = invoke("--json", "lineage", tmp_path / f"model-{number}", "--remote", tmp_path / "store", cwd=empty)
        assert done.returncode == 0, done.stderr
        assert facts(json.loads(done.stdout)) == wanted(trained, number)
    assert os.listdir(empty) == []
    done = invoke("--json", "lineage", "--down", images(trained, "HEAD"), "--remote", "../store", cwd=empty, check=True)
    stages = {run["stage"] for run in json.loads(done.stdout)["down"]["runs"]}
    assert stages == {"prepare", "train"}
    file = trained.root / "data/images/three.jpg"  # found through the listing, read from the remote
    done = invoke("lineage", file, "--remote", tmp_path / "store", cwd=empty, check=True)
    assert f"in data/images {images(trained, 'HEAD')[9:17]} as three.jpg" in done.stdout
    assert "source data: added in commit" in done.stdout


def test_a_configured_remote_is_asked_by_name(trained, tmp_path):
    pushed(trained)
    shutil.rmtree(trained.root / ".git" / "dvlite" / "runs")
    assert "0 runs searched" in trained.dvlite("lineage", tmp_path / "model-1", code=1).stderr
    assert facts(trained.json("lineage", tmp_path / "model-1", "--remote", "origin")) == wanted(trained, 1)
    assert "there is no remote 'backup'" in trained.dvlite("lineage", "model.pt", "--remote", "backup", code=2).stderr


def test_bytes_that_nobody_made_are_an_error(trained, tmp_path, invoke):
    other = tmp_path / "other.pt"
    other.write_text("these bytes came from elsewhere")
    done = trained.dvlite("lineage", other, code=1)
    assert re.search(
        r"error: no run in this clone made these bytes \(blake3:[0-9a-f]{8}, 5 runs searched\)", done.stderr
    )
    pushed(trained)
    done = invoke("lineage", other, "--remote", tmp_path / "store", cwd=tmp_path)
    assert done.returncode == 1
    assert f"no run on '{tmp_path}/store' made these bytes" in done.stderr
    assert invoke("lineage", other, cwd=tmp_path).returncode == 10
    assert invoke("lineage", other, "--remote", tmp_path / "nothing", cwd=tmp_path).returncode == 2


def test_source_data_says_which_commit_added_it(trained):
    done = trained.dvlite("lineage", "data/images")
    commit = commit_of(trained, "Inputs 3")[:7]
    assert f'source data: added in commit {commit} "Inputs 3" by Test User' in done.stdout
    trained.write("fresh.bin", "fresh")
    trained.dvlite("add", "fresh.bin")
    assert "source data: no commit names it yet" in trained.dvlite("lineage", "fresh.bin").stdout
    assert "kept by git" in trained.dvlite("lineage", "src/train.sh").stdout


def test_every_way_to_name_a_thing_means_the_same(trained, tmp_path):
    found = trained.json("lineage", "model.pt")
    content, sha256 = found["subject"]["oid"], found["subject"]["sha256"]
    name = found["up"]["runs"][0]["name"]
    (trained.root / "model.pt").unlink()
    for word in ("model.pt", "HEAD:model.pt", content, content[7:15], f"sha256:{sha256}", sha256, tmp_path / "model-3"):
        again = trained.json("lineage", word)
        assert (again["subject"]["oid"], again["up"]["runs"][0]["name"]) == (content, name), word
    by_run = trained.json("lineage", name)
    assert by_run["subject"]["kind"] == "run"
    assert content in {link["oid"] for link in by_run["up"]["runs"][0]["outputs"]}
    assert trained.json("lineage", by_run["subject"]["oid"]) | {"subject": None} == by_run | {"subject": None}
    inside = trained.json("lineage", "HEAD:data/tiles/two.jpg")
    assert inside["subject"]["oid"] == trained.json("lineage", "data/tiles/two.jpg")["subject"]["oid"]
    assert "run" in {item["origin"] for item in inside["up"]["artefacts"]}
    for word in ("nothing", "deadbeef", "train-000000", "HEAD:nothing", "no-such:model.pt", "run:" + "0" * 64):
        assert "Traceback" not in trained.dvlite("lineage", word, code=2).stderr


def test_a_folder_on_disk_is_hashed_as_add_would(trained, tmp_path):
    shutil.copytree(trained.root / "data" / "tiles", tmp_path / "somewhere")
    (tmp_path / "somewhere" / ".DS_Store").write_text("left out")
    done = trained.dvlite("lineage", tmp_path / "somewhere")
    assert "made as data/tiles by prepare-" in done.stdout
    (tmp_path / "current").symlink_to(tmp_path / "somewhere")
    assert "made as data/tiles by prepare-" in trained.dvlite("lineage", tmp_path / "current").stdout


def test_cached_and_tainted_runs_are_told_from_others(trained):
    trained.write("dvlite.lock", "")
    (trained.root / "dvlite.lock").unlink()
    trained.dvlite("repro")
    text = trained.dvlite("lineage", "model.pt").stdout
    assert re.search(r"also made by 1 other run: train-[0-9a-f]{6}", text)
    assert "cached" in text
    trained.write("src/train.sh", TRAIN + "echo new >> model.pt; echo '#' >> src/train.sh\n")
    trained.dvlite("repro", code=3)
    assert "status tainted (src/train.sh changed while it ran)" in trained.dvlite("lineage", "model.pt").stdout


def test_diff_names_what_differs_and_what_does_not(trained, tmp_path):
    text = trained.dvlite("lineage", "diff", tmp_path / "model-1", tmp_path / "model-2").stdout
    assert re.search(r"^param +lr +0.01 -> 0.003$", text, re.MULTILINE)
    assert text.splitlines()[-1].startswith("same: data, code, stages, environment")
    found = trained.json("lineage", "diff", tmp_path / "model-2", "model.pt")
    (change,) = found["data"]
    assert (change["path"], change["counts"]["added"], change["counts"]["removed"]) == ("data/images", 1, 1)
    assert [(file["change"], file["path"]) for file in change["files"]] == [
        ("removed", "data/images/one.jpg"),
        ("added", "data/images/three.jpg"),
    ]
    assert found["params"] == []
    same = trained.json("lineage", "diff", "model.pt", "model.pt")
    assert same["same"] == ["data", "code", "stages", "params", "environment", "metrics"]
    trained.write("src/train.sh", TRAIN + "echo new >> model.pt\n")
    trained.dvlite("repro")
    assert [change["path"] for change in trained.json("lineage", "diff", "HEAD:model.pt", "model.pt")["code"]] == [
        "src/train.sh"
    ]


def test_find_lists_outputs_by_values(trained):
    rows = trained.json("lineage", "find", "lr=0.003", "path=model.pt")["found"]
    assert [row["commit"]["subject"] for row in rows] == ["Model 3", "Model 2"]
    assert {row["values"]["lr"] for row in rows} == {0.003}
    assert trained.json("lineage", "find", "param.lr=0.01", "path=*.pt")["found"][0]["commit"]["subject"] == "Model 1"
    assert len(trained.json("lineage", "find", "acc>=0", "stage=train", "path=model.pt")["found"]) == 3
    assert trained.json("lineage", "find", "metric.acc<0")["found"] == []
    limited = trained.json("lineage", "find", "status=ok", "-n", "2")
    assert (len({row["run"] for row in limited["found"]}), limited["more"]) == (2, True)
    assert "is not a status" in trained.dvlite("lineage", "find", "status=fine", code=2).stderr
    nothing = trained.dvlite("lineage", "find", "lr", code=2).stderr
    assert "compares nothing" in nothing
    assert "lr=0.01 'acc>0.9'" in nothing
    assert "--param" not in nothing


def test_flags_may_stand_anywhere_and_forms_print_what_they_should(trained):
    assert trained.dvlite("lineage", "--depth", "1", "model.pt").stdout.startswith("model.pt  ")
    assert json.loads(trained.dvlite("--json", "lineage", "model.pt").stdout)["schema"] == "dvlite.lineage/1"
    assert json.loads(trained.dvlite("lineage", "model.pt", "--format", "json").stdout)["schema"] == "dvlite.lineage/1"
    assert trained.dvlite("lineage", "-C", "data", "../model.pt", "--format", "mermaid").stdout.startswith(
        "flowchart LR\n"
    )
    assert trained.dvlite("lineage", "show", "model.pt", "--format", "dot").stdout.startswith("digraph")
    assert "... 1 more, --depth" in trained.dvlite("lineage", "model.pt", "--depth", "1").stdout
    assert "find" in trained.dvlite("lineage", "--help").stdout


def test_what_nobody_recorded_is_unknown(project):
    records = open_records(open_repo(project.root, os.environ), NullProgress())
    records.put(run("train", "data/@1", "model.pt@1", number=1))
    text = project.dvlite("lineage", oid("model.pt@1")).stdout
    assert re.search(r"  data    data [0-9a-f]{8} \(3 files\) <- unknown \(not recorded\)", text)


def test_names_from_strangers_print_quoted(project):
    records = open_records(open_repo(project.root, os.environ), NullProgress())
    hostile = run("train", "data/@1", "model.pt@1", number=1, user="eve\x1b[31m", params={"p.yaml:a\x1bb": "\x1b[2J"})
    hostile = replace(hostile, inputs=(replace(hostile.inputs[0], path="da\x1b[31mta"),))
    records.put(hostile)
    for extra in ((), ("--format", "tree"), ("--format", "dot"), ("--format", "mermaid"), ("--both",)):
        assert "\x1b" not in project.dvlite("lineage", oid("model.pt@1"), *extra).stdout
    assert "\x1b" not in project.dvlite("lineage", "find", "stage=train").stdout


def test_two_runs_of_which_a_lockfile_names_one(project):
    records = open_records(open_repo(project.root, os.environ), NullProgress())
    old = records.put(run("train", "d@1", "model.pt@1", number=1))
    records.put(run("train", "d@2", "model.pt@1", number=2))
    assert project.json("lineage", oid("model.pt@1"))["up"]["runs"][0]["params"] == {}
    lock = f'dvlite: 1\nstages:\n  train:\n    key: {"0" * 64}\n    run: {old}\n    cmd: "x"\n    outs:\n      model.pt: {{oid: {oid("model.pt@1")}, size: 1000}}\n# end\n'
    project.write("dvlite.lock", lock)
    project.commit("Choose the old one")
    found = project.json("lineage", "model.pt")
    assert found["up"]["runs"][0]["run"] == old
    assert found["up"]["runs"][0]["commit"]["subject"] == "Choose the old one"
    assert len(found["up"]["artefacts"][0]["made_by"]) == 2


def test_the_last_run_and_a_stage_are_understood(trained):
    last = trained.json("runs", "show", "last:train")["run"]
    assert trained.json("lineage", "last:train")["subject"]["oid"] == last
    assert trained.json("lineage", "last")["subject"]["kind"] == "run"
    assert "dvlite lineage last:train" in trained.dvlite("lineage", "train", code=2).stderr
    assert "no run of 'nobody'" in trained.dvlite("lineage", "last:nobody", code=2).stderr
    assert "did you mean train?" in trained.dvlite("lineage", "last:trian", code=2).stderr
    for verb in ("lineage", "log", "get", "cat"):
        assert "did you mean model.pt?" in trained.dvlite(verb, "modle.pt", code=2).stderr


def test_a_short_sha256_as_it_is_printed_is_understood(trained):
    printed = re.search(r"sha256:[0-9a-f]{8}", trained.dvlite("lineage", "model.pt").stdout)[0]
    subject = trained.json("lineage", "model.pt")["subject"]
    assert trained.json("lineage", printed)["subject"]["oid"] == subject["oid"]
    assert "sha256 00000000" in trained.dvlite("lineage", "sha256:00000000", code=1).stderr


def test_down_of_a_file_of_parameters_says_how_they_are_recorded(trained):
    said = trained.dvlite("lineage", "--down", "params.yaml").stderr
    assert "recorded by value" in said
    assert "dvlite lineage find lr=VALUE" in said


def test_parameters_of_the_runs_before_are_told_and_found(trained):
    evaluate = """\
  evaluate:
    cmd: echo '{"accuracy":0.9}' > eval.json
    deps: [model.pt]
    params: [rounds]
    metrics: [{path: eval.json, cache: false}]
"""
    trained.write("dvlite.yaml", PIPELINE + evaluate)
    trained.write("params.yaml", "lr: 0.003\nrounds: 2\n")
    trained.dvlite("repro")
    told = trained.dvlite("lineage", "eval.json").stdout
    assert re.search(r"^  params  rounds=2 \(evaluate-\w{6}\)  lr=0\.003 \(train-\w{6}\)$", told, re.MULTILINE)
    (found,) = trained.json("lineage", "find", "lr<0.01", "accuracy>0.5")["found"]
    assert (found["path"], found["values"]) == ("eval.json", {"lr": 0.003, "accuracy": 0.9})
    assert trained.json("lineage", "find", "lr=0.01", "accuracy>0.5")["found"] == []


def test_a_folder_of_several_things_is_refused_before_it_is_read(trained):
    done = trained.dvlite("lineage", "data", code=2)
    assert "'data' is not tracked as a whole, it contains 'data/images' and 1 more" in done.stderr
    assert "dvlite lineage data/images" in done.stderr
    for word in (".", "..", "/"):
        assert "contains the whole repository" in trained.dvlite("lineage", word, code=2).stderr


def test_a_changed_output_says_what_was_tracked(trained):
    trained.write("model.pt", "edited by hand, and long enough to be told from other bytes of the kind")
    done = trained.dvlite("lineage", "model.pt", code=1)
    assert "it was changed since it was tracked; for the tracked version: dvlite lineage HEAD:model.pt" in done.stderr
    assert "made as model.pt by train-" in trained.dvlite("lineage", "HEAD:model.pt").stdout


def test_scripts_that_git_does_not_have_are_warned_of(project):
    project.write("src/train.sh", TRAIN)
    project.write("data/tiles/one", "one" * 50)
    project.dvlite("add", "data/tiles")
    project.write("params.yaml", "lr: 1\n")
    project.write(
        "dvlite.yaml", "stages:\n  train: {cmd: sh src/train.sh, deps: [src/train.sh, data/tiles], outs: [model.pt]}\n"
    )
    project.dvlite("repro")
    done = project.dvlite("lineage", "model.pt")
    assert "src/train.sh" in done.stdout
    assert "unknown (not recorded)" in done.stdout
    assert "warning: git does not have 'src/train.sh': only the hash of what was used is known; git add" in done.stderr
    project.commit("Add the script")
    done = project.dvlite("lineage", "model.pt")
    assert (done.stderr, "unknown" in done.stdout) == ("", False)


def test_outside_of_a_clone_a_name_is_no_remote(tmp_path, invoke):
    done = invoke("lineage", tmp_path / "x", "--remote", "origin", cwd=tmp_path)
    assert done.returncode == 2
    assert "names of remotes mean something in a clone only" in done.stderr


def test_an_output_of_the_same_few_bytes_does_not_hide_where_its_input_is_from(pipeline):
    pipeline.write("raw", "1")
    pipeline.write("dvlite.yaml", "stages: {copy: {cmd: cp raw out, deps: [raw], outs: [out]}}\n")
    pipeline.dvlite("add", "raw")
    pipeline.dvlite("repro")
    artefacts = pipeline.json("lineage", "out")["up"]["artefacts"]
    assert {artefact["path"]: artefact["origin"] for artefact in artefacts} == {"out": "run", "raw": "data"}
