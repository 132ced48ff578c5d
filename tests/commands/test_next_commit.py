"""The commit that a command names as the next step fits: `dvlite verify` agrees with it, and nothing is left over."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import dvlite.text
from tests.commands.dvc_repository import DvcRepository
from tests.commands.lfs_repository import LfsRepository
from tests.commands.pipelines import Pipeline
from tests.commands.project import Project
from tests.copies import copy_of


@pytest.fixture
def committed(project, tmp_path, monkeypatch):
    """A pipeline that reads a tracked folder, code and parameters; run and committed."""
    monkeypatch.setenv("RAN", str(tmp_path / "ran"))

    def build(folder):
        shutil.copytree(project.root, folder, dirs_exist_ok=True)
        prepared = Pipeline(Project(folder, project._invoke), tmp_path / "ran")
        prepared.write("data/1", "one\n")
        prepared.dvlite("add", "data")
        prepared.write("params.yaml", "lr: 1\nnet: {depth: 2}\n")
        prepared.write("code/train.py", "1\n")
        prepared.write(
            "dvlite.yaml",
            "stages:\n"
            "  one: {cmd: cat data/* code/* > one.txt, deps: [data, code], params: [lr], outs: [one.txt]}\n"
            "  two: {cmd: 'wc -c < one.txt > two.json', deps: [one.txt], metrics: [{path: two.json, cache: false}]}\n",
        )
        prepared.dvlite("repro")
        prepared.commit()

    return Pipeline(Project(copy_of("next-commit", build, tmp_path / "committed"), project._invoke), tmp_path / "ran")


def follow(project, *words):
    """Runs a command and the steps up to the commit that it, or a command that it names, names."""
    done = project.dvlite(*words)
    for step in re.split(r"; |, | && ", re.search(r"^next: (.*)$", done.stdout, re.MULTILINE)[1]):
        program, *words = step.split()
        if step == "dvlite repro":
            return follow(project, "repro")
        if program == "dvlite":
            project.dvlite(*words)
        else:
            project.git(*words, *(("-qm", "as it says") if step == "git commit" else ()))
        if step == "git commit":
            break
    return done


def change_data(project):
    project.write("data/1", "another one\n")


def change_code(project):
    project.write("code/train.py", "2\n")
    project.write("code/more.py", "3\n")


def change_all(project):
    change_data(project)
    change_code(project)
    project.write("params.yaml", "lr: 5\n")


def add_without_staging(project):
    change_data(project)
    project.dvlite("add", "--no-stage", "-u")


def new_data(project):
    project.write("more/1", "1")


def in_a_folder(project):
    project.write("code/data", "1")
    project.dvlite("add", "code/data")
    project.dvlite("repro")
    project.commit()
    project.write("code/data", "2")


def in_conflict(project):
    for branch, text in (("theirs", "2"), ("main", "3")):
        project.git("checkout", "-q", "-B", branch, "main")
        project.write("data/1", text)
        project.dvlite("add", "data")
        project.commit()
    with pytest.raises(subprocess.CalledProcessError):
        project.git("merge", "-q", "theirs")


def renamed_in_the_pipeline(project):
    text = project.read("dvlite.yaml").decode()
    project.write("dvlite.yaml", text.replace("cat data/*", "cat moved/*").replace("[data,", "[moved,"))


def another_run(project):
    project.dvlite("repro", "-S", "lr=4")
    project.git("reset", "-q", "--hard")
    project.dvlite("checkout")


def beside(project):
    """A repository beside this one, with data."""
    there = Project(project.root.parent / "there", project.project._invoke)
    there.write("taken", "1")
    there.git("init", "-q")
    there.dvlite("init", "-q")
    there.dvlite("add", "-q", "taken")
    there.commit()
    return there


def moved_on(project):
    there = beside(project)
    project.dvlite("import", "../there", "taken")
    project.commit()
    there.write("taken", "2")
    there.dvlite("add", "-q", "-u")
    there.commit()


def tracked_by_dvc(project):
    theirs = DvcRepository(project)
    theirs.track("theirs", theirs.put(b"1"))
    project.commit()
    project.write("theirs", "1")


def kept_by_git_lfs(project):
    theirs = LfsRepository(project)
    theirs.give("*.bin")
    theirs.track("theirs.bin", b"1")
    theirs.commit()


def nothing(project):
    pass


CASES = [
    (change_data, ("repro",)),
    (change_code, ("repro",)),
    (change_all, ("repro",)),
    (add_without_staging, ("repro",)),
    (nothing, ("repro", "-S", "lr=3")),
    (change_all, ("repro", "-S", "lr=3", "-j", "2")),
    (new_data, ("add", "more", "--no-stage")),
    (change_data, ("add", "data")),
    (change_data, ("add", "-u")),
    (in_a_folder, ("add", "-u")),
    (in_conflict, ("resolve", "--theirs")),
    (renamed_in_the_pipeline, ("mv", "data", "moved")),
    (nothing, ("remote", "add", "../store", "--no-stage")),
    (nothing, ("stage", "freeze", "one", "--no-stage")),
    (beside, ("import", "../there", "taken")),
    (moved_on, ("update",)),
    (tracked_by_dvc, ("import-dvc",)),
    (kept_by_git_lfs, ("import-lfs",)),
    (another_run, ("runs", "apply", "last")),
    (another_run, ("runs", "apply", "last", "--no-stage")),
]
TRACKED = [("rm", "more", "--no-stage"), ("mv", "more", "less", "--no-stage")]


@pytest.mark.parametrize(("before", "words"), CASES)
def test_the_commit_that_is_named_passes_verify(committed, before, words):
    before(committed)
    follow(committed, *words)
    committed.dvlite("verify", "--rev", "HEAD")
    assert committed.project.is_clean()


@pytest.mark.parametrize("words", TRACKED)
def test_a_commit_of_what_is_tracked_passes_verify(committed, words):
    for text in ("1", "2"):
        committed.write("more/1", text)
        committed.dvlite("add", "more")
        committed.commit()
    follow(committed, *words)
    committed.dvlite("verify", "--rev", "HEAD")
    assert committed.git("status", "--porcelain", "-uno") == ""


def test_every_verb_that_names_a_commit_is_tried():
    modules = Path(dvlite.text.__path__[0]).glob("*.py")
    naming = {
        module.stem
        for module in modules
        if re.search(r"next_commit\(|next_step\(.*_next\(", module.read_text(encoding="utf-8"))
    }
    tried = [*TRACKED, *(words for _, words in CASES)]
    verbs = {"_".join(words[:2]) if words[0] == "runs" else words[0].replace("-", "_") for words in tried}
    assert {name.removesuffix("_") for name in naming} == verbs


@pytest.mark.parametrize("words", [("rm", "data"), ("mv", "data", "moved")])
def test_a_stage_that_reads_what_is_gone_is_named(committed, words):
    said = committed.dvlite(*words).stdout
    assert re.search(r"^read by one: .*\nnext: dvlite repro$", said, re.MULTILINE)
