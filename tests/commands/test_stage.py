"""`stage add` writes what a person would have written; `stage list` shows all of it."""

import json
import os

import pytest

from dvlite.formats.pipeline import parse


def test_a_new_file_is_made_with_the_schema_for_editors(project):
    done = project.dvlite(
        "stage", "add", "prepare", "-d", "prepare.py", "-o", "tiles", "--", "python", "prepare.py", "a b"
    )
    assert project.read("dvlite.yaml").decode() == (
        "# yaml-language-server: $schema=.dvlite/schema.json\n"
        "stages:\n"
        "  prepare:\n"
        "    cmd: python prepare.py 'a b'\n"
        "    deps:\n"
        "      - prepare.py\n"
        "    outs:\n"
        "      - tiles\n"
    )
    assert json.loads(project.read(".dvlite/schema.json"))["title"] == "dvlite.yaml"
    assert done.stdout == (
        "Added stage prepare in dvlite.yaml\n"
        "staged in git: dvlite.yaml .dvlite/schema.json\n"
        "next: dvlite repro prepare\n"
    )
    assert project.git("diff", "--cached", "--name-only").split() == [".dvlite/schema.json", "dvlite.yaml"]


EVERYTHING = (
    *("-d", "../src/train.py", "-d", "data/*.csv", "-o", "model.pt", "-O", "report", "--persist", "state"),
    *("-p", "lr,net.depth", "-p", "../conf/o.toml:seed", "-p", "all.json:", "-m", "m.json", "-M", "git.yaml"),
    *("-e", "A=1", "-e", "B=x=y", "-c", "numpy", "-c", "env:HOSTNAME", "-c", "cmd:nvcc --version"),
    *("-w", "work", "--desc", "trains: slowly", "--always"),
)


def test_every_flag_is_written_relative_to_where_the_stage_runs(project):
    (project.root / "sub").mkdir()
    project.dvlite("stage", "add", "train", *EVERYTHING, "--", "python ../../src/train.py | tee log", cwd="sub")
    (found,) = parse(project.read("sub/dvlite.yaml"), "x").stages
    assert (found.cmd, found.wdir, found.desc, found.always) == (
        "python ../../src/train.py | tee log",
        "work",
        "trains: slowly",
        True,
    )
    assert [dep.path for dep in found.deps] == ["../../src/train.py", "../data/*.csv"]
    assert [(out.path, out.cache, out.persist, out.metric) for out in found.outs] == [
        ("../model.pt", True, False, False),
        ("../report", False, False, False),
        ("../state", True, True, False),
        ("../m.json", True, False, True),
        ("../git.yaml", False, False, True),
    ]
    assert [(param.file, param.keys) for param in found.params] == [
        ("params.yaml", ("lr",)),
        ("params.yaml", ("net.depth",)),
        ("../../conf/o.toml", ("seed",)),
        ("../all.json", ()),
    ]
    assert found.env == {"A": "1", "B": "x=y"}
    assert [(item.kind, item.name) for item in found.capture] == [
        ("package", "numpy"),
        ("env", "HOSTNAME"),
        ("command", "nvcc --version"),
    ]
    assert project.read("sub/dvlite.yaml").startswith(b"# yaml-language-server: $schema=../.dvlite/schema.json\n")


FILE = """\
# ours
stages:
  # the first
  a: {cmd: make a, deps: [x], outs: [a.bin]}   # quick

  b:
    cmd: make b   # slow
    deps:
      - a.bin   # from a
    outs: [b.bin]
    frozen: true
# the end
"""


def test_adding_a_stage_leaves_every_line_and_comment(project):
    project.write("dvlite.yaml", FILE)
    project.dvlite("stage", "add", "c", "-o", "c.bin", "--", "make", "c")
    added = "\n  c:\n    cmd: make c\n    outs:\n      - c.bin\n"
    assert project.read("dvlite.yaml").decode() == FILE.replace("    frozen: true\n", "    frozen: true\n" + added)


def test_replacing_a_stage_keeps_the_comments_beside_what_stays(project):
    project.write("dvlite.yaml", FILE)
    said = project.dvlite("stage", "add", "b", "-o", "b.bin", "--", "make", "b", code=2).stderr
    assert "there is a stage 'b' in 'dvlite.yaml' already" in said
    assert "--force" in said
    assert project.read("dvlite.yaml").decode() == FILE
    done = project.json("stage", "add", "-f", "b", "-d", "a.bin", "-o", "new.bin", "--", "make", "b")
    assert done["replaced"]
    assert project.read("dvlite.yaml").decode() == FILE.replace(
        "    outs: [b.bin]\n    frozen: true\n", "    outs: [new.bin]\n"
    )


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["x", "-o", "a.bin"], "'a.bin' is an output of a already"),
        (["x", "-o", "a.bin/inner"], "'a.bin/inner' is inside 'a.bin'; 'a.bin' is an output of a"),
        (["x", "-o", "sub/deep"], "'sub/deep/o' is inside 'sub/deep'; 'sub/deep/o' is an output of sub:other"),
        (["x", "-m", "sub/deep/o/m.json"], "'sub/deep/o/m.json' is inside 'sub/deep/o'"),
        (["x", "-o", "data/raw"], "'data/raw' is tracked already"),
        (["x", "-o", "data/raw/new"], "'data/raw/new' is inside 'data/raw'; 'data/raw' is tracked"),
        (["x", "-O", "data"], "'data/raw' is inside 'data'; 'data/raw' is tracked"),
        (["x", "-o", "../y"], "'../y' is outside the repository"),
        (["x", "-d", "/etc/passwd"], "is outside the repository"),
        (["x", "-o", "y", "-o", "./y"], "the output 'y' is given twice"),
        (["x", "-d", "sub/deep/o", "-o", "x"], "the stages depend on each other in a circle"),
        (["x", "-d", "y", "-o", "y"], "'y', a dependency of x, is or holds its own output"),
        (["x", "-o", "."], "cannot be an output"),
        (["x", "-o", ".git/hooks/x"], "could be taken for '.git'"),
        (["x", "-o", "dvlite.lock"], "cannot be an output"),
        (["x", "-m", "m.png"], "'m.png' is not YAML, JSON, TOML, CSV, JSON lines or text"),
        (["x", "-e", "A"], "'A' is not NAME=VALUE"),
        (["x", "-e", "A-B=1"], "'A-B' cannot be the name of a variable"),
        (["x", "-c", "a b"], "'a b' cannot be the name of a package"),
        (["x y"], "'x y' cannot be the name of a stage"),
        (["x/y"], "'x/y' cannot be the name of a stage"),
    ],
)
def test_what_cannot_be_added_is_one_line_and_nothing_is_written(project, flags, words):
    project.write("data/raw", "r")
    project.dvlite("add", "data/raw")
    project.write("dvlite.yaml", FILE)
    project.write("sub/dvlite.yaml", "stages:\n  other: {cmd: make, deps: [../b.bin], outs: [deep/o]}\n")
    before = project.read("dvlite.yaml")
    said = project.dvlite("stage", "add", *flags, "--", "make", code=2).stderr
    assert words in said
    assert said.startswith("error: ")
    assert "\nhint: " in said
    assert project.read("dvlite.yaml") == before
    assert not project.has(".dvlite/schema.json")


def test_a_command_is_needed(project):
    said = project.dvlite("stage", "add", "x", "-o", "y", code=2).stderr
    assert said == "error: no command is given\nhint: dvlite stage add x ... -- python script.py\n"
    assert not project.has("dvlite.yaml")


@pytest.mark.parametrize(
    ("words", "cmd"),
    [
        (["make"], "make"),
        (["python", "a.py", "--name", "a b", "-v"], "python a.py --name 'a b' -v"),
        (["python a.py | tee log && wait"], "python a.py | tee log && wait"),
        (["echo", "$HOME; rm -rf x"], "echo '$HOME; rm -rf x'"),
        (["python a.py\npython b.py"], "python a.py\npython b.py"),
        (["if true; then\n\n  echo 'x: y' # z\nfi"], "if true; then\n\n  echo 'x: y' # z\nfi"),
    ],
)
def test_the_command_is_what_the_shell_will_see(project, words, cmd):
    project.dvlite("stage", "add", "x", "--", *words)
    assert parse(project.read("dvlite.yaml"), "x").stages[0].cmd == cmd


def test_no_stage_leaves_git_alone(project):
    done = project.dvlite("stage", "add", "x", "--no-stage", "--", "make")
    assert "not staged: git add dvlite.yaml .dvlite/schema.json" in done.stdout
    assert project.git("diff", "--cached", "--name-only") == ""


def test_a_broken_file_is_not_touched_and_a_broken_neighbour_is_no_obstacle(project):
    project.write("dvlite.yaml", "stages: [\n")
    assert "cannot read 'dvlite.yaml' line 2" in project.dvlite("stage", "add", "x", "--", "make", code=1).stderr
    assert project.read("dvlite.yaml") == b"stages: [\n"
    (project.root / "sub").mkdir()
    project.dvlite("stage", "add", "x", "--", "make", cwd="sub")


def test_a_pipeline_file_that_is_a_link_is_refused(project):
    outside = project.root.parent / "outside.yaml"
    outside.write_text("stages: {}\n")
    os.symlink(outside, project.root / "dvlite.yaml")
    assert "it is a symbolic link" in project.dvlite("stage", "add", "x", "--", "make", code=1).stderr
    assert outside.read_text() == "stages: {}\n"


def test_the_list_names_address_outputs_and_purpose(project):
    assert "There are no stages yet." in project.dvlite("stage", "list").stdout
    project.write("dvlite.yaml", FILE.replace("frozen: true", "frozen: true\n    desc: for b"))
    project.write(
        "sub/dvlite.yaml", "stages:\n  c: {cmd: make, outs: [1.bin, b, c, d], metrics: [m.json]}\n  d: {cmd: x}\n"
    )
    assert project.dvlite("stage", "list").stdout == (
        "a      -> a.bin\n"
        "b      -> b.bin                               for b (frozen)\n"
        "sub:c  -> sub/1.bin, sub/b, sub/c and 2 more\n"
        "sub:d\n"
    )
    rows = project.json("stage", "list", cwd="sub")["stages"]
    assert [row["stage"] for row in rows] == ["a", "b", "sub:c", "sub:d"]
    assert (rows[1]["file"], rows[1]["line"], rows[1]["frozen"], rows[1]["deps"]) == ("dvlite.yaml", 6, True, ["a.bin"])
    assert (rows[2]["outs"], rows[2]["metrics"]) == (["sub/1.bin", "sub/b", "sub/c", "sub/d"], ["sub/m.json"])
    assert "-> 1.bin, b, c and 2 more" in project.dvlite("stage", "list", cwd="sub").stdout


def test_the_list_shows_what_can_be_read_and_leaves_with_3(project):
    project.write("dvlite.yaml", FILE)
    project.write("sub/dvlite.yaml", "stages:\n  c:\n    cmd: x\n    dep: [y]\n")
    done = project.dvlite("stage", "list", code=3)
    assert done.stdout.startswith("a  -> a.bin\n")
    assert (
        "warning: cannot read 'sub/dvlite.yaml' line 4: 'dep' is not known in a stage; did you mean 'deps'?"
        in done.stderr
    )
    assert "error: 1 pipeline file could not be read" in done.stderr


def test_no_command_of_a_pipeline_file_runs(project):
    project.write("dvlite.yaml", "stages:\n  a: {cmd: touch PWNED, outs: [o], metrics: [m.json], params: [lr]}\n")
    for words in (["stage", "list"], ["stage", "add", "x", "--", "touch", "PWNED"], ["params", "diff"], ["metrics", "show"], ["metrics", "diff"]):  # fmt: skip
        project.dvlite(*words)
    assert not project.has("PWNED")


EDITED = """\
# top
stages:
  # first
  prep: {cmd: "echo 1 > p", outs: [p]}  # flow
  train:  # the model
    cmd: cp p m
    deps: [p]
    outs: [m]
"""


def test_stages_are_renamed_frozen_and_removed_as_text(pipeline):
    pipeline.write("dvlite.yaml", EDITED)
    pipeline.dvlite("repro")
    pipeline.commit("Run")
    said = pipeline.json("stage", "rename", "train", "fit")
    assert (said["old"], said["stages"], said["staged"]) == ("train", ["fit"], ["dvlite.lock", "dvlite.yaml"])
    renamed = EDITED.replace("train:", "fit:")
    assert pipeline.read("dvlite.yaml").decode() == renamed
    assert pipeline.is_up_to_date(), "the entry of the lockfile went along"
    pipeline.commit("Rename")
    pipeline.dvlite("verify")
    pipeline.dvlite("stage", "freeze", "prep", "fit")
    assert (
        pipeline.read("dvlite.yaml").decode()
        == renamed.replace("outs: [p]}", "outs: [p], frozen: true}") + "    frozen: true\n"
    )
    assert pipeline.json("stage", "freeze", "f*")["unchanged"] == ["fit"]
    pipeline.dvlite("stage", "thaw", "prep", "fit")
    assert pipeline.read("dvlite.yaml").decode() == renamed
    assert pipeline.json("stage", "remove", "prep")["freed"] == ["p"]
    assert "prep" not in pipeline.read("dvlite.yaml").decode() + pipeline.lock().decode()
    assert "# the model" in pipeline.read("dvlite.yaml").decode()
    assert pipeline.read(".gitignore") == b"/m\n"
    assert pipeline.is_up_to_date()


def test_stage_that_is_not_there_or_a_name_that_is_taken_changes_nothing(pipeline):
    pipeline.write("dvlite.yaml", EDITED)
    for words in (
        ("rename", "train", "prep"),
        ("rename", "train", "a b"),
        ("rename", "*", "x"),
        ("remove", "train", "trian"),
    ):
        pipeline.dvlite("stage", *words, code=2)
    assert pipeline.read("dvlite.yaml").decode() == EDITED
