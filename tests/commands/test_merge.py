"""`git merge`, `rebase`, `cherry-pick` and `stash pop` of pointers and lockfiles: real git, which calls the real driver; and `resolve`."""

import os
import subprocess
from pathlib import Path

import pytest

from dvlite.formats import lockfile
from tests.commands.merging import BASE, Merging
from tests.commands.project import tree


def test_git_merge_merges_different_files(started):
    started.branch("other", {"b": "other", "new-other": "o", "c": None})
    started.main({"a": "main", "new-main": "m"})
    started.git("merge", "-q", "other")
    assert started.files() == {"a": "main", "b": "other", "new-other": "o", "new-main": "m"}
    assert started.is_clean()


def test_a_file_that_both_changed_is_a_conflict_settled_with_one_command(started):
    started.branch("other", {"b": "other", "new": "o"})
    started.main({"b": "main", "a": "main"})
    code, said = started.try_git("merge", "other")
    assert code == 1
    assert (
        "error: cannot merge 'data': changed on both sides: b\nhint: dvlite resolve data --ours or --theirs or --union"
        in said
    )
    assert b"<<<<<<< ours\noid: " in started.read("data.dvlite")
    started.dvlite("resolve", "data", "--theirs")
    started.git("commit", "-qm", "Merge")
    assert started.files() == {"a": "main", "b": "other", "c": "1", "new": "o"}
    assert started.is_clean()


def test_where_dvlite_is_not_on_the_path_git_marks_the_lines(started, tmp_path, monkeypatch):
    started.branch("other", {"b": "other"})
    started.main({"a": "main"})
    bins = tmp_path / "bin"
    bins.mkdir()
    for name in ("git", "sh"):
        (bins / name).symlink_to(
            Path(subprocess.run(["which", name], capture_output=True, text=True).stdout.strip()).resolve()
        )
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(bins))
        code, said = started.try_git("merge", "other")
    assert code == 1
    assert "CONFLICT (content): Merge conflict in data.dvlite" in said
    assert b"<<<<<<< ours\n" in started.read("data.dvlite")
    started.dvlite("resolve", "data")
    assert started.files() == {"a": "main", "b": "other", "c": "1"}


def test_a_dvlite_that_breaks_down_leaves_it_to_git(started, tmp_path, monkeypatch):
    started.branch("other", {"b": "other"})
    started.main({"a": "main"})
    broken = tmp_path / "bin" / "dvlite"
    broken.parent.mkdir()
    for code in (2, 70):
        broken.write_text(f"#!/bin/sh\nexit {code}\n")
        broken.chmod(0o755)
        with monkeypatch.context() as patch:
            patch.setenv("PATH", f"{broken.parent}{os.pathsep}{os.environ['PATH']}")
            assert started.try_git("merge", "other")[0] == 1
        assert b"<<<<<<< ours\n" in started.read("data.dvlite")
        started.git("merge", "--abort")


def test_rebase_swaps_the_sides_and_resolve_says_whose_is_whose(started):
    started.branch("mine", {"b": "mine", "new": "m"}, message="Mine")
    started.main({"b": "main"}, message="Upstream")
    started.git("checkout", "-q", "mine")
    assert started.try_git("rebase", "main")[0] == 1
    done = started.dvlite("resolve", "data", code=1)
    assert "Upstream  (what your branch is rebased onto)" in done.stdout
    assert "Mine  (your commit that is being replayed)" in done.stdout
    assert "git rebase --continue" in started.dvlite("resolve", "data", "--theirs").stdout
    started.git("-c", "core.editor=true", "rebase", "--continue")
    assert started.files() == {"a": "1", "b": "mine", "c": "1", "new": "m"}
    assert started.is_clean()


def test_rebase_of_many_commits_needs_no_hand(started):
    started.git("checkout", "-qb", "mine")
    for number in range(3):
        started.main({f"mine-{number}": "m"})
    started.git("checkout", "-q", "main")
    started.dvlite("checkout")
    started.main({"a": "main"})
    started.git("checkout", "-q", "mine")
    started.git("rebase", "-q", "main")
    assert started.files() == {"a": "main", "b": "1", "c": "1", "mine-0": "m", "mine-1": "m", "mine-2": "m"}


def test_cherry_pick_and_revert_take_one_change(started):
    started.branch("other", {"b": "other"})
    started.main({"a": "main"})
    started.git("cherry-pick", "other")
    assert started.files() == {"a": "main", "b": "other", "c": "1"}
    started.git("revert", "--no-edit", "HEAD~1")
    assert started.files() == {"a": "1", "b": "other", "c": "1"}
    started.main({"b": "again"})
    assert started.try_git("revert", "--no-edit", "HEAD~2")[0] == 1
    told = started.json("resolve", "--ours")
    assert (told["operation"], told["theirs"][9:]) == ("revert", "Edit main")
    started.git("revert", "--abort")
    assert started.try_git("cherry-pick", "other")[0] == 1
    assert started.json("resolve", code=1)["operation"] == "cherry-pick"


def test_stash_pop_merges_too(started):
    started.edit({"b": "stashed"})
    started.git("stash")
    started.dvlite("checkout", "--force")
    started.main({"a": "main"})
    started.git("stash", "pop")
    assert started.files() == {"a": "main", "b": "stashed", "c": "1"}
    started.git("commit", "-qam", "Stashed")
    started.edit({"b": "stashed again"})
    started.git("stash")
    started.dvlite("checkout", "--force")
    started.main({"b": "main"})
    assert started.try_git("stash", "pop")[0] == 1
    said = started.dvlite("resolve", "data", "--theirs").stdout
    assert "theirs: what is being applied, for example a stash" in said
    assert started.files()["b"] == "stashed again"


def test_criss_cross_merges_have_an_ancestor_made_by_file(started):
    """Both sides merged each other: git makes one ancestor of two, in which what was in conflict is as it was before."""
    started.branch("other", {"b": "other", "o": "o"})
    started.main({"b": "main", "m": "m"})
    started.git("branch", "old")
    assert started.try_git("merge", "other")[0] == 1
    started.dvlite("resolve", "data", "--ours")
    started.git("commit", "-qm", "Merge other")
    started.git("checkout", "-q", "other")
    assert started.try_git("merge", "old")[0] == 1
    started.dvlite("resolve", "data", "--ours")
    started.git("commit", "-qm", "Merge old")
    assert started.files()["b"] == "other"
    started.main({"o": "o2"})
    started.git("checkout", "-q", "main")
    code, said = started.try_git("merge", "other")
    assert code == 1
    assert "cannot merge 'data': changed on both sides: b\n" in said
    started.dvlite("resolve", "data", "--theirs")
    assert started.files() == {"a": "1", "b": "other", "c": "1", "m": "m", "o": "o2"}


def test_the_merge_needs_no_data_and_the_listing_is_fetched_alone(started, tmp_path, colleague):
    """A clone without any data merges two branches; what it has then are listings."""
    started.dvlite("remote", "add", tmp_path / "store")
    started.commit("Add a remote")
    started.dvlite("push")
    started.branch("other", {"b": "other"})
    started.main({"a": "main"})
    started.dvlite("push", "--all-branches")
    clone = colleague(started)
    clone = Merging(clone.root, clone._invoke)
    clone.dvlite("init", "--no-hooks")
    clone.git("branch", "-q", "other", "origin/other")
    code, said = clone.try_git("merge", "other")
    assert code == 1
    assert "hint: dvlite remote trust " in said
    assert "hint: then: dvlite resolve data\n" in said
    assert b"<<<<<<<" in clone.read("data.dvlite")
    clone.dvlite("remote", "trust", tmp_path / "store")
    clone.git("merge", "--abort")
    code, said = clone.try_git("merge", "other")
    assert code == 0, said
    assert not list((clone.cache / "files").glob("*/*"))
    assert {each["kind"] for each in clone.json("ls", "data", "-l")["entries"]} == {"file"}
    clone.dvlite("pull")
    assert clone.files() == {"a": "main", "b": "other", "c": "1"}


def test_what_was_merged_without_its_data_can_be_pushed(started, tmp_path, colleague):
    started.dvlite("remote", "add", tmp_path / "store")
    started.commit("Add a remote")
    started.branch("other", {"b": "other"})
    started.dvlite("push", "--all-branches")
    clone = colleague(started)
    clone = Merging(clone.root, clone._invoke)
    clone.dvlite("remote", "trust", tmp_path / "store")
    clone.dvlite("init", "--no-hooks")
    clone.dvlite("pull")
    clone.git("branch", "-q", "other", "origin/other")
    clone.main({"a": "main"})
    clone.git("merge", "-q", "other")
    clone.dvlite("push")
    started.git("pull", "-q", str(clone.root))
    started.dvlite("pull")
    assert started.files() == {"a": "main", "b": "other", "c": "1"}


def test_a_listing_that_is_nowhere_is_a_conflict_that_says_so(started):
    started.branch("other", {"b": "other"})
    started.main({"a": "main"})
    for pack in (started.cache / "packs").iterdir():
        pack.unlink()
    code, said = started.try_git("merge", "other")
    assert code == 1
    assert "cannot merge 'data': cannot list 'data': object manifest:" in said
    assert "no remote is configured" in said
    started.dvlite("resolve", "data", "--ours", code=12)
    assert b"<<<<<<<" in started.read("data.dvlite")


def test_a_pointer_that_one_side_removed(started):
    started.branch("other", {"b": "other"})
    started.dvlite("rm", "data")
    started.git("commit", "-qm", "Remove")
    for choice, there in (("--ours", False), ("--theirs", True), ("--union", True)):
        assert started.try_git("merge", "other")[0] == 1
        assert started.json("resolve", code=1)["paths"][0]["conflicts"][0]["reason"] == "removed by ours"
        told = started.json("resolve", "data", choice)
        assert told["paths"][0]["removed"] is not there
        assert not told["behind"]
        assert started.has("data.dvlite") is there
        assert started.git("ls-files", "-u") == ""
        started.git("merge", "--abort") if choice != "--ours" else started.git("reset", "-q", "--hard")


def test_a_tracked_file_and_its_meta(started):
    started.write("model.pt", "1")
    started.dvlite("add", "model.pt")
    started.commit("Add a model")
    started.git("checkout", "-qb", "noted")
    started.write("model.pt.dvlite", started.read("model.pt.dvlite") + b"meta:\n  from: ann\n")
    started.commit("Note")
    started.git("checkout", "-qb", "other", "main")
    started.write("model.pt", "other")
    started.dvlite("add", "model.pt")
    started.commit("Other")
    started.git("checkout", "-q", "main")
    started.dvlite("checkout")
    started.write("model.pt", "main")
    started.dvlite("add", "model.pt")
    started.commit("Main")
    started.git("merge", "-q", "noted")
    assert started.read("model.pt.dvlite").endswith(b"meta:\n  from: ann\n")
    assert started.try_git("merge", "other")[0] == 1
    done = started.dvlite("resolve", "model.pt", "--union", code=2)
    assert "cannot keep both sides of 'model.pt'" in done.stderr
    assert "Resolved model.pt: as theirs has it" in started.dvlite("resolve", "model.pt", "--theirs").stdout
    assert started.read("model.pt.dvlite").endswith(b"meta:\n  from: ann\n")
    started.dvlite("checkout")
    assert started.read("model.pt") == b"other"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\0\xff" * 50,
        b"dvlite: 1\n",
        b"<<<<<<< x\n",
        b"dvlite: 1\nkind: directory\noid: manifest:" + b"0" * 64 + b"\nsize: 1\nfiles: 1\n",
    ],
)
@pytest.mark.parametrize("name", ["data.dvlite", "dvlite.lock"])
def test_hostile_sides_are_a_conflict_and_ours_can_be_kept(started, text, name):
    if name == "dvlite.lock":
        started.write(name, lockfile.HEADER + "dvlite: 1\nstages:\n" + lockfile.END)
        started.commit("A lockfile")
    started.git("checkout", "-qb", "hostile")
    started.write(name, text)
    started.commit("Hostile")
    started.git("checkout", "-q", "main")
    if name == "data.dvlite":
        started.main({"a": "main"})
    else:
        started.write(name, f'dvlite: 1\nstages:\n  s:\n    key: {"0" * 64}\n    cmd: "x"\n# end\n')
        started.commit("Main")
    ours = started.read(name)
    code, said = started.try_git("merge", "hostile")
    assert "Traceback" not in said
    assert "unexpected" not in said
    assert code == 1
    started.dvlite("resolve", name, code=None)
    if b"manifest" in text and name == "data.dvlite":  # well formed, and its listing may yet be had
        started.dvlite("resolve", name, "--ours", code=12)
        return
    started.dvlite("resolve", name, "--ours")
    assert started.read(name) == ours
    assert started.git("ls-files", "-u") == ""


def test_what_git_never_says_to_a_driver_is_refused_and_nothing_is_written(started):
    before = started.git("status", "--porcelain")
    for words in ((), ("a",), ("x", "y", "z", "7", "data.dvlite")):
        started.dvlite("merge-driver", *words, code=2)
    assert started.git("status", "--porcelain") == before


@pytest.mark.parametrize("broken", ["ours", "theirs"])
@pytest.mark.parametrize("driver", [True, False])
def test_a_side_that_is_no_pointer_leaves_the_other_one(started, broken, driver):
    if not driver:
        started.git("config", "--remove-section", "merge.dvlite")
    sound = {"ours": "theirs", "theirs": "ours"}[broken]
    for branch in ("ours", "theirs"):
        started.git("checkout", "-qb", branch, "main")
        started.dvlite("checkout", "--force")
        started.edit({"b": branch})
        if branch == broken:
            started.write("data.dvlite", started.read("data.dvlite").replace(b"files: ", b"files: many "))
        started.commit(branch)
    started.git("checkout", "-q", "ours")
    code, told = started.try_git("merge", "theirs")
    assert code == 1
    if driver:
        assert f"cannot merge 'data': cannot read 'data.dvlite ({broken})'" in told
        assert f"hint: dvlite resolve data --{sound}\n" in told
        assert "hint: then" not in told
    listed = started.json("resolve", code=1)["paths"]
    assert [each["reason"] for each in listed[0]["conflicts"]] == [f"{broken} cannot be read"]
    assert f"hint: dvlite resolve data --{sound}\n" in started.dvlite("resolve", code=1).stderr
    for choice in (f"--{broken}", "--union"):
        assert f"hint: dvlite resolve data --{sound}\n" in started.dvlite("resolve", choice, code=1).stderr
    assert f"Resolved data: as {sound} has it" in started.dvlite("resolve", "data", f"--{sound}").stdout
    started.git("commit", "-qm", "Merge")
    assert started.files() == BASE | {"b": sound}


def test_where_neither_side_is_a_pointer_an_older_one_is_named(started):
    for branch in ("ours", "theirs"):
        started.git("checkout", "-qb", branch, "main")
        started.write("data.dvlite", f"{branch}\n")
        started.commit(branch)
    started.try_git("merge", "ours")
    for words in ((), ("--ours",)):
        assert "git checkout COMMIT -- data.dvlite" in started.dvlite("resolve", *words, code=1).stderr
    started.git("checkout", "main", "--", "data.dvlite")
    started.git("commit", "-qm", "Merge")
    assert started.files() == BASE


def test_a_broken_pointer_that_the_other_side_removed_is_not_taken(started):
    started.git("checkout", "-qb", "other")
    started.write("data.dvlite", "broken\n")
    started.commit("Broken")
    started.git("checkout", "-q", "main")
    started.dvlite("rm", "data")
    started.git("commit", "-qm", "Remove")
    started.try_git("merge", "other")
    assert "dvlite resolve data --ours" in started.dvlite("resolve", "--theirs", code=1).stderr
    assert "removed" in started.dvlite("resolve", "data", "--ours").stdout


def test_the_driver_offers_what_works_for_a_single_file(started):
    for branch, start in (("other", "main"), ("main", None)):
        started.git("checkout", "-q", *(["-b", branch] if start else [branch]))
        started.write("model.pt", branch)
        started.dvlite("add", "model.pt")
        started.commit(branch)
    told = started.try_git("merge", "other")[1]
    assert "hint: dvlite resolve model.pt --ours or --theirs\n" in told
    assert "hint: dvlite resolve model.pt --ours or --theirs\n" in started.dvlite("checkout", "model.pt", code=1).stderr


def test_the_way_on_after_a_removal_works(started):
    started.git("checkout", "-q", "-b", "other")
    started.dvlite("rm", "data")
    started.git("commit", "-qm", "Remove")
    started.git("checkout", "-q", "main")
    started.dvlite("checkout")
    started.main({"b": "main"})
    assert started.try_git("merge", "other")[0] == 1
    assert started.dvlite("resolve", "data", "--theirs").stdout.endswith("next: dvlite checkout; git commit\n")
    started.dvlite("checkout")
    started.git("commit", "-qm", "Merge")
    assert not started.has("data")
    assert started.is_clean()


def test_union_tells_what_both_changed_from_what_one_side_removed(started):
    started.branch("other", {"a": "other", "b": None})
    started.main({"a": "main", "b": "main"})
    started.try_git("merge", "other")
    said = started.dvlite("resolve", "data", "--union").stdout
    assert "both kept where both changed: a; kept what one side removed: b\n" in said


def test_in_a_rebase_the_driver_begins_a_line_of_its_own(started):
    started.branch("other", {"b": "other"})
    started.main({"b": "main"})
    code, said = started.try_git("rebase", "other")
    assert code == 1
    assert "\nerror: cannot merge 'data'" in said
    assert "hint: dvlite resolve data" in said


# --- added with its markers


# --- lockfiles


TWO = """\
stages:
  left:
    cmd: cat l.txt > left.out
    deps: [l.txt]
    outs: [left.out]
  right:
    cmd: cat r.txt > right.out
    deps: [r.txt]
    outs: [right.out]
  both:
    cmd: cat left.out right.out > both.out
    deps: [left.out, right.out]
    outs: [both.out]
"""


@pytest.fixture
def stages(prepared_pipeline, invoke, on_path):
    def build(pipeline):
        pipeline.write("dvlite.yaml", TWO.partition("  both")[0])
        pipeline.write("l.txt", "1")
        pipeline.write("r.txt", "1")
        pipeline.dvlite("repro")
        pipeline.commit("Run")

    return Merging(prepared_pipeline("stages-to-merge", build).root, invoke)


def rerun(project, name, content, branch=None):
    if branch is not None:
        project.git("checkout", "-q", "-B", branch, "main")
        project.dvlite("checkout")
    project.write(name, content)
    project.dvlite("repro")
    project.commit(f"Rerun with {name} {content}")
    if branch is not None:
        project.git("checkout", "-q", "main")
        project.dvlite("checkout")


@pytest.mark.parametrize("driver", [True, False])
def test_each_branch_ran_another_stage(stages, driver):
    rerun(stages, "r.txt", "other", "other")
    rerun(stages, "l.txt", "main")
    if not driver:
        stages.git("config", "--remove-section", "merge.dvlite")
    stages.git("merge", "-q", "other")
    stages.dvlite("checkout")
    stages.dvlite("repro", "-n")
    assert (stages.read("left.out"), stages.read("right.out")) == (b"main", b"other")
    assert stages.is_clean()


def test_a_stage_below_both_is_found_out_of_date(stages):
    stages.write("dvlite.yaml", TWO)
    stages.dvlite("repro")
    stages.commit("A stage below both")
    stages.git("checkout", "-q", "-b", "other")
    stages.write("r.txt", "other")
    stages.dvlite("repro", "right")
    stages.commit("Other")
    stages.git("checkout", "-q", "main")
    stages.dvlite("checkout")
    stages.write("l.txt", "main")
    stages.dvlite("repro", "left")
    stages.commit("Main")
    stages.git("merge", "-q", "other")
    stages.dvlite("checkout")
    found = {each["stage"]: each["state"] for each in stages.json("repro", "-n", code=1)["stages"]}
    assert found["left"] == found["right"] == "up to date"
    assert found["both"] != "up to date"
    stages.dvlite("repro")
    assert stages.read("both.out") == b"mainother"


def test_a_stage_that_both_ran_is_a_conflict_around_its_entry(stages):
    rerun(stages, "l.txt", "other", "other")
    rerun(stages, "l.txt", "main")
    code, said = stages.try_git("merge", "other")
    assert code == 1
    assert "cannot merge 'dvlite.lock': changed on both sides: stage left" in said
    assert "hint: dvlite resolve dvlite.lock --ours or --theirs\n" in said
    text = stages.read("dvlite.lock").decode()
    assert text.count("<<<<<<< ours\n  left:\n") == text.count("=======\n  left:\n") == 1
    assert text.index(">>>>>>> theirs\n") < text.index("  right:\n")
    done = stages.dvlite("repro", code=1)
    assert "dvlite resolve dvlite.lock --ours or --theirs" in done.stderr
    assert "a stage has one entry" in stages.dvlite("resolve", "dvlite.lock", "--union", code=2).stderr
    done = stages.dvlite("resolve", "dvlite.lock", "--theirs")
    assert "Resolved dvlite.lock: 1 stage from theirs; theirs taken where both changed: stage left" in done.stdout
    assert "still in conflict: l.txt; settle it first\n" in done.stdout
    assert "next: git add l.txt; dvlite checkout; dvlite repro; git commit" in done.stdout
    stages.write("l.txt", "main and other")
    stages.dvlite("repro")
    assert stages.read("left.out") == b"main and other"


def test_a_lockfile_that_cannot_be_read_leaves_the_other_one(stages):
    rerun(stages, "l.txt", "other", "other")
    rerun(stages, "l.txt", "main")
    stages.git("checkout", "-q", "other")
    stages.write("dvlite.lock", stages.read("dvlite.lock") + b"  broken\n")
    stages.commit("Broken")
    stages.git("checkout", "-q", "main")
    code, said = stages.try_git("merge", "other")
    assert code == 1
    assert "hint: dvlite resolve dvlite.lock --ours\n" in said
    assert "hint: dvlite resolve dvlite.lock --ours\n" in stages.dvlite("resolve", code=1).stderr
    assert "as ours has it" in stages.dvlite("resolve", "dvlite.lock", "--ours").stdout
    stages.write("l.txt", "main")
    stages.git("add", "l.txt")
    stages.dvlite("repro", "-n")


def test_stages_that_both_sides_added(stages):
    stages.git("checkout", "-qb", "other")
    stages.write(
        "dvlite.yaml", stages.read("dvlite.yaml") + b"  third:\n    cmd: echo 3 > third.out\n    outs: [third.out]\n"
    )
    stages.dvlite("repro")
    stages.commit("Third")
    stages.git("checkout", "-q", "main")
    stages.dvlite("checkout")
    rerun(stages, "l.txt", "main")
    stages.git("merge", "-q", "other")
    stages.dvlite("checkout")
    names = [stage.name for stage in lockfile.parse(stages.read("dvlite.lock"), "").stages]
    assert sorted(names) == ["left", "right", "third"]
    stages.dvlite("repro", "-n")


# --- the size of the issue, made smaller


def test_branches_with_many_files_and_other_stages_merge_without_data(stages, tmp_path):
    """5,000 files; each branch adds 200, changes others and runs another stage; no remote, and no data in the cache."""
    for number in range(5000):
        stages.write(f"data/{number % 50:02d}/{number:05d}", f"{number}")
    stages.dvlite("add", "data")
    stages.commit("Add data")
    for branch, first, source in (("other", 0, "r.txt"), (None, 1, "l.txt")):
        if branch:
            stages.git("checkout", "-qb", branch)
        for number in range(first, 400, 2):
            stages.write(f"data/{number % 50:02d}/{number:05d}", f"changed by {branch}")
            stages.write(f"data/new/{branch}-{number}", f"new {number}")
        stages.dvlite("add", "data")
        rerun(stages, source, f"{branch}")
        if branch:
            stages.git("checkout", "-q", "main")
            stages.dvlite("checkout")
    elsewhere = tmp_path / "elsewhere"
    kept = stages.cache / "files"
    if kept.exists():
        kept.rename(elsewhere)
    stages.git("merge", "-q", "other")
    if elsewhere.exists():
        elsewhere.rename(kept)
    stages.dvlite("checkout")
    stages.dvlite("repro", "-n")
    assert stages.json("status")["clean"]
    found = tree(stages.root / "data")
    assert sum(value is not None for value in found.values()) == 5400
    assert found["00/00000"][0] == b"changed by other"
    assert found["01/00001"][0] == b"changed by None"


def test_data_of_a_merged_lockfile_is_brought_before_the_stages_run(stages):
    stages.write("raw/1", "1")
    stages.dvlite("add", "raw")
    stages.commit("Raw data")
    stages.git("checkout", "-q", "-b", "other")
    stages.write("raw/2", "2")
    stages.dvlite("add", "raw")
    rerun(stages, "l.txt", "other")
    stages.git("checkout", "-q", "main")
    stages.dvlite("checkout")
    rerun(stages, "l.txt", "main")
    for command, go_on in (("merge", "git commit"), ("rebase", "git rebase --continue")):
        stages.try_git(command, "other")
        stages.write("l.txt", "both")
        stages.git("add", "l.txt")
        side = "--ours" if command == "merge" else "--theirs"  # the outputs that are here
        said = stages.dvlite("resolve", "dvlite.lock", side).stdout
        assert said.endswith(f"next: dvlite checkout; dvlite repro; {go_on}\n")
        stages.dvlite("checkout")
        assert stages.has("raw/2")
        stages.git("checkout", "-q", "-m", "--", "dvlite.lock")
        assert stages.dvlite("resolve", "dvlite.lock", side).stdout.endswith(f"next: dvlite repro; {go_on}\n")
        stages.git(command, "--abort")
        stages.dvlite("checkout")


META = "meta:\n  licence: CC-BY-4.0, see https://example.org/licences/cc-by-4.0\n  contact: Data team of the lab <data@example.org>\n  country: Switzerland\n"


def with_meta(project, path):
    project.dvlite("add", path)
    pointer = project.root / f"{path}.dvlite"
    pointer.write_text(pointer.read_text() + META)


@pytest.mark.parametrize("shared", [{}, {"a": "1"}])
def test_data_whose_pointer_only_looks_like_a_renamed_one_is_not_merged(started, shared):
    """To git, two pointers with the same notes are one that was renamed."""
    with_meta(started, "data")
    started.commit("Notes")
    started.branch("topic", {"a": "2", "d": "4"})
    started.dvlite("rm", "data")
    for name, content in {"x": "x", "y": "y", "z": "z", **shared}.items():
        started.write(f"new/{name}", content)
    with_meta(started, "new")
    started.commit("Other data")
    before = started.read("new.dvlite")
    code, said = started.try_git("merge", "topic")
    assert code == 1
    assert "its pointer looks like a renamed one" in said
    assert "--union" not in said
    started.dvlite("resolve", "new", "--ours")
    assert started.read("new.dvlite") == before


def test_a_directory_that_was_moved_merges_with_edits_at_its_old_place(started):
    started.branch("topic", {"d": "4"})
    started.dvlite("mv", "data", "moved")
    started.commit("Move")
    code, said = started.try_git("merge", "--no-edit", "topic")
    assert code == 0, said
    started.dvlite("checkout")
    assert {name for name, found in tree(started.root / "moved").items() if found} == {"a", "b", "c", "d"}


def test_a_directory_of_which_everything_was_replaced_still_merges(started):
    started.branch("topic", {"d": "4"})
    started.main({"a": None, "b": None, "c": None, "x": "1", "y": "2"})
    code, said = started.try_git("merge", "--no-edit", "topic")
    assert code == 0, said
    assert started.files() == {"d": "4", "x": "1", "y": "2"}
