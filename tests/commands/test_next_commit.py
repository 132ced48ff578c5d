"""The commit that a command names as the next step fits: `dvlite verify` agrees with it, and nothing is left over."""

import re

import pytest


@pytest.fixture
def committed(pipeline):
    """A pipeline that reads a tracked folder, code and parameters; run and committed."""
    pipeline.write("data/1", "one\n")
    pipeline.dvlite("add", "data")
    pipeline.write("params.yaml", "lr: 1\nnet: {depth: 2}\n")
    pipeline.write("code/train.py", "1\n")
    pipeline.write(
        "dvlite.yaml",
        "stages:\n"
        "  one: {cmd: cat data/* code/* > one.txt, deps: [data, code], params: [lr], outs: [one.txt]}\n"
        "  two: {cmd: 'wc -c < one.txt > two.json', deps: [one.txt], metrics: [{path: two.json, cache: false}]}\n",
    )
    pipeline.dvlite("repro")
    pipeline.commit()
    return pipeline


def follow(project, *words):
    """Runs a command and the steps up to the commit that it names."""
    done = project.dvlite(*words)
    steps = re.split(r"; |, | && ", re.search(r"^next: (.*)$", done.stdout, re.MULTILINE)[1])
    for step in steps[: steps.index("git commit") + 1]:
        project.git(*step.split()[1:], *(("-qm", "as it says") if step == "git commit" else ()))
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


def nothing(project):
    pass


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (change_data, ("repro",)),
        (change_code, ("repro",)),
        (change_all, ("repro",)),
        (add_without_staging, ("repro",)),
        (nothing, ("repro", "-S", "lr=3")),
        (change_all, ("repro", "-S", "lr=3", "-j", "2")),
        (new_data, ("add", "more")),
    ],
)
def test_the_commit_that_is_named_passes_verify(committed, before, words):
    before(committed)
    follow(committed, *words)
    committed.dvlite("verify", "--rev", "HEAD")
    assert committed.project.is_clean()


@pytest.mark.parametrize("words", [("rm", "more"), ("mv", "more", "less")])
def test_a_commit_of_what_is_tracked_passes_verify(committed, words):
    for text in ("1", "2"):
        committed.write("more/1", text)
        committed.dvlite("add", "more")
        committed.commit()
    follow(committed, *words)
    committed.dvlite("verify", "--rev", "HEAD")
    assert committed.git("status", "--porcelain", "-uno") == ""
