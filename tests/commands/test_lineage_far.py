"""`lineage` away from where the models were made: in a colleague's clone, with nothing but a remote, on a bucket, without some records.

The pipeline reads a part of what a stage made, and measures its models in a stage of its own: both hide where a model is from.
"""

import json
import os
import re
import shutil
from dataclasses import replace

import pytest

from dvlite.formats import record
from dvlite.formats.record import Note
from dvlite.progress import NullProgress
from dvlite.repo.repository import open_repo
from dvlite.runs.records import Records, open_records
from tests.commands.conftest import start_project
from tests.commands.project import Project
from tests.copies import copy_of

PIPELINE = """\
stages:
  prepare:
    cmd: mkdir -p data/ready; cat data/raw/* > data/ready/train; cat data/raw/* | tail -c 100 > data/ready/test
    deps: [data/raw]
    outs: [data/ready]
  train:
    cmd: sh src/train.sh
    deps: [src/train.sh, data/ready/train]
    params: [lr]
    outs: [model.pt]
  evaluate:
    cmd: 'echo "{\\"acc\\": $(cksum < model.pt | cut -c1-3), \\"a\\": 1, \\"b\\": 2, \\"c\\": 3, \\"d\\": 4}" > metrics.json'
    deps: [model.pt, data/ready/test]
    metrics: [{path: metrics.json, cache: false}]
"""
NUMBERS = (1, 2, 3)


class Models:
    """Three commits with different data and parameters; a copy of each model under another name; the right answers in `true`."""

    def __init__(self, project, folder):
        self.project, self.folder, self.true = project, folder, {}

    def make(self):
        project = self.project
        project.write("src/train.sh", "{ cat data/ready/train; grep lr params.yaml; } > model.pt\n")
        project.write("dvlite.yaml", PIPELINE)
        project.write("data/raw/one", "one" * 100)
        for number, lr in ((1, "0.01"), (2, "0.003"), (3, "0.003")):
            project.write("params.yaml", f"lr: {lr}\n")
            if number == 3:
                project.write("data/raw/two", "two" * 100)
            project.dvlite("add", "data/raw")
            project.commit(f"Inputs {number}")
            project.dvlite("repro")
            project.commit(f"Model {number}")
            shutil.copy(project.root / "model.pt", self.model(number))
            project.dvlite("push")
        return self.read()

    def read(self):
        for number, lr in ((1, 0.01), (2, 0.003), (3, 0.003)):
            commit = self.project.git("log", "--all", "--format=%H", "--grep", f"Model {number}").strip()
            raw = re.search(r"manifest:[0-9a-f]{64}", self.project.git("show", f"{commit}:data/raw.dvlite"))[0]
            self.true[number] = (raw, f"Inputs {1 if number == 2 else number}", f"Model {number}", lr)
        return self

    def model(self, number):
        return self.folder / f"copy-{number}.bin"


@pytest.fixture
def made(tmp_path, invoke):
    def build(folder):
        project = start_project(folder / "repo", invoke)
        project.dvlite("remote", "add", "../store")
        project.commit("Add a remote")
        return Models(project, folder).make()

    folder = copy_of("models", build, tmp_path)
    project = Project(folder / "repo", invoke)
    project.dvlite("remote", "trust", folder / "store")
    return Models(project, folder).read()


def facts(found):
    """Returns what the issue asks of a model: its data, the commits of both, the parameters."""
    runs = {run["stage"]: run for run in found["up"]["runs"]}
    (source,) = [item for item in found["up"]["artefacts"] if item["origin"] == "data"]
    subjects = [(one["commit"] or {}).get("subject") for one in (source, runs["train"])]
    return source["oid"], *subjects, runs["train"]["params"]["params.yaml:lr"]


def models_below(found):
    return {link["oid"] for run in found["down"]["runs"] for link in run["outputs"] if link["path"] == "model.pt"}


def assert_right(made, ask):
    """Checks all three models and both versions of the data, with whatever asks."""
    models = {}
    for number in NUMBERS:
        found = ask(made.model(number))
        assert facts(found) == made.true[number]
        assert [measure["stage"] for measure in found["measured"]] == ["evaluate"]
        assert found["warnings"] == []
        models[number] = found["subject"]["oid"]
    for raw, numbers in ((made.true[1][0], (1, 2)), (made.true[3][0], (3,))):
        assert models_below(ask("--down", raw)) == {models[number] for number in numbers}


def pulled(made, colleague):
    clone = colleague(made.project)
    clone.dvlite("remote", "trust", made.folder / "store")
    clone.dvlite("pull")
    return clone


def test_here(made):
    assert_right(made, lambda *words: made.project.json("lineage", *words))


def test_in_a_colleagues_clone_after_pull(made, colleague):
    clone = pulled(made, colleague)
    assert_right(made, lambda *words: clone.json("lineage", *words))


def test_up_needs_no_listing_and_so_no_remote(made, colleague, tmp_path):
    clone = pulled(made, colleague)
    (tmp_path / "store").rename(tmp_path / "unplugged")
    for number in NUMBERS:
        found = clone.json("lineage", made.model(number))
        assert (facts(found), found["warnings"]) == (made.true[number], [])


def test_in_an_empty_folder_with_the_remote(made, tmp_path, invoke):
    empty = tmp_path / "empty"
    empty.mkdir()

    def ask(*words):
        done = invoke("--json", "lineage", *words, "--remote", tmp_path / "store", cwd=empty, check=True)
        return json.loads(done.stdout)

    assert_right(made, ask)
    text = invoke("lineage", made.model(3), "--remote", tmp_path / "store", cwd=empty, check=True).stdout
    raw = made.true[3][0][9:17]
    assert re.search(
        rf'  data    data/ready/train [0-9a-f]{{8}} in data/ready [0-9a-f]{{8}} <- prepare-[0-9a-f]{{6}} <- data/raw {raw} \(2 files, commit [0-9a-f]{{7}} "Inputs 3"\)',
        text,
    )
    assert os.listdir(empty) == []


def test_on_a_bucket(project, tmp_path, invoke, weed, s3_url, colleague, monkeypatch):
    project.dvlite("remote", "add", s3_url, "-o", f"endpoint_url={weed.endpoint_url}")
    project.commit("Add a remote")
    made = Models(project, tmp_path).make()
    clone = colleague(project)
    clone.dvlite("remote", "trust", weed.endpoint_url)
    clone.dvlite("pull")
    assert_right(made, lambda *words: clone.json("lineage", *words))
    empty = Project(tmp_path / "empty", invoke)
    empty.root.mkdir()
    monkeypatch.setenv("AWS_ENDPOINT_URL", weed.endpoint_url)
    assert_right(made, lambda *words: empty.json("lineage", *words, "--remote", s3_url))


# --- records of an older dvlite, which did not say what held an input ---


def forget_holders(project):
    """Writes all records anew without what held their inputs; returns how many."""
    repo = open_repo(project.root, os.environ)
    old = open_records(repo, NullProgress())
    found = [record.parse(data, "x") for _, data in old]
    shutil.rmtree(old.folder)
    new = Records(old.folder)
    names = {}
    for each in found:
        if not isinstance(each, Note):
            inputs = tuple(replace(item, inside=None, inside_oid=None) for item in each.inputs)
            names[record.name(record.dump(each))] = new.put(replace(each, inputs=inputs))
    lock = project.read("dvlite.lock").decode()
    for before, after in names.items():
        lock = lock.replace(before, after)
    project.write("dvlite.lock", lock)
    return len(names)


def test_listings_tell_where_records_do_not(made):
    assert forget_holders(made.project)
    for number in NUMBERS:
        found = made.project.json("lineage", made.model(number))
        assert (facts(found)[0], found["warnings"]) == (made.true[number][0], [])


def test_listings_that_a_clone_lacks_come_from_its_remote(made, colleague, tmp_path):
    clone = pulled(made, colleague)
    forget_holders(clone)
    (tmp_path / "store").rename(tmp_path / "unplugged")
    done = clone.dvlite("lineage", made.model(1))
    assert "data/ready/train" in done.stdout
    assert "<- unknown (not recorded)" in done.stdout
    assert re.search(
        r"warning: the lists? of files of .* could not be read.*: files inside may be missing", done.stderr
    )
    (tmp_path / "unplugged").rename(tmp_path / "store")
    found = clone.json("lineage", made.model(1))
    assert (facts(found)[0], found["warnings"]) == (made.true[1][0], [])


def test_down_of_a_directory_finds_what_used_a_part_of_it(made):
    ready = made.project.json("lineage", "data/ready")["subject"]["oid"]
    assert len(models_below(made.project.json("lineage", "--down", ready))) == 1
    forget_holders(made.project)
    assert len(models_below(made.project.json("lineage", "--down", ready))) == 1


# --- words ---


def test_a_later_stage_that_measured_the_model_gives_the_result(made):
    text = made.project.dvlite("lineage", "model.pt").stdout
    assert re.search(r"  result  a=1 acc=\d+ b=2 c=3 d=4 \(evaluate-[0-9a-f]{6}\)$", text, re.MULTILINE)
    changed = made.project.dvlite("lineage", "diff", made.model(1), made.model(2)).stdout
    assert re.search(r"^metric +acc +\d+ -> \d+$", changed, re.MULTILINE)


def test_a_run_in_a_tree_has_a_few_metrics_once(made):
    text = made.project.dvlite("lineage", "--down", "data/raw").stdout
    lines = [line for line in text.splitlines() if "evaluate-" in line]
    assert ["acc=" in line for line in lines] == ["(above)" not in line for line in lines] == [True, False]
    assert "c=3 and 1 more" in lines[0]
    assert "d=4" not in text


def test_an_output_whose_record_is_not_here(made, colleague):
    clone = colleague(made.project)
    for word in ("model.pt", "HEAD:model.pt", made.model(3)):
        text = clone.dvlite("lineage", word).stdout
        assert "made by train (dvlite.lock), its record is not here: dvlite pull" in text
        assert "source data" not in text
    clone.dvlite("remote", "trust", made.folder / "store")
    clone.dvlite("pull")
    assert "made as model.pt by train-" in clone.dvlite("lineage", "model.pt").stdout


def test_push_notes_commits_for_who_has_no_git(made):
    records = open_records(open_repo(made.project.root, os.environ), NullProgress())
    notes = [found for _, data in records if isinstance(found := record.parse(data, "x"), Note)]
    sources = {note.content: note for note in notes if note.op == "source"}
    assert {oid: note.subject for oid, note in sources.items()} == {
        made.true[1][0]: "Inputs 1",
        made.true[3][0]: "Inputs 3",
    }
    assert {note.author for note in notes} == {"Test User"}
    assert {note.subject for note in notes if note.op == "commit"} == {"Model 1", "Model 2", "Model 3"}
    made.project.dvlite("push")
    assert len(list(records)) == len(notes) + sum(1 for _, data in records if b"dvlite.run/1" in data)
