"""`metrics show` and `diff`: from disk, from git, and from the cache through the lockfile of a revision."""

import pytest

from dvlite.formats.lockfile import Facts, Locked, LockedStage, Lockfile, dump
from dvlite.oid import digest_bytes, format_oid

PIPELINE = """\
stages:
  train:
    cmd: x
    outs: [model.pt]
    metrics:
      - {path: metrics.json, cache: false, better: {accuracy: higher, loss: lower, deep.f1: higher}}
      - eval.yaml
"""


def lock(project, data, folder=""):
    """Makes the cached metric what the lockfile says: as `repro` does, in few words."""
    project.write(f"{folder}kept.yaml", data)
    project.dvlite("add", f"{folder}kept.yaml")
    project.dvlite("rm", "--cached", f"{folder}kept.yaml")
    (project.root / folder / "kept.yaml").unlink()
    made = Locked("eval.yaml", format_oid("blake3", digest_bytes(data.encode())), len(data))
    project.write(
        f"{folder}dvlite.lock",
        dump(Lockfile((LockedStage(name="train", key="0" * 64, facts=Facts("x"), outs=(made,)),))),
    )
    project.write(f"{folder}.gitignore", "/eval.yaml\n")
    project.write(f"{folder}eval.yaml", data)


@pytest.fixture
def trained(prepared):
    def build(project):
        project.write("dvlite.yaml", PIPELINE)
        project.write(
            "metrics.json", '{"accuracy": 0.912, "loss": 0.3141592653589793, "deep": {"f1": 0.5}, "n": 100, "ok": true}'
        )
        lock(project, "time: 2.5\nnote: slow\n")
        project.commit("One")
        project.git("tag", "one")

    return prepared("metrics", build, remote=False)


def rows(project, *words, **options):
    found = project.json("metrics", "diff", *words, **options)["metrics"]
    return {row["key"]: row for row in found if row["state"] != "equal"}


def test_show_prints_tidy_numbers_and_json_has_all_digits(trained):
    assert trained.dvlite("metrics", "show").stdout == (
        "eval.yaml     time      2.5\n"
        "eval.yaml     note      slow\n"
        "metrics.json  accuracy  0.912\n"
        "metrics.json  loss      0.314159\n"
        "metrics.json  deep.f1   0.5\n"
        "metrics.json  n         100\n"
        "metrics.json  ok        true\n"
    )
    (side,) = trained.json("metrics", "show")["revisions"]
    assert (side["revision"], side["commit"]) == ("workspace", None)
    assert [(file["path"], file["stage"], file["problem"]) for file in side["files"]] == [
        ("eval.yaml", "train", None),
        ("metrics.json", "train", None),
    ]
    assert side["files"][1]["values"]["loss"] == 0.3141592653589793


def test_show_puts_revisions_side_by_side(trained):
    trained.write("metrics.json", '{"accuracy": 0.931, "new": 1}')
    (trained.root / "eval.yaml").unlink()
    assert trained.dvlite("metrics", "show", "one", "workspace", "--", "metrics.json").stdout == (
        "                        one       workspace\n"
        "metrics.json  accuracy  0.912     0.931\n"
        "metrics.json  loss      0.314159  -\n"
        "metrics.json  deep.f1   0.5       -\n"
        "metrics.json  n         100       -\n"
        "metrics.json  ok        true      -\n"
        "metrics.json  new       -         1\n"
    )
    # the cached one is on disk no more, and still known at the revision, through its lockfile
    values = trained.json("metrics", "show", "HEAD", "--", "eval.yaml")["revisions"][0]["files"][0]["values"]
    assert values == {"time": 2.5, "note": "slow"}


def test_diff_says_by_how_much_and_whether_that_is_better(trained):
    trained.write("metrics.json", '{"accuracy": 0.931, "loss": 0.4, "deep": {"f1": 0.25}, "n": 90, "ok": false}')
    trained.write("eval.yaml", "time: 2.5\nnote: fast\n")
    assert trained.dvlite("metrics", "diff").stdout == (
        "eval.yaml     note      slow -> fast\n"
        "metrics.json  accuracy  0.912 -> 0.931   +0.019 (+2.08%)       better\n"
        "metrics.json  loss      0.314159 -> 0.4  +0.0858407 (+27.32%)  worse\n"
        "metrics.json  deep.f1   0.5 -> 0.25      -0.25 (-50.00%)       worse\n"
        "metrics.json  n         100 -> 90        -10 (-10.00%)\n"
        "metrics.json  ok        true -> false\n"
    )
    found = rows(trained)
    assert (found["accuracy"]["better"], found["loss"]["better"], found["n"]["better"]) == (True, False, None)
    assert found["accuracy"]["change"] == 0.931 - 0.912
    assert (found["n"]["change"], found["n"]["relative"]) == (-10, -0.1)
    assert (found["ok"]["change"], found["note"]["change"]) == (None, None)
    trained.commit("Two")
    assert rows(trained).keys() == {"note"}  # its lockfile was not written: nothing ran
    assert rows(trained, "one", "HEAD", "--", "metrics.json").keys() == {"accuracy", "loss", "deep.f1", "n", "ok"}


def test_revisions_take_cached_metrics_from_their_own_lockfile(trained):
    lock(trained, "time: 1.5\nnote: fast\n")
    trained.commit("Two")
    assert rows(trained, "one", "HEAD")["time"]["old"] == 2.5
    assert rows(trained, "one..HEAD")["time"]["new"] == 1.5
    assert rows(trained, "HEAD", "one")["time"]["change"] == 1.0


@pytest.mark.parametrize(
    ("flags", "differ"),
    [
        ([], {"accuracy", "loss"}),
        (["--rtol", "0.01"], {"loss"}),
        (["--atol", "0.01"], {"loss"}),
        (["--atol", "0.05", "--rtol", "0.16"], set()),
        (["--rtol", "0.1"], {"loss"}),
    ],
)
def test_values_within_the_tolerance_are_equal(trained, flags, differ):
    trained.write(
        "metrics.json", '{"accuracy": 0.915, "loss": 0.4141592653589793, "deep": {"f1": 0.5}, "n": 100, "ok": true}'
    )
    assert rows(trained, *flags).keys() == differ
    code = 1 if differ else 0
    trained.dvlite("metrics", "diff", *flags, "--exit-code", code=code)
    trained.dvlite("metrics", "diff", *flags)


def test_nothing_changed_is_said_in_one_line(trained):
    assert (
        trained.dvlite("metrics", "diff").stdout
        == "No metric differs between HEAD and workspace: 7 metrics the same.\n"
    )


def test_numbers_that_look_the_same_are_shown_in_full(trained):
    trained.write(
        "metrics.json",
        '{"accuracy": 0.9120000001, "loss": 0.3141592653589793, "deep": {"f1": 0.5}, "n": 100, "ok": true}',
    )
    assert "0.912 -> 0.9120000001" in trained.dvlite("metrics", "diff").stdout


def test_markdown_for_a_pull_request(trained):
    trained.write(
        "metrics.json", '{"accuracy": 0.931, "loss": 0.3141592653589793, "deep": {"f1": 0.5}, "n|m": 1, "ok": true}'
    )
    assert trained.dvlite("metrics", "diff", "--md").stdout == (
        "| file | metric | HEAD | workspace | change |  |\n"
        "| --- | --- | ---: | ---: | ---: | --- |\n"
        "| metrics.json | accuracy | 0.912 | 0.931 | +0.019 (+2.08%) | better |\n"
        "| metrics.json | n\\|m | - | 1 |  | new |\n"
        "| metrics.json | n | 100 | - |  | gone |\n"
    )


@pytest.mark.parametrize(
    ("old", "new", "state"),
    [
        ("NaN", "NaN", "equal"),
        ("NaN", "1", "changed"),
        ("1", "1.0", "equal"),
        ("1", "true", "changed"),
        ("0", "1", "changed"),
        ("1" * 400, "0.5", "changed"),
        ("1" * 400, "1" * 400, "equal"),
        ("null", "0", "changed"),
        ("[1, 2]", "[1, 3]", "changed"),
    ],
)
def test_odd_values_are_compared_and_printed(project, old, new, state):
    project.write(
        "dvlite.yaml", "stages:\n  s: {cmd: x, metrics: [{path: m.json, cache: false, better: {a: lower}}]}\n"
    )
    project.write("m.json", f'{{"a": {old}}}')
    project.commit()
    project.write("m.json", f'{{"a": {new}}}')
    (row,) = project.json("metrics", "diff")["metrics"]
    assert row["state"] == state
    assert all(len(line) < 200 for line in project.dvlite("metrics", "diff", "-v").stdout.splitlines())


def test_patterns_stand_for_the_files_that_are_there(project):
    project.write("dvlite.yaml", "stages:\n  s: {cmd: x, metrics: [{path: 'eval/*.json', cache: false}]}\n")
    project.write("eval/a.json", '{"x": 1}')
    project.commit()
    project.write("eval/b.json", '{"x": 2}')
    assert project.dvlite("metrics", "show").stdout == "eval/a.json  x  1\neval/b.json  x  2\n"
    assert project.dvlite("metrics", "diff").stdout == "eval/b.json  x  - -> 2  new\n"


def test_what_is_not_in_the_cache_is_said_and_leaves_with_3(trained, colleague):
    there = colleague(trained)
    done = there.dvlite("metrics", "show", "HEAD", code=3)
    assert "metrics.json  accuracy  0.912\n" in done.stdout
    assert "eval.yaml" not in done.stdout
    assert "warning: 'HEAD:eval.yaml' is not in the cache; dvlite fetch --rev HEAD\n" in done.stderr
    assert "error: 1 file could not be read\n" in done.stderr
    file = there.json("metrics", "show", "HEAD", code=3)["revisions"][0]["files"][0]
    assert (file["path"], file["problem"]) == ("eval.yaml", "'HEAD:eval.yaml' is not in the cache")


def test_a_file_that_cannot_be_read_spoils_no_other(trained):
    trained.write("eval.yaml", "a: [\n")
    done = trained.dvlite("metrics", "diff", code=3)
    assert "warning: cannot read 'eval.yaml' line 2" in done.stderr
    assert rows(trained, code=3) == {}
    trained.write("metrics.json", '{"accuracy": 1}')
    assert "metrics.json  accuracy  0.912 -> 1" in trained.dvlite("metrics", "diff", code=3).stdout


def test_a_folder_below_and_paths(project):
    project.write("sub/dvlite.yaml", PIPELINE)
    project.write("sub/metrics.json", '{"accuracy": 0.5}')
    lock(project, "time: 1\n", "sub/")
    project.commit()
    assert project.dvlite("metrics", "show", "HEAD", cwd="sub").stdout == (
        "eval.yaml     time      1\nmetrics.json  accuracy  0.5\n"
    )
    assert project.dvlite("metrics", "show", "--", "sub/metrics.json").stdout == "sub/metrics.json  accuracy  0.5\n"
    assert "is no metrics file of a stage" in project.dvlite("metrics", "show", "--", "README", code=2).stderr


def test_without_metrics_there_is_a_word_about_it(project):
    assert project.dvlite("metrics", "show").stdout == "No stage has produced metrics yet.\n"
    assert project.dvlite("metrics", "diff").stdout == "No metric differs between HEAD and workspace: there are none.\n"


def test_files_of_no_stage_count_where_they_are_declared_or_named(pipeline):
    pipeline.line().dvlite("repro")
    pipeline.edit(
        "dvlite.yaml",
        "stages:",
        "metrics: [{path: own.csv, better: {acc: higher}}]\nparams: [{own.toml: [n]}]\nstages:",
    )
    pipeline.write("own.csv", "acc\n1\n2\n")
    pipeline.write("own.toml", "n = 1\n")
    pipeline.write("other.json", "0.5")
    shown = pipeline.dvlite("metrics", "show").stdout
    assert "own.csv       acc  2" in shown
    assert pipeline.dvlite("metrics", "show", "--", "other.json").stdout == "other.json  other  0.5\n"
    assert [row["key"] for row in pipeline.json("params", "diff")["params"]] == ["n", "lr"]
    assert pipeline.is_up_to_date()


def test_metrics_that_are_not_on_disk_are_named(pipeline):
    pipeline.line().dvlite("repro")
    (pipeline.root / "metrics.json").unlink()
    assert (
        "'metrics.json' is not on disk; dvlite checkout metrics.json"
        in pipeline.dvlite("metrics", "show", code=3).stderr
    )
    pipeline.write("other.json", "{}")
    pipeline.dvlite("metrics", "show", "--", "other.json")
