"""`dvlite runs import`: runs of other programs are runs like others, but that nothing here was made by them."""

import json

import pytest

from dvlite.formats import record
from tests.formats import wandb_logs
from tests.formats.wandb_logs import history

PIPELINE = """stages:
  birds:
    cmd: echo 1 >out.txt
    params: [lr]
    outs: [out.txt]
"""


def steps(count):
    return [history(n, acc=n / 10, loss=1 / (n + 1), _timestamp=1_767_225_600 + n) for n in range(count)]


def logged(project, *records, name="train one", run_id="abc123", config=None):
    """Writes the folder of one run of W&B."""
    first = wandb_logs.run(
        run_id, config=config or {"lr": 0.1}, tags=("good", "two words"), project="birds", name=name, notes="n"
    )
    data = wandb_logs.log(first, *(records or (*steps(5), wandb_logs.end())))
    project.write(f"wandb/offline-run-20260101_000000-{run_id}/run-{run_id}.wandb", data)


def imported(project, **expected):
    done = project.json("runs", "import", "wandb", "wandb")
    assert {key: done[key] for key in expected} == expected
    return done["runs"]


def listed(project, *words):
    return project.json("runs", *words)["runs"]


def test_a_run_of_another_program_is_in_every_list_with_all_that_is_known_of_it(project):
    logged(project)
    (name,) = imported(project, points=10, stages=["birds"])
    (row,) = listed(project, "-s", "birds", "-p", "lr=0.1", "-m", "acc>0.3", "-t", "good")
    assert (row["name"], row["file"], row["status"]) == (name, "wandb", "ok")
    assert row["tags"] == ["train-one", "good", "two-words"]
    shown = project.dvlite("runs", "show", "train-one").stdout
    for words in ("from wandb: birds / train one", "20260101_000000-abc123", "5 points"):
        assert words in shown
    whole = project.json("runs", "show", name)["record"]
    assert whole["imported"]["group"] == "birds"
    assert "key" not in whole or whole["key"] == ""
    lineage = project.dvlite("lineage", name).stdout
    assert "wandb, 20260101_000000-abc123" in lineage
    assert "acc=0.4" in lineage
    assert project.json("runs", "best", "acc", "--higher")["run"]["name"] == name
    assert "dvlite runs show" in project.dvlite("runs", "best", "acc", "--higher").stdout
    project.dvlite("runs", "--html", "page.html")
    page = project.read("page.html").decode()
    assert all(words in page for words in ('"wandb:acc"', "wandb 20260101_000000-abc123", "wandb: birds / train one"))
    assert project.json("export", "tensorboard", "tb")["points"] == 10
    assert project.git("status", "--porcelain", "dvlite.lock", "data") == ""


def test_importing_again_adds_what_is_new_and_nothing_else(project):
    logged(project, *steps(2))
    (first,) = imported(project, known=0, points=4)
    imported(project, runs=[], known=1)
    assert "Nothing to import" in project.dvlite("runs", "import", "wandb", "wandb").stdout
    project.dvlite("runs", "tag", first, "mine")
    project.dvlite("runs", "note", first, "look at this")
    logged(project)  # it went on, and ended
    logged(project, run_id="other")
    both = imported(project, replaced=1, known=0, points=20)
    assert {row["name"] for row in listed(project)} == set(both)
    (went_on,) = listed(project, "-t", "mine")
    assert went_on["status"] == "ok"
    assert "look at this" in project.dvlite("runs", "show", went_on["name"]).stdout
    assert len(listed(project, "--all")) == 3
    imported(project, runs=[], known=2)


def test_no_stage_is_up_to_date_because_of_an_imported_run(shared):
    project = shared
    project.write("dvlite.yaml", PIPELINE)
    project.write("params.yaml", "lr: 0.1\n")
    logged(project)
    (name,) = imported(project)
    assert [stage["state"] for stage in project.json("repro", "-n", "--explain", code=1)["stages"]] == ["would run"]
    assert [stage["state"] for stage in project.json("repro", "--pull")["stages"]] == ["ok"]
    own = project.json("runs", "show", "last:birds")["record"]
    assert own["file"] == "dvlite.yaml", "a stage of this repository comes first"
    assert [row["name"] for row in listed(project, "-s", "wandb:birds")] == [name]
    lock = project.read("dvlite.lock").decode()
    run = project.json("runs", "show", name)["run"]
    was = next(line for line in lock.splitlines() if line.startswith("    run: "))
    project.write("dvlite.lock", lock.replace(was, f"    run: {run}"))
    assert project.json("verify", code=1)["findings"], "a lockfile that names it is wrong"
    assert "imported from wandb" in project.dvlite("runs", "apply", name, code=2).stderr


def test_a_record_that_claims_to_be_imported_and_has_a_key_is_refused(project):
    logged(project)
    (name,) = imported(project)
    shown = project.json("runs", "show", name)
    batch = next((project.root / ".git/dvlite/runs/batches").iterdir())
    assert batch.stat().st_size
    body = {
        "schema": record.RUN_SCHEMA,
        **{key: shown["record"][key] for key in ("id", "invocation", "stage", "status")},
    }
    body |= {"file": "wandb", "cmd": "", "imported": {"id": "x"}}
    assert record.parse(json.dumps(body).encode() + b"\n", "x").imported.id == "x"
    for wrong in ({"key": "ab" * 32}, {"file": "dvlite.yaml"}, {"imported": {}}, {"imported": None}):
        with pytest.raises(record.FormatError):
            record.parse(json.dumps({**body, **wrong}).encode() + b"\n", "x")


def test_colleagues_see_its_series_and_gc_keeps_them(shared, colleague):
    shared.write("dvlite.yaml", "stages: {}\n")
    shared.commit("Ask for runs")
    logged(shared)
    (name,) = imported(shared)
    shared.dvlite("push")
    for place in ([], ["--remote"]):
        shared.dvlite("gc", *place, "-y", "--grace", "0s", *([] if place else ["--uncommitted"]))
    assert "5 points" in shared.dvlite("runs", "show", name).stdout
    other = colleague(shared)
    other.dvlite("remote", "trust", shared.root.parent / "store")
    other.dvlite("pull")
    assert [row["name"] for row in listed(other)] == [name]
    assert other.json("export", "tensorboard", "tb")["points"] == 10
    assert "5 points" in other.dvlite("runs", "show", name).stdout


def test_what_cannot_be_read_is_named_and_the_rest_comes_in(project):
    logged(project)
    project.write("wandb/bad/run-x.wandb", b"nothing")
    hostile = wandb_logs.run("\x1b]0;x\x07", config={"\x1b[31m": "\x1b[2J"}, project="../../x\n", name="=cmd()\x1b[0m")
    project.write("wandb/evil/run-y.wandb", wandb_logs.log(hostile, history(0, **{"\x1b": 1})))
    for depth in (70, 300, 900):
        logged(project, run_id=f"deep{depth}", config={"deep": "[" * depth + "]" * depth})
    done = project.dvlite("runs", "import", "wandb", "wandb", code=3)
    assert "of 4 runs" in done.stderr
    assert "run-x.wandb" in done.stderr
    name = next(row["name"] for row in listed(project) if row["stage"] != "birds")
    for words in (["runs"], ["runs", "show", name], ["lineage", name], ["export", "csv", "-"]):
        assert "\x1b" not in project.dvlite(*words).stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert "dvlite runs import wandb here" in project.dvlite("import", "wandb", "here", code=2).stderr
    assert "does not exist" in project.dvlite("runs", "import", "wandb", "nowhere", code=2).stderr
    assert "--experiment" in project.dvlite("runs", "import", "wandb", "wandb", "--experiment", "x", code=2).stderr
