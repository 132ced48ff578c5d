"""`dvlite repro` where git moved a pointer and the data did not follow: what is locked is what a commit has together."""

import pytest

from tests.commands.hooked import Hooked

PIPELINE = """\
stages:
  sum:
    cmd: cat data/im/* > sum.txt
    deps: [{deps}]
    outs: [sum.txt]
  next:
    cmd: cat sum.txt > next.txt
    deps: [sum.txt]
    outs: [next.txt]
"""


@pytest.fixture(params=["data/im", "data/im/1.txt, data/im/2.txt", '"data/im/*.txt"', '"data/**"', "data"])
def two(prepared, invoke, request, on_path):
    """Returns a repository with two commits of data and runs, and a branch that begins before the second."""

    def build(project):
        project.write("dvlite.yaml", PIPELINE.format(deps=request.param))
        for number in "123":
            project.write(f"data/im/{number}.txt", f"{number}\n")
        run(project)
        project.git("branch", "other")
        project.write("data/im/1.txt", "one\n")
        project.write("data/im/4.txt", "four\n")
        run(project)

    return Hooked(prepared(f"behind-{request.param_index}", build, remote=False).root, invoke)


def run(project):
    project.dvlite("add", "data/im")
    project.dvlite("repro")
    project.commit("Run")


def locked(project):
    return project.read("dvlite.lock")


def test_data_that_did_not_follow_counts_as_its_pointer_says(two):
    before = locked(two)
    two.git("checkout", "-q", "other")  # by git alone
    old = locked(two)
    assert old != before
    shown = two.dvlite("status").stdout
    assert "Data of another version is here" in shown
    assert "Stages out of date" not in shown
    assert {each["state"] for each in two.json("repro", "-n", code=1)["stages"]} <= {"up to date", "would restore"}
    two.dvlite("repro")
    assert locked(two) == old
    assert two.read("sum.txt") == b"1\n2\n3\n"
    assert two.read("data/im/4.txt") == b"four\n", "no command needed it"
    two.dvlite("checkout")
    assert not two.has("data/im/4.txt")
    assert two.json("verify")["findings"] == []


def test_after_a_merge_the_merged_data_is_what_the_stages_run_with(two):
    two.git("checkout", "-q", "other")
    two.dvlite("checkout")
    two.write("data/im/2.txt", "two\n")
    two.write("data/im/5.txt", "five\n")
    run(two)
    two.git("checkout", "-q", "-")
    two.dvlite("checkout")
    two.refuses("merge", "-q", "other")
    two.dvlite("resolve", "dvlite.lock", "--ours")
    done = two.json("repro")
    assert "ok" in {each["state"] for each in done["stages"]}
    assert two.read("data/im/5.txt") == b"five\n"
    two.git("commit", "-q", "--no-edit")
    assert two.json("status")["clean"]
    assert two.json("verify", "--rev", "HEAD")["findings"] == []
    assert two.read("sum.txt") == b"one\ntwo\n3\nfour\nfive\n"


def test_edits_on_top_of_an_earlier_version_stop_the_run(two):
    two.git("checkout", "-q", "other")
    two.write("data/im/2.txt", "mine\n")
    before = locked(two)
    done = two.dvlite("repro", code=1)
    assert (
        "cannot run with 'data/im': data/im.dvlite changed since it was checked out, and so did its files"
        in done.stderr
    )
    assert "dvlite checkout data/im   (keeps the files that you changed), then: dvlite add data/im" in done.stderr
    assert locked(two) == before
    two.dvlite("checkout", "data/im", code=3)
    two.dvlite("add", "data/im")
    two.dvlite("repro")
    assert two.read("sum.txt") == b"1\nmine\n3\n"


def test_what_no_commit_has_is_the_users_own_and_is_used(two):
    two.write("data/im/2.txt", "mine\n")
    assert "Added what had changed: data/im (~1 file)" in two.dvlite("repro").stdout
    assert b"mine" in two.read("sum.txt")
