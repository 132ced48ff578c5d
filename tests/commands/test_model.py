"""`dvlite model`, with a real git server: each verb once. Who wins, and what is lost or replaced, is in tests/registry."""

import os
import subprocess

import pytest

import dvlite
from dvlite.git.discover import find
from dvlite.git.program import Git
from dvlite.oid import FILE, parse_oid
from dvlite.progress import NullProgress
from dvlite.registry.models import load
from dvlite.repo.repository import open_repo
from dvlite.share.needs import OF_MODELS, gather
from tests.commands.project import Project


def build(project):
    """Two runs of `train`, their model committed each time, on a bare git server."""
    subprocess.run(["git", "init", "-q", "--bare", project.root.parent / "server.git"], check=True)
    project.git("remote", "add", "origin", "../server.git")
    project.write("raw.txt", "data")
    project.dvlite("add", "raw.txt")
    project.write("train.sh", "echo w $(cat lr) > model.pt\necho '{\"acc\":' 0.$(cat lr) '}' > metrics.json\n")
    outs = "outs: [model.pt]\n    metrics: [{path: metrics.json, cache: false}]"
    project.write("dvlite.yaml", f"stages:\n  train:\n    cmd: sh train.sh\n    deps: [lr, raw.txt]\n    {outs}\n")
    for lr in ("5", "7"):
        project.write("lr", lr)
        project.dvlite("repro", "-q")
        project.commit(f"lr {lr}")
    project.dvlite("push", "-q", "--all-commits")
    project.git("push", "-q", "origin", "main")


@pytest.fixture
def project(prepared):
    return prepared("registered-models", build)


def cloned(project, invoke, folder, *flags):
    server = (project.root.parent / "server.git").as_uri()
    subprocess.run(["git", "clone", "-q", *flags, server, folder], check=True)
    return Project(folder, invoke)


def registry(project):
    return load(Git(find(project.root, dict(os.environ)), dict(os.environ)))


def server_tags(project):
    return project.git("ls-remote", "--tags", "--refs", "origin").split()[1::2]


def problems(project, *args, code=1):
    return {(each["kind"], each["tag"]) for each in project.json("model", "list", *args, code=code)["problems"]}


def test_a_version_is_a_number_content_run_and_commit(project):
    added = project.json("model", "add", "birds", "model.pt", "-m", "first")
    model = added["model"]
    run = project.json("runs")["runs"][0]
    assert (added["added"], model["version"], model["tag"], added["git_remote"]) == (True, 1, "birds@v1", "origin")
    assert (model["run"], model["path"], model["oid"]) == (
        run["run"],
        "model.pt",
        project.json("lineage", "model.pt")["subject"]["oid"],
    )
    assert (
        model["commit"] == project.git("rev-parse", "HEAD").strip() == project.git("rev-parse", "birds@v1^{}").strip()
    )
    assert "refs/tags/birds@v1" in server_tags(project)
    assert not project.json("model", "add", "birds", "model.pt")["added"], "the same again is no version"
    shown = project.json("model", "show", "birds")
    assert (shown["model"]["message"], shown["metrics"]) == ("first", {"metrics.json:acc": 0.7})


def test_outputs_of_runs_are_registered_at_their_commit(project):
    old = project.json("runs")["runs"][1]["name"]
    model = project.json("model", "add", "birds", f"{old}:model.pt")["model"]
    assert model["commit"] == project.git("rev-parse", "HEAD~1").strip()
    assert project.json("model", "add", "birds", "last:train")["model"]["version"] == 2
    assert project.json("model", "add", "birds", "HEAD~1:model.pt")["model"]["version"] == 3


def test_a_stage_has_the_last_promotion_and_rolls_back_step_by_step(project):
    for source in ("HEAD~1:model.pt", "model.pt"):
        project.dvlite("model", "add", "birds", source)
        project.dvlite("model", "promote", "birds", "prod")
    assert registry(project).models["birds"].stages_of(2) == ["prod"]
    back = project.json("model", "rollback", "birds", "prod")
    assert (back["model"]["version"], back["before"], back["tag"]) == (1, 2, "birds#prod#3")
    assert "had no other version" in project.dvlite("model", "rollback", "birds", "prod", code=2).stderr
    assert not project.json("model", "promote", "birds@1", "prod")["promoted"]
    events = [each["tag"] for each in project.json("model", "history", "birds")["events"]]
    assert events == ["birds#prod#3", "birds#prod#2", "birds@v2", "birds#prod#1", "birds@v1"]
    assert project.dvlite("model", "list", "--md").stdout.splitlines()[2].startswith("| `birds` | 2 | 1 |")


def test_a_rule_and_checks_of_the_data_decide_on_a_promotion(project):
    project.dvlite("model", "add", "birds", "model.pt")
    assert (
        "needs acc > 0.9, and has 0.7"
        in project.dvlite("model", "promote", "birds", "prod", "--when", "acc>0.9", code=1).stderr
    )
    assert "no run of it here" in project.dvlite("model", "promote", "birds", "prod", "--when", "f1>0", code=1).stderr
    assert "no result of a check" in project.dvlite("model", "promote", "birds", "prod", "--checks", code=1).stderr
    assert server_tags(project) == ["refs/tags/birds@v1"]
    assert project.json("model", "promote", "birds", "prod", "--when", "acc>=0.7")["when"][0].startswith(
        "acc >= 0.7: 0.7"
    )
    text = project.read("dvlite.yaml").decode()
    project.write("dvlite.yaml", text + "checks:\n  fine:\n    path: raw.txt\n    cmd: grep -q data raw.txt\n")
    project.dvlite("check")
    assert project.json("model", "promote", "birds", "staging", "--checks")["checks"] == ["fine of raw.txt"]


def test_models_are_revisions_and_targets(project, monkeypatch):
    project.dvlite("model", "add", "birds", "HEAD~1:model.pt")
    project.dvlite("model", "add", "birds", "model.pt")
    project.dvlite("get", "model:birds@1", "-o", "out.pt")
    assert project.read("out.pt") == b"w 5\n"
    assert "model.pt" in project.dvlite("ls", "model:birds@1").stdout
    assert project.json("diff", "model:birds@1", "model:birds")["paths"][0]["path"] == "model.pt"
    assert project.json("lineage", "model:birds@1")["models"][0]["labels"] == ["birds@1"]
    down = project.json("lineage", "--down", "raw.txt")["models"]
    assert sorted(label for each in down for label in each["labels"]) == ["birds@1", "birds@2"]
    project.dvlite("verify", "--rev", "model:birds@1")
    project.dvlite("checkout", "--rev", "model:birds@1", "model.pt")
    assert project.read("model.pt") == b"w 5\n"
    monkeypatch.chdir(project.root)
    assert dvlite.open("model:birds@2").read() == b"w 7\n"
    assert dvlite.open("model.pt", rev="model:birds@1").read() == b"w 5\n"
    runs = project.json("runs")["runs"]
    assert [run["models"] for run in runs] == [["birds@2"], ["birds@1"]]
    assert "birds@2" in project.dvlite("runs", "show", "last").stdout


def test_a_branch_called_model_stays_a_revision(project):
    project.git("branch", "model")
    assert project.dvlite("ls", "model:model.pt").stdout.strip().endswith("model.pt")


def test_a_shallow_clone_says_what_it_lacks_and_gets_what_was_registered_elsewhere(project, invoke, tmp_path):
    project.dvlite("model", "add", "birds", "HEAD~1:model.pt")
    project.dvlite("model", "promote", "birds", "prod")
    shallow = cloned(project, invoke, tmp_path / "shallow", "--depth", "1")
    assert "may lack the tags" in shallow.dvlite("model", "list").stdout
    shallow.dvlite("remote", "trust", project.root.parent / "store")
    shallow.dvlite("get", "model:birds@prod", "-o", "out.pt")
    assert shallow.read("out.pt") == b"w 5\n"
    assert problems(shallow, "--fetch", code=0) == set()


def test_a_tag_that_is_lost_is_named_by_every_verb_that_needs_it(project):
    project.dvlite("model", "add", "birds", "model.pt")
    project.git("push", "-q", "origin", ":refs/tags/birds@v1")
    assert problems(project, code=0) == set(), "here it is"
    assert problems(project, "--fetch") == {("not there", "birds@v1")}
    project.git("tag", "-d", "birds@v1")
    assert problems(project) == {("lost", "birds@v1")}
    assert "in doubt" in project.dvlite("get", "model:birds@1", code=1).stderr
    assert "model-tag" in {each["kind"] for each in project.json("verify", code=1)["findings"]}
    assert "in doubt" in project.dvlite("model", "promote", "birds@1", "prod", code=1).stderr


def test_a_git_server_that_cannot_be_reached_registers_nothing(project):
    os.rename(project.root.parent / "server.git", project.root.parent / "away.git")
    assert "cannot ask the git remote 'origin'" in project.dvlite("model", "add", "birds", "model.pt", code=1).stderr
    project.git("remote", "remove", "origin")
    assert project.json("model", "add", "birds", "model.pt")["git_remote"] is None


def test_a_hostile_tag_is_named_without_control_characters(project):
    head = project.git("rev-parse", "HEAD").strip()
    body = '{\n"dvlite_model": 1, "model": "fish", "version": 1, "path": "x\x1b[31m"\n}\n'
    text = f"object {head}\ntype commit\ntag fish@v1\ntagger \x1b[31m <a@b> 9 +0000\n\nfish\n\n{body}"
    name = subprocess.run(
        ["git", "hash-object", "-t", "tag", "-w", "--stdin"], cwd=project.root, input=text, text=True, capture_output=True
    ).stdout.strip()  # fmt: skip
    project.git("update-ref", "refs/tags/fish@v1", name)
    shown = project.dvlite("model", "list", code=1)
    assert "unreadable" in shown.stdout
    assert "\x1b" not in shown.stdout + shown.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["add", "a/b", "model.pt"], "'a/b' cannot be the name of a model"),
        (["add", "birds", "nothing"], "neither a tracked path nor a run"),
        (["promote", "fish", "prod"], "there is no model 'fish'"),
        (["promote", "birds", "production"], "not a stage of this project"),
        (["promote", "birds@0", "prod"], "no version or stage behind '@'"),
        (["list", "birds@1"], "cannot be the name of a model"),
        (["rollback", "birds@1", "prod"], "cannot be the name of a model"),
    ],
)
def test_bad_words_get_one_clear_line(project, words, said):
    failed = project.dvlite("model", *words, code=2).stderr
    assert said in failed
    assert failed.count("\n") == 2


def test_runs_without_outputs_and_edits_are_refused(project):
    project.write("lr", "9")
    project.dvlite("repro", "-q")
    assert "not committed as it is here" in project.dvlite("model", "add", "birds", "model.pt", code=1).stderr
    project.write("dvlite.yaml", "stages:\n  say:\n    cmd: echo hello\n")
    project.dvlite("repro", "-q", "say")
    assert "has no outputs" in project.dvlite("model", "add", "birds", "last:say", code=2).stderr


def test_what_no_remote_has_is_not_promoted_and_push_sends_it(project):
    project.write("lr", "9")
    project.dvlite("repro", "-q")
    added = project.dvlite("model", "add", "birds", "last:train").stdout
    assert "dvlite push" in added
    assert "is not promoted" in project.dvlite("model", "promote", "birds", "prod", code=12).stderr
    project.git("checkout", "-q", "HEAD", "--", ".")
    project.dvlite("checkout", "-q", "--force")
    project.dvlite("push", "-q")
    project.dvlite("model", "promote", "birds", "prod")


def test_collection_keeps_what_is_registered(project):
    project.write("lr", "9")
    project.dvlite("repro", "-q")
    project.dvlite("model", "add", "birds", "last:train")
    oid = project.json("model", "show", "birds")["model"]["oid"]
    project.git("checkout", "-q", "HEAD", "--", ".")
    project.dvlite("checkout", "-q", "--force")
    run = project.root / ".git" / "dvlite" / "runs"
    subprocess.run(["rm", "-r", run], check=True)
    needs = gather(open_repo(project.root, os.environ), NullProgress(), fetched=False)
    assert needs.kept_by[FILE, parse_oid(oid)[1]] == OF_MODELS
    project.dvlite("gc", "--yes")
    project.dvlite("get", "model:birds", "-o", "out.pt")
    assert oid in project.dvlite("model", "show", "birds").stdout
