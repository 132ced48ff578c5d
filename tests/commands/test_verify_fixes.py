"""What `dvlite verify` says to do: a fix that it offers helps and destroys nothing; what cannot be checked is one line, and no pass."""

import shutil
import subprocess

import pytest

from tests.commands.project import Project

PIPELINE = """\
stages:
  sort:
    cmd: sort raw.txt > sorted.txt
    deps: [raw.txt]
    params: [lr]
    outs: [sorted.txt]
  train:
    cmd: wc sorted.txt > model
    deps: [sorted.txt]
    params: [scale, lr]
    outs: [model]
"""


@pytest.fixture
def trained(prepared, tmp_path, monkeypatch):
    """Returns a repository with a pipeline that was run, committed and pushed."""

    def build(project):
        project.write("raw.txt", "1\n")
        project.dvlite("add", "raw.txt")
        project.write("params.yaml", "lr: 1\nscale: 10\n")
        project.write("dvlite.yaml", PIPELINE)
        project.dvlite("repro")
        project.commit("Run")
        project.dvlite("push")

    monkeypatch.setenv("DVLITE_TRUST", str(tmp_path / "store"))
    return prepared("trained-and-pushed", build)


@pytest.fixture
def fresh(trained, tmp_path, invoke):
    """Returns a clone of it by git alone, with nothing fetched."""
    trained.git("clone", "-q", str(trained.root), str(tmp_path / "fresh"))
    return Project(tmp_path / "fresh", invoke)


def edit(project, path, old, new):
    text = project.read(path).decode()
    assert old in text
    project.write(path, text.replace(old, new))


def one(project, *args):
    (found,) = project.json("verify", *args, code=1)["findings"]
    return found


def apply(project, fix):
    """Does what a fix says, as a user who pastes it."""
    assert fix.startswith("git checkout ")
    project.git(*fix.split()[1:])


# --- files that cannot be read


def test_a_pipeline_file_is_its_authors_to_correct_and_the_keys_are_told(trained):
    edit(trained, "dvlite.yaml", "    deps: [sorted", "    dependson: [sorted")
    here = one(trained)["fix"]
    assert here.startswith("correct line 9 of dvlite.yaml (the keys of a stage: cmd, deps, params")
    trained.commit("Broken")
    assert one(trained)["fix"] == one(trained, "--rev", "HEAD")["fix"] == here
    trained.write("dvlite.yaml", "stages: {one: [\n")
    assert one(trained)["fix"].startswith("correct line 2 of dvlite.yaml")
    assert "git" not in one(trained)["fix"]


@pytest.mark.parametrize(
    ("file", "old", "new"), [("raw.txt.dvlite", "size: 2", "size: many"), ("dvlite.lock", "key: ", "key: zzz")]
)
def test_a_malformed_pointer_or_lockfile_is_restored_from_git(trained, file, old, new):
    good = trained.read(file)
    edit(trained, file, old, new)
    assert one(trained)["fix"] == f"git checkout HEAD -- {file}"
    trained.commit("Broken")
    trained.write("note", "1")
    trained.commit("Another")
    before = trained.git("rev-parse", "--short", "HEAD~2").strip()
    assert one(trained)["fix"] == one(trained, "--rev", "HEAD")["fix"] == f"git checkout {before} -- {file}"
    apply(trained, one(trained)["fix"])
    assert trained.read(file) == good
    edit(trained, file, old, new)
    assert one(trained)["fix"] == f"git checkout -- {file}", "what is staged is good, the last commit is not"
    apply(trained, one(trained)["fix"])
    trained.commit("Good again")
    assert one(trained, "--range", "HEAD~3..HEAD")["fix"].startswith("correct line"), "HEAD is not set back"
    assert trained.json("verify")["findings"] == []


def test_what_is_staged_is_not_given_up_for_the_last_commit(trained):
    trained.write("raw.txt", "2\n")
    trained.dvlite("add", "-u")
    trained.dvlite("repro")
    staged = trained.read("dvlite.lock")
    edit(trained, "dvlite.lock", "key: ", "key: zzz")
    apply(trained, one(trained)["fix"])
    assert trained.read("dvlite.lock") == staged


def test_before_the_first_commit_no_command_of_git_is_offered(tmp_path, invoke):
    (tmp_path / "new").mkdir()
    project = Project(tmp_path / "new", invoke)
    project.git("init", "-q")
    project.dvlite("init", "--no-hooks")
    project.write("raw.txt", "1\n")
    project.dvlite("add", "raw.txt")
    edit(project, "raw.txt.dvlite", "size: 2", "size: many")
    assert one(project)["fix"] == "correct line 4 of raw.txt.dvlite"


def test_a_file_of_parameters_that_cannot_be_read_is_told_once_where_it_is_wrong(trained):
    trained.write("params.yaml", "lr: 1\n scale: [1\n")
    for words in ((), ("train",)):
        found = one(trained, *words)
        assert (found["kind"], found["file"], found["line"]) == ("param-missing", "params.yaml", 2)
        assert found["fix"] == "correct line 2 of params.yaml"
        assert found["message"].startswith("the file of parameters cannot be read: ")
    stages = trained.json("verify", code=1)["stages"]
    assert [each["verdict"] for each in stages] == ["finding", "finding"]


def test_a_conflict_in_a_file_of_parameters_is_corrected_by_its_author(trained):
    trained.write("params.yaml", "<<<<<<< HEAD\nlr: 1\n=======\nlr: 2\n>>>>>>> side\n")
    assert one(trained)["fix"] == "correct line 1 of params.yaml"


def test_a_conflict_in_a_pipeline_file_is_corrected_by_its_author(trained):
    trained.write("dvlite.yaml", b"<<<<<<< HEAD\n=======\n" + trained.read("dvlite.yaml") + b">>>>>>> side\n")
    found = trained.json("verify", code=1)["findings"]
    assert "correct line 1 of dvlite.yaml" in {each["fix"] for each in found}


# --- entries of lockfiles


def test_a_record_that_a_colleague_did_not_push_is_theirs_to_push(trained, fresh, tmp_path):
    shutil.rmtree(tmp_path / "store/runs")
    found = fresh.json("verify", code=1)["findings"]
    assert {each["kind"] for each in found} == {"record-missing"}
    assert {each["fix"] for each in found} == {"push it from the clone that ran it: dvlite push"}
    trained.dvlite("push")
    assert fresh.json("verify")["findings"] == []


def test_an_edited_run_comes_back_from_the_last_commit(trained):
    good = trained.read("dvlite.lock")
    edit(trained, "dvlite.lock", "run: run:", "run: run:00000000")
    text = trained.read("dvlite.lock").decode().split("\n")
    trained.write("dvlite.lock", "\n".join(line[: 9 + 4 + 64] if "run: run:" in line else line for line in text))
    fixes = {each["fix"] for each in trained.json("verify", code=1)["findings"]}
    assert fixes == {"git checkout HEAD -- dvlite.lock"}
    apply(trained, fixes.pop())
    assert trained.read("dvlite.lock") == good


def test_an_edited_entry_that_was_committed_is_made_anew(trained):
    edit(trained, "dvlite.lock", '"params.yaml:scale": 10', '"params.yaml:scale": 11')
    assert one(trained)["fix"] == "git checkout HEAD -- dvlite.lock"
    trained.commit("Edited")
    assert one(trained)["fix"] == "dvlite repro --force train"
    assert "fix: dvlite repro --force train" in trained.dvlite("verify", code=1).stdout
    trained.dvlite("repro", "--force", "train")
    assert trained.json("verify")["findings"] == []


# --- remotes of which nothing can be known


def test_a_remote_that_was_not_approved_is_not_checked_and_reports_are_written(fresh, monkeypatch, tmp_path):
    monkeypatch.delenv("DVLITE_TRUST")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config-of-a-job"))
    done = fresh.dvlite("verify", "--remote", "--md", "report.md", "--junit", "report.xml", code=3)
    assert f"DVLITE_TRUST={tmp_path / 'store'}" in done.stderr
    assert f"dvlite remote trust {tmp_path / 'store'}" in done.stderr
    assert b"which this user has not approved" in fresh.read("report.md")
    assert b"on origin" in fresh.read("report.md")
    assert fresh.has("report.xml")
    without = fresh.dvlite("verify", code=3)
    assert f"DVLITE_TRUST={tmp_path / 'store'}" in without.stderr, "the records of the runs come from there"


@pytest.mark.parametrize("is_there", [True, False])
def test_a_remote_that_is_empty_or_not_there_is_not_checked_and_no_pass(fresh, tmp_path, is_there):
    (tmp_path / "store").rename(tmp_path / "away")
    if is_there:
        (tmp_path / "store").mkdir()
    empty = f"'{tmp_path / 'store'}' is empty or not there"
    found = fresh.json("verify", "--remote", code=3)
    assert found["findings"] == []
    assert [each["what"] for each in found["unchecked"]] == ["the runs of sort, train", "what is on origin"]
    assert all(each["why"].endswith(empty) and "mounted" in each["hint"] for each in found["unchecked"])
    assert fresh.json("verify", code=3)["findings"] == []
    for verb in ("pull", "fetch"):
        said = fresh.dvlite(verb, code=12).stderr
        assert f": {empty}\n" in said
        assert "is its disk mounted?" in said
    (tmp_path / "store").rmdir() if is_there else None
    (tmp_path / "away").rename(tmp_path / "store")
    assert fresh.json("verify", "--remote")["unchecked"] == []
    fresh.dvlite("pull")


def test_what_is_not_on_a_remote_is_told_in_the_singular_and_in_the_plural(trained, fresh, tmp_path):
    for path in sorted((tmp_path / "store/packs").rglob("*")):
        if path.is_file():
            path.unlink()
    assert " more are not on " in fresh.dvlite("pull", code=12).stderr
    assert "cannot fetch 'raw.txt': 'raw.txt' is not on " in fresh.dvlite("pull", "raw.txt", code=12).stderr


# --- shallow clones


@pytest.fixture
def shallow(trained, tmp_path, invoke):
    """Returns a clone of its last commit alone."""
    for number in "12":
        trained.write("note", number)
        trained.commit(number)
    trained.git("clone", "-q", "--depth", "1", f"file://{trained.root}", str(tmp_path / "shallow"))
    return Project(tmp_path / "shallow", invoke)


def test_a_commit_that_a_shallow_clone_does_not_have_is_to_be_fetched(shallow):
    for words in (("--range", "origin/main~2..HEAD"), ("--rev", "HEAD~1")):
        said = shallow.dvlite("verify", *words, code=2).stderr
        assert "the clone is shallow" in said
        assert "hint: git fetch --unshallow     (CI: fetch-depth: 0" in said
    shallow.git("fetch", "-q", "--unshallow")
    assert shallow.json("verify", "--range", "origin/main~2..HEAD")["commits"] == 2
    assert "git fetch --tags" in shallow.dvlite("verify", "--rev", "nothing", code=2).stderr


def test_a_range_that_reaches_the_end_of_a_shallow_clone_is_refused(shallow):
    shallow.git("checkout", "-q", "--orphan", "other")
    shallow.git("commit", "-qm", "Other")
    said = shallow.dvlite("verify", "--range", "other..main", code=2).stderr
    assert "where this shallow clone ends" in said
    assert "git fetch --unshallow" in said


# --- a conflict, told by status


def test_status_tells_of_a_conflict_in_a_lockfile_once_and_in_a_line(trained):
    trained.write("dvlite.lock", b"<<<<<<< ours\n" + trained.read("dvlite.lock"))
    warnings = [line for line in trained.dvlite("status").stderr.splitlines() if "dvlite.lock" in line]
    assert len(warnings) == 1
    assert warnings[0].endswith("(dvlite resolve dvlite.lock --ours or --theirs, then: dvlite repro)")
    assert "\\n" not in warnings[0]


def test_the_help_of_all_verbs_has_the_whole_line_of_verify(project):
    (line,) = [line for line in project.dvlite("--help").stdout.splitlines() if line.split()[:1] == ["verify"]]
    assert line.endswith(".")
    assert not line.endswith("...")


@pytest.mark.parametrize("name", ["with blank.txt", "quote's.txt", "café.txt"])
def test_the_fix_can_be_pasted_into_a_shell_whatever_the_path_is_called(project, name):
    project.write(name, "1")
    project.dvlite("add", name)
    project.commit("Track")
    pointer = project.read(f"{name}.dvlite")
    project.write(f"{name}.dvlite", "broken\n")
    (found,) = project.json("verify", code=1)["findings"]
    subprocess.run(["sh", "-c", found["fix"]], cwd=project.root, check=True, capture_output=True)
    assert project.read(f"{name}.dvlite") == pointer
