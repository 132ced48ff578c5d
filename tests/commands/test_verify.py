"""`dvlite verify` in a fresh clone without data: nothing wrong is nothing found, and each thing that is wrong is one finding that names it."""

import json
import os
import re
import shutil

import pytest

from dvlite.formats import lockfile
from tests.commands.project import Project
from tests.copies import copy_of

PIPELINE = """\
stages:
  prepare:
    cmd: bash src/prepare.sh
    deps: [src/prepare.sh, data/raw]
    params: [prepare]
    outs: [data/prepared]
    metrics: [{path: prepared.json, cache: false}]
  train:
    cmd: bash src/train.sh
    deps: [src/train.sh, data/prepared/train.txt]
    params: [lr, {conf/net.toml: [depth]}, {conf/more.json: }]
    outs: [model.bin, weights.bin]
    env: {N: 1}
    capture: [{env: NOWHERE}]
  evaluate:
    cmd: cat model.bin data/prepared/test.txt > report/all.txt; echo '{"n":1}' > metrics.json
    deps: [data/prepared/test.txt, model.bin, "tools/*.sh", lib]
    outs: ["report/*.txt"]
    metrics: [{path: metrics.json, cache: false}]
  fixed:
    cmd: cp params.yaml fixed.txt
    deps: [params.yaml]
    outs: [fixed.txt]
    frozen: true
  each-time:
    cmd: echo now > now.txt
    outs: [now.txt]
    always: true
"""
BELOW = """\
stages:
  sum:
    cmd: cat ../model.bin data.txt > ../sum.txt
    deps: [../model.bin, data.txt]
    params: [offset]
    outs: [../sum.txt]
    wdir: .
"""
PREPARE = """\
mkdir -p data/prepared
cat data/raw/*.csv > data/prepared/train.txt
sed s/row/test/ data/raw/1.csv > data/prepared/test.txt
echo '{"rows": 3}' > prepared.json
"""


def build(project):
    """Writes a project with two commits of runs, everything pushed; what the first parameter is makes no difference to outputs."""
    project.dvlite("init", "--no-hooks")
    project.dvlite("remote", "add", "../store")
    for number in "123":
        project.write(f"data/raw/{number}.csv", f"row {number}\n")
    project.dvlite("add", "data/raw")
    project.commit("Data")
    project.dvlite("push")
    project.write("dvlite.yaml", PIPELINE)
    project.write("sub/dvlite.yaml", BELOW)
    project.write("sub/data.txt", "1\n")
    project.write("sub/params.yaml", "offset: 2\n")
    project.write("src/prepare.sh", PREPARE)
    project.write("src/train.sh", 'cat data/prepared/train.txt params.yaml > model.bin; echo "$N" > weights.bin\n')
    project.write("lib/a.txt", "a").chmod(0o755)
    project.write("lib/deep/b.txt", "b")
    os.symlink("a.txt", project.root / "lib/link")
    project.write("params.yaml", "prepare: {a: 1}\nlr: 0.003\n")
    project.write("conf/net.toml", "depth = 3\n")
    project.write("conf/more.json", '{"deep": {"er": [1, 2]}, "flag": true}')
    project.write("report/.gitignore", "")
    project.write("tools/one.sh", "echo 1\n")
    project.write("tools/two.sh", "echo 2\n")
    project.dvlite("repro", "--force", "fixed")
    project.dvlite("repro")
    project.commit("First run")
    project.write("params.yaml", "prepare: {a: 2}\nlr: 0.003\n")
    project.dvlite("repro")
    project.commit("Second run")
    project.dvlite("push")


@pytest.fixture
def clone(tmp_path, invoke, monkeypatch):
    """Returns a fresh clone, by git alone, of a project whose data is on a remote of its own (`../store`)."""
    return copied_clone(tmp_path / "w", invoke, monkeypatch)


def copied_clone(folder, invoke, monkeypatch):
    def both(base):
        (base / "origin").mkdir()
        project = Project(base / "origin", invoke)
        project.git("init", "-q")
        monkeypatch.setenv("DVLITE_TRUST", str(base / "store"))
        build(project)
        project.git("repack", "-adq")  # few files to copy
        project.git("clone", "-q", str(base / "origin"), str(base / "clone"))

    copy_of("verified", both, folder)
    monkeypatch.setenv("DVLITE_TRUST", str(folder / "store"))
    return Project(folder / "clone", invoke)


@pytest.fixture(scope="module")
def restored(tmp_path_factory):
    """Returns a maker of the same clone for each test of a module, put back by git."""
    folder = tmp_path_factory.mktemp("restored") / "w"

    def clone(invoke, monkeypatch):
        if not folder.exists():
            copied_clone(folder, invoke, monkeypatch).git("tag", "as-cloned")
        monkeypatch.setenv("DVLITE_TRUST", str(folder / "store"))
        made = Project(folder / "clone", invoke)
        made.git("checkout", "-qfB", "main", "as-cloned")
        made.git("clean", "-qfd")
        return made

    return clone


def origin(clone):
    return Project(clone.root.parent / "origin", clone._invoke)


def findings(project, *args, code=1):
    return project.json("verify", *args, code=code)["findings"]


def edit(project, path, old, new, count=1):
    text = project.read(path).decode()
    assert old in text, f"{old!r} is not in {path}"
    project.write(path, text.replace(old, new, count))


def entry(project, name, file="dvlite.lock"):
    return lockfile.parse(project.read(file), file).stage(name)


def edit_entry(project, name, old, new, file="dvlite.lock"):
    """Replaces something in one entry of a lockfile."""
    text = project.read(file).decode()
    begin = text.index(f"\n  {name}:\n")
    rest = text[begin:]
    pattern = re.compile(old, re.MULTILINE)
    assert pattern.search(rest), f"{old!r} is not in the entry of {name}"
    project.write(file, text[:begin] + pattern.sub(new, rest, count=1))


# --- nothing is wrong


def test_a_fresh_clone_without_data_is_verified(clone):
    found = clone.json("verify")
    assert (found["findings"], found["unchecked"]) == ([], [])
    assert {each["verdict"] for each in found["stages"]} == {"ok", "frozen"}
    assert len(found["stages"]) == 6
    assert not clone.has("data/raw"), "no data was fetched"
    assert next(text.split(" ", 1)[-1] for text in found["fetched"]) == "run records"
    again = clone.json("verify")
    assert again["fetched"] == [], "what was fetched once is here"


def test_nothing_is_found_where_the_data_is_at_a_revision_and_in_a_range(clone):
    for project in (origin(clone), clone):
        assert findings(project, code=0) == []
        assert findings(project, "--rev", "HEAD", code=0) == []
        assert findings(project, "--rev", "HEAD~1", code=0) == []
        found = project.json("verify", "--range", "HEAD~1..HEAD")
        assert (found["commits"], found["findings"]) == (1, [])
        assert findings(project, "--remote", code=0) == []
        assert findings(project, "--remote", "--deep", code=0) == []


def test_it_changes_nothing_and_starts_nothing(clone, monkeypatch):
    for hook in ("post-checkout", "pre-commit", "reference-transaction", "post-index-change", "fsmonitor-watchman"):
        clone.write(f".git/hooks/{hook}", "#!/bin/sh\ntouch ran\n").chmod(0o755)
    clone.git("config", "core.fsmonitor", ".git/hooks/fsmonitor-watchman")
    clone.write(".gitattributes", "*.sh filter=bad\n")
    clone.git("config", "filter.bad.smudge", "touch ran; cat")
    clone.git("config", "filter.bad.clean", "touch ran; cat")
    clone.dvlite("verify")
    clone.dvlite("verify", "--rev", "HEAD")
    clone.dvlite("verify", "--remote", "--deep")
    assert not clone.has("ran")
    clone.write(".gitattributes", clone.git("show", "HEAD:.gitattributes"))
    clone.git("config", "--unset", "core.fsmonitor")
    assert clone.git("status", "--porcelain") == ""


def test_offline_what_is_not_here_is_told_and_is_no_pass(clone):
    found = clone.json("verify", "--offline", code=3)
    assert (found["findings"], found["fetched"]) == ([], [])
    whats = [each["what"] for each in found["unchecked"]]
    assert any("prepare" in what for what in whats)
    clone.dvlite("verify")
    assert findings(clone, "--offline", code=0) == []


def test_a_merge_of_branches_that_ran_other_stages_is_verified(clone):
    project = origin(clone)
    project.git("checkout", "-qb", "other")
    edit(project, "sub/params.yaml", "2", "3")
    project.dvlite("repro")
    project.commit("Another offset")
    project.git("checkout", "-q", "main")
    project.dvlite("checkout")
    edit(project, "params.yaml", "0.003", "0.01")
    project.dvlite("repro", "train", "evaluate")
    project.commit("Another rate")
    project.git("merge", "-q", "--no-edit", "other")
    assert [each["kind"] for each in findings(project)] == ["dep-changed"], "sum was not run with the new model"
    project.dvlite("repro")
    project.commit("Merged")
    assert findings(project, code=0) == []
    found = findings(project, "--range", "HEAD~3..HEAD")
    assert {each["kind"] for each in found} == {"dep-changed"}


# --- each thing that is wrong


def old_lockfile(clone):
    clone.git("checkout", "-q", "HEAD~1", "--", "dvlite.lock")


def edited_param(clone):
    edit(clone, "params.yaml", "0.003", "0.001")


def edited_toml_param(clone):
    edit(clone, "conf/net.toml", "3", "4")


def param_in_a_whole_file(clone):
    edit(clone, "conf/more.json", "[1, 2]", "[1, 3]")


def removed_param(clone):
    edit(clone, "params.yaml", "lr: 0.003\n", "")


def edited_script(clone):
    clone.write("src/train.sh", "echo\n")


def edited_file_in_a_folder(clone):
    clone.write("lib/deep/b.txt", "c")


def mode_of_a_file_in_a_folder(clone):
    (clone.root / "lib/a.txt").chmod(0o644)


def added_file_in_a_pattern(clone):
    clone.write("tools/new.sh", "echo\n")


def removed_file_in_a_pattern(clone):
    edit(clone, "dvlite.yaml", '"tools/*.sh"', '"tools/t*.sh"')


def removed_dependency(clone):
    (clone.root / "sub/data.txt").unlink()


def removed_lockfile(clone):
    (clone.root / "dvlite.lock").unlink()


def removed_pipeline(clone):
    (clone.root / "sub/dvlite.yaml").unlink()


def added_stage(clone):
    edit(clone, "sub/dvlite.yaml", "stages:\n", "stages:\n  new:\n    cmd: echo\n    outs: [x.txt]\n")


def removed_stage(clone):
    text = clone.read("dvlite.yaml").decode()
    clone.write("dvlite.yaml", text[: text.index("  evaluate:")] + text[text.index("  fixed:") :])


def removed_stage_that_others_need(clone):
    text = clone.read("dvlite.yaml").decode()
    clone.write("dvlite.yaml", text[: text.index("  prepare:")] + text[text.index("  train:") :])


def removed_entry(clone):
    edit_entry(clone, "prepare", r"  prepare:\n(    .*\n)+", "")


def dropped_dependency(clone):
    edit(clone, "dvlite.yaml", "deps: [src/prepare.sh, data/raw]", "deps: [data/raw]")


def new_dependency(clone):
    edit(clone, "dvlite.yaml", "deps: [src/prepare.sh, ", "deps: [src/prepare.sh, src/train.sh, ")


def dependency_dropped_from_the_entry(clone):
    edit_entry(clone, "prepare", r"      src/prepare\.sh: .*\n", "")


def dependency_edited_in_the_entry(clone):
    edit_entry(clone, "prepare", r"(src/prepare\.sh: \{oid: blake3:)[0-9a-f]{8}", r"\g<1>00000000")


def param_edited_in_the_entry(clone):
    edit_entry(clone, "train", r"params.yaml:lr\": 0\.003", r'params.yaml:lr": 0.004')


def cmd_edited_in_the_entry(clone):
    edit_entry(clone, "train", r"bash src/train\.sh", "bash src/other.sh")


def output_edited_in_the_entry(clone):
    edit_entry(clone, "train", r"(model\.bin: \{oid: blake3:)[0-9a-f]{8}", r"\g<1>00000000")


def directory_edited_in_the_entry(clone):
    edit_entry(clone, "prepare", r"(data/prepared: \{oid: manifest:)[0-9a-f]{8}", r"\g<1>00000000")


def output_dropped_from_the_entry(clone):
    edit_entry(clone, "train", r"      weights\.bin: .*\n", "")


def size_edited_in_the_entry(clone):
    edit_entry(clone, "train", r"(weights\.bin: \{.*size: )\d+", r"\g<1>77")


def swapped_outputs(clone):
    outs = {out.path: out for out in entry(clone, "train").outs}
    one, other = outs["model.bin"].oid, outs["weights.bin"].oid
    edit_entry(clone, "train", rf"(      model\.bin: \{{oid: ){one}", rf"\g<1>{other}")
    edit_entry(clone, "train", rf"(      weights\.bin: \{{oid: ){other}", rf"\g<1>{one}")


def edited_key(clone):
    edit_entry(clone, "train", r"key: [0-9a-f]{8}", "key: 00000000")


def edited_run(clone):
    edit_entry(clone, "train", r"run: run:[0-9a-f]{8}", "run: run:00000000")


def run_of_another_stage(clone):
    edit_entry(clone, "train", r"run: run:[0-9a-f]{64}", f"run: {entry(clone, 'prepare').run}")


def run_of_the_same_stage(clone):
    old = lockfile.parse(clone.git("show", "HEAD~1:dvlite.lock").encode(), "x").stage("prepare")
    edit_entry(clone, "prepare", r"run: run:[0-9a-f]{64}", f"run: {old.run}")


def no_run(clone):
    edit_entry(clone, "train", r"    run: .*\n", "")


def edited_pointer(clone):
    edit(clone, "data/raw.dvlite", "oid: manifest:", "oid: manifest:00000000")
    text = clone.read("data/raw.dvlite").decode()
    clone.write("data/raw.dvlite", re.sub(r"(manifest:[0-9a-f]{64})[0-9a-f]{8}", r"\1", text))


def size_in_a_pointer(clone):
    edit(clone, "data/raw.dvlite", "size: 18", "size: 19")


def malformed_pointer(clone):
    edit(clone, "data/raw.dvlite", "size: 18", "size: many")


def conflict_in_a_pointer(clone):
    text = clone.read("data/raw.dvlite").decode()
    clone.write("data/raw.dvlite", f"dvlite: 1\n<<<<<<< HEAD\n{text}=======\n{text}>>>>>>> other\n")


def malformed_lockfile(clone):
    edit_entry(clone, "sum", r"key: [0-9a-f]{8}", "key: zzzzzzzz", file="sub/dvlite.lock")


def malformed_pipeline(clone):
    edit(clone, "sub/dvlite.yaml", "deps:", "depends:")


def circle(clone):
    edit(clone, "dvlite.yaml", "deps: [src/prepare.sh, data/raw]", "deps: [src/prepare.sh, data/raw, model.bin]")


def pointer_inside_another(clone):
    clone.write("data/raw/1.csv.dvlite", clone.read("data/raw.dvlite"))
    clone.git("add", "-f", "data/raw/1.csv.dvlite")


def edited_cmd(clone):
    edit(clone, "dvlite.yaml", "bash src/train.sh", "bash -x src/train.sh")


def edited_variable(clone):
    edit(clone, "dvlite.yaml", "env: {N: 1}", "env: {N: 2}")


def dropped_variable(clone):
    edit(clone, "dvlite.yaml", "    env: {N: 1}\n", "")


def new_capture(clone):
    edit(clone, "dvlite.yaml", "{env: NOWHERE}", "{env: NOWHERE}, numpy")


def other_folder(clone):
    edit(clone, "sub/dvlite.yaml", "wdir: .", "wdir: ../sub/.")
    edit(clone, "sub/dvlite.yaml", "wdir: ../sub/.", "wdir: deep")
    edit(clone, "sub/dvlite.yaml", "[../model.bin, data.txt]", "[../../model.bin, ../data.txt]")
    edit(clone, "sub/dvlite.yaml", "[offset]", "[{../params.yaml: [offset]}]")
    edit(clone, "sub/dvlite.yaml", "outs: [../sum.txt]", "outs: [../../sum.txt]")


def new_output(clone):
    edit(clone, "dvlite.yaml", "outs: [now.txt]", "outs: [now.txt, then.txt]")


def dropped_output(clone):
    edit(clone, "dvlite.yaml", "outs: [model.bin, weights.bin]", "outs: [model.bin]")


def output_as_a_pattern(clone):
    edit(clone, "dvlite.yaml", "outs: [model.bin, weights.bin]", 'outs: [model.bin, "weight*.bin"]')


def output_for_git(clone):
    edit(clone, "dvlite.yaml", "outs: [now.txt]", "outs: [{path: now.txt, push: false}]")


def edited_metrics(clone):
    clone.write("metrics.json", '{"n":2}\n')


def removed_metrics(clone):
    (clone.root / "prepared.json").unlink()


# what is done, and what is found: its kind, the file, what stands on the line, what the message names
TAMPERED = [
    (
        old_lockfile,
        "param-changed",
        "dvlite.lock",
        "params.yaml:prepare.a",
        "params.yaml prepare.a is 2, locked with 1",
    ),
    (edited_param, "param-changed", "dvlite.lock", "params.yaml:lr", "params.yaml lr is 0.001, locked with 0.003"),
    (edited_toml_param, "param-changed", "dvlite.lock", "conf/net.toml:depth", "is 4, locked with 3"),
    (param_in_a_whole_file, "param-changed", "dvlite.lock", "deep.er", "[1, 3], locked with [1, 2]"),
    (removed_param, "param-missing", "dvlite.yaml", "params: [lr", "'lr'"),
    (edited_script, "dep-changed", "dvlite.lock", "src/train.sh", "src/train.sh"),
    (edited_file_in_a_folder, "dep-changed", "dvlite.lock", "      lib: ", "lib is"),
    (mode_of_a_file_in_a_folder, "dep-changed", "dvlite.lock", "      lib: ", "lib is"),
    (added_file_in_a_pattern, "dep-added", "dvlite.yaml", "tools/*.sh", "tools/new.sh"),
    (removed_file_in_a_pattern, "dep-removed", "dvlite.lock", "tools/one.sh", "tools/one.sh"),
    (removed_dependency, "dep-missing", "sub/dvlite.yaml", "data.txt", "sub/data.txt"),
    (removed_lockfile, "lockfile-missing", "dvlite.yaml", "prepare:", "dvlite.lock"),
    (removed_pipeline, "pipeline-missing", "sub/dvlite.lock", "  sum:", "sub/dvlite.yaml"),
    (added_stage, "stage-not-locked", "sub/dvlite.yaml", "  new:", "sub:new"),
    (removed_stage, "stage-unknown", "dvlite.lock", "  evaluate:", "evaluate"),
    (removed_stage_that_others_need, "stage-unknown", "dvlite.lock", "  prepare:", "prepare"),
    (removed_entry, "stage-not-locked", "dvlite.yaml", "  prepare:", "prepare"),
    (dropped_dependency, "dep-removed", "dvlite.lock", "src/prepare.sh", "src/prepare.sh"),
    (new_dependency, "dep-added", "dvlite.yaml", "src/train.sh", "src/train.sh"),
    (dependency_dropped_from_the_entry, "key-mismatch", "dvlite.lock", "    deps:", "src/prepare.sh is left out"),
    (dependency_edited_in_the_entry, "key-mismatch", "dvlite.lock", "src/prepare.sh", "src/prepare.sh is 00000000"),
    (param_edited_in_the_entry, "key-mismatch", "dvlite.lock", "params.yaml:lr", "0.004"),
    (cmd_edited_in_the_entry, "key-mismatch", "dvlite.lock", "cmd: ", "bash src/other.sh"),
    (output_edited_in_the_entry, "record-mismatch", "dvlite.lock", "model.bin", "model.bin is 00000000"),
    (directory_edited_in_the_entry, "record-mismatch", "dvlite.lock", "data/prepared", "data/prepared is 00000000"),
    (output_dropped_from_the_entry, "record-mismatch", "dvlite.lock", "    outs:", "weights.bin is left out"),
    (size_edited_in_the_entry, "record-mismatch", "dvlite.lock", "weights.bin", "weights.bin is 77 bytes,"),
    (swapped_outputs, "record-mismatch", "dvlite.lock", "model.bin", "model.bin"),
    (edited_key, "key-mismatch", "dvlite.lock", "key: 00000000", "00000000"),
    (edited_run, "record-missing", "dvlite.lock", "run: run:00000000", "train-000000"),
    (run_of_another_stage, "record-mismatch", "dvlite.lock", "run: run:", "another key"),
    (run_of_the_same_stage, "record-mismatch", "dvlite.lock", "run: run:", "another key"),
    (no_run, "record-missing", "dvlite.lock", "  train:", "names no run"),
    (edited_pointer, "dep-changed", "dvlite.lock", "data/raw", "data/raw is 00000000 by data/raw.dvlite"),
    (size_in_a_pointer, "size-mismatch", "data/raw.dvlite", "size: 19", "19 bytes"),
    (malformed_pointer, "pointer-malformed", "data/raw.dvlite", "size: many", "'size'"),
    (conflict_in_a_pointer, "merge-conflict", "data/raw.dvlite", "<<<<<<<", "conflict"),
    (malformed_lockfile, "lockfile-malformed", "sub/dvlite.lock", "key: zzz", "'key'"),
    (malformed_pipeline, "pipeline-malformed", "sub/dvlite.yaml", "depends:", "'depends'"),
    (circle, "pipeline-malformed", "dvlite.yaml", "", "circle"),
    (pointer_inside_another, "overlap", "data/raw/1.csv.dvlite", "dvlite: 1", "data/raw"),
    (edited_cmd, "cmd-changed", "dvlite.lock", "cmd: ", "bash -x"),
    (edited_variable, "env-changed", "dvlite.lock", '"N": ', "variable N is 2, locked with 1"),
    (dropped_variable, "env-removed", "dvlite.lock", '"N": ', "variable N"),
    (new_capture, "capture-added", "dvlite.yaml", "  train:", "numpy"),
    (other_folder, "wdir-changed", "sub/dvlite.lock", "  sum:", "deep"),
    (new_output, "output-added", "dvlite.yaml", "then.txt", "then.txt"),
    (dropped_output, "output-removed", "dvlite.lock", "weights.bin", "weights.bin"),
    (output_as_a_pattern, "output-redeclared", "dvlite.yaml", "weight*.bin", "train"),
    (output_for_git, "output-redeclared", "dvlite.lock", "now.txt", "now.txt"),
    (edited_metrics, "output-changed", "dvlite.lock", "metrics.json", "metrics.json"),
    (removed_metrics, "output-missing", "dvlite.lock", "prepared.json", "prepared.json"),
]


@pytest.mark.parametrize(
    ("tamper", "kind", "file", "line", "named"), TAMPERED, ids=[each[0].__name__ for each in TAMPERED]
)
def test_what_is_wrong_is_one_finding_that_names_it(restored, invoke, monkeypatch, tamper, kind, file, line, named):
    clone = restored(invoke, monkeypatch)
    tamper(clone)
    found = findings(clone)
    assert [(each["kind"], each["file"]) for each in found] == [(kind, file)], found
    lines = clone.read(file).decode().split("\n")
    assert line in lines[found[0]["line"] - 1], f"{found[0]}: {lines[found[0]['line'] - 1]}"
    assert named in found[0]["message"]
    assert found[0]["fix"]
    clone.git("add", "-A")
    clone.git("commit", "-qm", "Tamper")
    clone.git("checkout", "-q", "HEAD~1")
    committed = findings(clone, "--rev", "main")
    same = ("kind", "file", "line", "stage", "path", "message")
    assert [{name: each[name] for name in same} for each in committed] == [{name: found[0][name] for name in same}]


def test_a_finding_is_shown_with_its_file_and_line(clone):
    edited_param(clone)
    (found,) = findings(clone)
    shown = clone.dvlite("verify", code=1).stdout.splitlines()
    assert shown[0].startswith(f"dvlite.lock:{found['line']}: ")
    assert shown[-1].startswith("1 finding in ")


@pytest.mark.parametrize(
    "tamper", [dependency_dropped_from_the_entry, dependency_edited_in_the_entry, cmd_edited_in_the_entry, edited_key]
)
def test_an_edited_entry_is_found_without_the_record_of_its_run(clone, tamper):
    tamper(clone)
    assert [each["kind"] for each in findings(clone, "--offline", "prepare", "train")] == ["key-mismatch"]


def test_an_edited_output_is_found_without_the_record_of_its_run(clone):
    clone.git("config", "dvlite.test", "1")
    output_edited_in_the_entry(clone)
    found = findings(clone, "--offline")
    assert {(each["kind"], each["stage"]) for each in found} == {
        ("dep-changed", "evaluate"),
        ("dep-changed", "sub:sum"),
    }


# --- the remote


def packs(clone, kind):
    """Returns the packs of the store of one class: 1 is listings, 2 small files, 3 chunks; oldest first."""
    found = [path for path in (clone.root.parent / "store/packs").rglob("*") if path.is_file()]
    return sorted((path for path in found if path.read_bytes()[8] == kind), key=lambda path: path.stat().st_mtime_ns)


def pack_of(clone, content, kind=2):
    return next(path for path in packs(clone, kind) if content in path.read_bytes())


def test_a_pack_that_is_not_on_the_remote_is_told_at_the_pointer(clone):
    pack_of(clone, b"row 1\n").unlink()
    assert findings(clone, code=0) == []
    (found,) = findings(clone, "--remote")
    assert (found["kind"], found["file"], found["line"], found["path"]) == (
        *("not-on-remote", "data/raw.dvlite", 3, "data/raw"),
    )
    assert found["message"].startswith("3 of 3 files are not on origin: data/raw/1.csv and 2 more")
    assert findings(clone, "--remote", "--rev", "HEAD")[0]["commit"] == clone.git("rev-parse", "HEAD").strip()
    (again,) = findings(origin(clone), "--remote")
    assert again["message"] == found["message"], "that it is in the cache here does not count"


def test_data_that_was_never_pushed_is_named_at_pointer_and_lockfile(clone):
    project = origin(clone)
    project.write("data/new.bin", os.urandom(100))
    project.dvlite("add", "data/new.bin")
    edit(project, "sub/params.yaml", "2", "3")
    edit(project, "sub/data.txt", "1", "2")
    project.dvlite("repro")
    found = findings(project, "--remote")
    assert [(each["kind"], each["file"], each["path"]) for each in found] == [
        ("not-on-remote", "data/new.bin.dvlite", "data/new.bin"),
        ("not-on-remote", "sub/dvlite.lock", None),  # the record of its run
        ("not-on-remote", "sub/dvlite.lock", "sum.txt"),
    ]
    project.dvlite("push")
    assert findings(project, "--remote", code=0) == []


def test_a_damaged_pack_is_found_by_reading_it(clone):
    path = pack_of(clone, b"row 1\n")
    data = path.read_bytes()
    at = data.index(b"row 1\n")
    path.chmod(0o644)
    path.write_bytes(data[:at] + b"X" + data[at + 1 :])
    assert findings(clone, "--remote", code=0) == []
    (found,) = findings(clone, "--remote", "--deep")
    assert (found["kind"], found["file"], found["path"]) == ("remote-corrupt", "data/raw.dvlite", "data/raw")
    assert "data/raw/1.csv" in found["message"]


def test_a_large_file_is_read_through_its_chunks(clone):
    project = origin(clone)
    project.write("big.bin", os.urandom(3_000_000))
    project.dvlite("add", "big.bin")
    project.dvlite("push")
    assert findings(project, "--remote", "--deep", code=0) == []
    path = packs(clone, 3)[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    assert findings(project, "--remote", code=0) == []
    (found,) = findings(project, "--remote", "--deep")
    assert (found["kind"], found["file"]) == ("remote-corrupt", "big.bin.dvlite")
    path.unlink()
    (found,) = findings(project, "--remote")
    assert (found["kind"], found["message"]) == ("not-on-remote", "big.bin is not on origin")


@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_a_truncated_pack_is_found_without_reading_it_and_push_mends_it(clone, kept):
    project = origin(clone)
    project.write("big.bin", os.urandom(3_000_000))
    project.dvlite("add", "big.bin")
    project.commit("Large")
    project.dvlite("push")
    fresh = Project(project.root.parent / "fresh", clone._invoke)
    project.git("clone", "-q", str(project.root), str(fresh.root))
    path = packs(clone, 3)[0]
    path.chmod(0o644)
    os.truncate(path, int(path.stat().st_size * kept))
    (found,) = findings(fresh, "--remote")
    assert (found["kind"], found["message"]) == ("not-on-remote", "big.bin is not on origin")
    project.dvlite("push")
    assert findings(fresh, "--remote", code=0) == []
    fresh.dvlite("pull", "big.bin")


def test_a_record_that_is_nowhere_is_a_finding(clone):
    shutil.rmtree(clone.root.parent / "store/runs")
    found = clone.json("verify", code=1)
    assert {each["kind"] for each in found["findings"]} == {"record-missing"}
    assert len(found["findings"]) == 6
    records = [each for each in findings(origin(clone), "--remote") if each["path"] is None]
    assert {each["file"] for each in records} == {"dvlite.lock", "sub/dvlite.lock"}
    assert any("the records of 5 runs" in each["message"] for each in records)


def test_a_remote_that_is_not_there_is_no_pass(clone):
    clone.dvlite("verify")
    shutil.rmtree(clone.root.parent / "store")
    assert findings(clone, code=0) == []
    found = clone.json("verify", "--remote", code=None)
    assert found["findings"] or found["unchecked"]


def test_the_remote_of_a_range_has_to_have_every_version(clone):
    project = origin(clone)
    before = project.git("rev-parse", "HEAD").strip()
    project.write("data/raw/4.csv", "row 4\n")
    project.dvlite("add", "-u")
    project.dvlite("repro")
    project.commit("More")
    gone = project.git("rev-parse", "HEAD").strip()
    project.write("data/raw/4.csv", "row 5\n")
    project.dvlite("add", "-u")
    project.dvlite("repro")
    project.commit("Other")
    project.dvlite("push")
    assert findings(project, "--remote", code=0) == []
    found = findings(project, "--remote", "--range", f"{before}..HEAD")
    assert {each["commit"] for each in found} == {gone}
    assert "data/raw" in {each["path"] for each in found}


# --- ranges


def test_each_commit_of_a_range_is_verified_and_named(clone):
    start = clone.git("rev-parse", "HEAD").strip()
    clone.write("README.md", "words")
    clone.commit("Nothing that matters")
    edited_param(clone)
    clone.commit("Wrong")
    wrong = clone.git("rev-parse", "HEAD").strip()
    clone.write("README.md", "more words")
    clone.commit("Still wrong")
    edit(clone, "params.yaml", "0.001", "0.003")
    clone.commit("Right")
    found = clone.json("verify", "--range", f"{start}..HEAD", code=1)
    assert found["commits"] == 4
    (one,) = found["findings"]
    assert (one["kind"], one["commit"], one["also"]) == ("param-changed", wrong, 1)
    shown = clone.dvlite("verify", "--range", f"{start}..HEAD", code=1).stdout
    assert shown.startswith(f"{wrong[:7]}:dvlite.lock:")
    assert "1 commit after it" in shown


def test_an_empty_range_is_fine_and_what_is_no_range_is_refused(clone):
    assert clone.json("verify", "--range", "HEAD..HEAD")["commits"] == 0
    for words in ("HEAD", "HEAD~1...HEAD", "nothing..HEAD"):
        clone.dvlite("verify", "--range", words, code=2)
    clone.dvlite("verify", "--range", "HEAD~1..HEAD", "--rev", "HEAD", code=2)
    clone.dvlite("verify", "--remote", "--offline", code=2)
    clone.dvlite("verify", "--deep", code=2)


# --- paths


def test_only_what_is_asked_for_is_verified(clone):
    edited_param(clone)
    edited_metrics(clone)
    clone.write("sub/data.txt", "other")
    assert [each["stage"] for each in findings(clone, "train")] == ["train"]
    assert [each["stage"] for each in findings(clone, "model.bin")] == ["train"]
    assert [each["stage"] for each in findings(clone, "sub")] == ["sub:sum"]
    assert [each["stage"] for each in findings(clone, "sub:sum")] == ["sub:sum"]
    assert findings(clone, "data", code=0) == []
    assert len(findings(clone)) == 3
    assert "no-such" in clone.dvlite("verify", "no-such", code=2).stderr


# --- places where git has something of its own


def test_a_file_that_git_left_out_of_the_work_tree_is_taken_from_its_index(clone):
    clone.git("status")  # it was copied: git is to know again that nothing was edited
    clone.git("sparse-checkout", "set", "--no-cone", "/*", "!/lib", "!/sub")
    assert not clone.has("lib")
    assert findings(clone, code=0) == []


def test_json_has_the_place_of_each_finding(clone):
    edited_script(clone)
    done = json.loads(clone.dvlite("--json", "verify", code=1).stdout)
    (found,) = done["findings"]
    assert (found["stage"], found["path"], found["commit"]) == ("train", "src/train.sh", None)
    assert (found["old"][:7], found["new"][:7]) == ("blake3:", "blake3:")
    assert {each["stage"]: each["verdict"] for each in done["stages"]}["train"] == "finding"
