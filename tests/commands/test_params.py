"""`params diff`: what stages declare, old and new, typed."""

import pytest

PIPELINE = """\
stages:
  train: {cmd: x, params: [lr, net, {conf/o.toml: [seed]}, {conf/all.json: }]}
"""


@pytest.fixture
def tuned(prepared):
    def build(project):
        project.write("dvlite.yaml", PIPELINE)
        project.write("params.yaml", "lr: 0.01\nnet: {depth: 3, act: relu}\nnot_declared: 1\n")
        project.write("conf/o.toml", "seed = 1\n")
        project.write("conf/all.json", '{"a": {"b": [1, 2]}, "n": NaN}')
        project.commit("One")
        project.git("tag", "one")

    return prepared("parameters", build, remote=False)


def rows(project, *words, **options):
    found = project.json("params", "diff", *words, **options)["params"]
    return {
        (row["file"], row["key"]): (row["state"], row["old"], row["new"]) for row in found if row["state"] != "equal"
    }


def test_nothing_changed_is_said_in_one_line(tuned):
    assert tuned.dvlite("params", "diff").stdout == (
        "No parameter differs between HEAD and workspace: 6 parameters the same.\n"
    )


def test_declared_values_that_changed_are_shown_old_to_new(tuned):
    tuned.write("params.yaml", "lr: 0.003\nnet: {depth: 3, act: gelu}\nnot_declared: 2\n")
    tuned.write("conf/all.json", '{"a": {"b": [1, 3]}, "n": NaN}')
    assert tuned.dvlite("params", "diff").stdout == (
        "conf/all.json  a.b      [1, 2] -> [1, 3]\n"
        "params.yaml    lr       0.01 -> 0.003\n"
        "params.yaml    net.act  relu -> gelu\n"
    )
    assert rows(tuned)["params.yaml", "lr"] == ("changed", 0.01, 0.003)
    tuned.commit("Two")
    assert rows(tuned) == {}
    between = rows(tuned, "one", "HEAD")
    assert between == rows(tuned, "one..HEAD") == rows(tuned, "one")
    assert between["conf/all.json", "a.b"] == ("changed", [1, 2], [1, 3])
    assert rows(tuned, "HEAD", "one")["params.yaml", "lr"] == ("changed", 0.003, 0.01)


def test_all_shows_the_same_ones_too(tuned):
    assert tuned.dvlite("params", "diff", "--all", "--", "params.yaml", "conf/o.toml").stdout == (
        "conf/o.toml  seed       1\nparams.yaml  lr         0.01\nparams.yaml  net.depth  3\nparams.yaml  net.act    relu\n"
    )


@pytest.mark.parametrize(("new", "shown"), [("1.0", "1 -> 1.0"), ("true", "1 -> true"), ("'1'", '1 -> "1"')])
def test_values_of_another_type_differ(tuned, new, shown):
    tuned.write("params.yaml", "lr: 1\nnet: 0\n")
    tuned.commit()
    tuned.write("params.yaml", f"lr: {new}\nnet: 0\n")
    assert tuned.dvlite("params", "diff").stdout == f"params.yaml  lr  {shown}\n"


def test_keys_and_files_come_and_go(tuned):
    tuned.write("params.yaml", "net: {depth: 3, act: relu, width: null}\n")
    (tuned.root / "conf/o.toml").unlink()
    assert rows(tuned) == {
        ("params.yaml", "lr"): ("removed", 0.01, None),
        ("params.yaml", "net.width"): ("added", None, None),
        ("conf/o.toml", "seed"): ("removed", 1, None),
    }
    assert "lr         0.01  (gone)\n" in tuned.dvlite("params", "diff").stdout


def test_a_parameter_counts_if_either_side_declares_it(tuned):
    tuned.write("dvlite.yaml", "stages:\n  train: {cmd: x, params: [not_declared]}\n")
    tuned.write("params.yaml", "lr: 5\nnet: {depth: 3, act: relu}\nnot_declared: 2\n")
    assert rows(tuned) == {
        ("params.yaml", "lr"): ("changed", 0.01, 5),
        ("params.yaml", "not_declared"): ("changed", 1, 2),
    }


def test_paths_choose_files_and_are_shown_from_where_one_stands(tuned):
    tuned.write("params.yaml", "lr: 2\nnet: {depth: 3, act: relu}\n")
    tuned.write("conf/o.toml", "seed = 2\n")
    assert rows(tuned, "conf") == {("conf/o.toml", "seed"): ("changed", 1, 2)}
    assert tuned.dvlite("params", "diff", "--", ".", cwd="conf").stdout == "o.toml  seed  1 -> 2\n"
    assert "../params.yaml  lr" in tuned.dvlite("params", "diff", cwd="conf").stdout
    said = tuned.dvlite("params", "diff", "--", "nothing.yaml", code=2).stderr
    assert "'nothing.yaml' is no file of parameters of a stage" in said


def test_the_folder_that_a_stage_runs_in_counts(project):
    project.write("sub/dvlite.yaml", "stages:\n  s: {cmd: x, wdir: in, params: [a, {../o.json: [b]}]}\n")
    project.write("sub/in/params.yaml", "a: 1\n")
    project.write("sub/o.json", '{"b": 1}')
    assert rows(project) == {("sub/in/params.yaml", "a"): ("added", None, 1), ("sub/o.json", "b"): ("added", None, 1)}


def test_before_the_first_commit_everything_is_new(tmp_path, invoke):
    import subprocess

    from tests.commands.project import Project

    subprocess.run(["git", "init", "-q", tmp_path / "new"], check=True)
    project = Project(tmp_path / "new", invoke)
    project.dvlite("init", "--no-hooks")
    project.write("dvlite.yaml", "stages:\n  s: {cmd: x, params: [a]}\n")
    project.write("params.yaml", "a: 1\n")
    assert rows(project) == {("params.yaml", "a"): ("added", None, 1)}


def test_what_cannot_be_read_is_named_with_its_side_and_the_rest_is_shown(tuned):
    tuned.write("conf/o.toml", "seed = \n")
    tuned.write("params.yaml", "lr: 2\nnet: {depth: 3, act: relu}\n")
    done = tuned.dvlite("params", "diff", code=3)
    assert done.stdout == "params.yaml  lr  0.01 -> 2\n"
    assert "warning: cannot read 'conf/o.toml' line 1: invalid value" in done.stderr
    tuned.commit("Broken")
    assert (
        "warning: cannot read 'HEAD:conf/o.toml' line 1" in tuned.dvlite("params", "diff", "HEAD", "one", code=3).stderr
    )
    tuned.write("dvlite.yaml", "stages: [\n")
    assert "warning: cannot read 'dvlite.yaml' line 2" in tuned.dvlite("params", "diff", code=3).stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [(["v9"], "'v9' is not a commit"), (["one", "one", "one"], "at most two revisions can be compared, not 3")],
)
def test_revisions_that_cannot_be_compared(tuned, words, said):
    assert said in tuned.dvlite("params", "diff", *words, code=2).stderr


def test_paths_are_looked_at_from_the_folder_of_the_flag(pipeline, tmp_path, invoke):
    pipeline.line()
    pipeline.dvlite("repro")
    pipeline.commit("line")
    pipeline.write("params.yaml", "lr: 2\n")
    done = invoke("-C", str(pipeline.root), "params", "diff", "params.yaml", cwd=tmp_path, check=True)
    assert "1 -> 2" in done.stdout
