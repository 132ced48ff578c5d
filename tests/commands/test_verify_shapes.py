"""`dvlite verify` of pipelines of other shapes, in a clone without data: what `repro` wrote agrees with what is in git."""

import os

import pytest

from tests.commands.project import Project


@pytest.fixture
def verified(shared, tmp_path, invoke, monkeypatch):
    """Returns what runs a pipeline, pushes, and verifies a fresh clone of it; returns the clone."""
    monkeypatch.setenv("DVLITE_TRUST", str(tmp_path / "store"))

    def run(text, *, code=0, name="clone", **asked):
        if text is not None:
            shared.write("dvlite.yaml", text)
        shared.dvlite("repro")
        shared.commit("Run")
        shared.dvlite("push")
        shared.git("clone", "-q", str(shared.root), str(tmp_path / name))
        clone = Project(tmp_path / name, invoke)
        for project in (clone, shared):
            for args in ((), ("--rev", "HEAD"), ("--remote",)):
                found = project.json("verify", *args, code=code)
                assert found["findings"] == []
                assert (found["unchecked"] == []) == (code == 0)
        return clone

    run.project = shared
    return run


def data(project):
    for name in ("raw/1.csv", "raw/2.csv", "raw/sub/3.csv", "raw/notes.txt"):
        project.write(f"data/{name}", f"content of {name}\n")
    project.dvlite("add", "data/raw")


def stage(deps, cmd="true", outs="out.txt"):
    return f"stages:\n  one:\n    cmd: {cmd}; echo made > {outs}\n    deps: [{deps}]\n    outs: [{outs}]\n"


@pytest.mark.parametrize(
    "deps",
    [
        "data/raw/1.csv",
        "data/raw/sub",
        '"data/raw/*.csv"',
        '"data/raw/*"',
        '"data/*/1.csv"',
        '"data/**/*.csv"',
        '"data/**"',
        '"d*/r*/*.txt"',
        "data",
        '"data/*"',
    ],
)
def test_dependencies_in_and_around_data(verified, deps):
    data(verified.project)
    verified.project.write("data/code.py", "pass\n")
    clone = verified(stage(deps))
    assert not clone.has("data/raw")
    text = clone.read("data/raw.dvlite")
    verified.project.write("data/raw/sub/3.csv", "other\n")
    verified.project.write("data/raw/1.csv", "other\n")
    verified.project.write("data/raw/notes.txt", "other\n")
    verified.project.dvlite("add", "data/raw")
    verified.project.commit("Other data")
    verified.project.dvlite("push", "data/raw")
    clone.git("pull", "-q")
    assert clone.read("data/raw.dvlite") != text
    found = clone.json("verify", code=1)["findings"]
    assert {each["kind"] for each in found} == {"dep-changed"}
    assert all("by data/raw.dvlite" in each["message"] for each in found)
    assert clone.json("verify", "--rev", "HEAD", code=1)["findings"][0]["message"] == found[0]["message"]


def test_a_folder_with_files_that_git_and_dvlite_ignore(verified):
    project = verified.project
    project.write(".dvliteignore", "*.tmp\nskipped/\n")
    project.write(".gitignore", "*.log\n")
    for name in ("a.py", "b.tmp", "c.log", "skipped/d.py", "deep/e.py", "__pycache__/f.pyc", ".hidden/g.py"):
        project.write(f"lib/{name}", name)
    (project.root / "lib/empty").mkdir()
    os.symlink("deep/e.py", project.root / "lib/link")
    project.write("run.sh", "true").chmod(0o755)
    os.symlink("run.sh", project.root / "linked.sh")
    verified(stage('lib, linked.sh, "lib/*.py", "lib/**/*.py"'))


def test_a_file_that_git_ignores_and_a_stage_ran_with_is_told_of(shared, invoke, tmp_path):
    shared.write(".gitignore", "*.log\n")
    shared.write("lib/c.log", "c")
    shared.write("lib/d.py", "d")
    shared.write("dvlite.yaml", stage('"lib/*"'))
    shared.dvlite("repro")
    shared.commit("Run")
    found = shared.json("verify", "--rev", "HEAD", code=1)["findings"]
    assert [(each["kind"], each["path"]) for each in found] == [("dep-removed", "lib/c.log")]
    (found,) = shared.json("verify", code=1)["findings"]
    assert (found["kind"], found["path"], found["fix"]) == ("dep-removed", "lib/c.log", "dvlite add lib/c.log")
    assert found["message"].endswith("will be missing in a clone: git ignores it and dvlite does not track it")


def test_what_git_ignores_is_not_there_for_anybody_else(shared):
    shared.write(".gitignore", "*.log\nraw/\nmy.yaml\nreport.txt\n")
    shared.write("in.log", "c")
    shared.write("raw/1.csv", "d")
    shared.write("my.yaml", "a: 1\n")
    text = stage("in.log, raw, raw/1.csv").replace("outs: [", "outs: [{path: report.txt, cache: false}, ")
    shared.write("dvlite.yaml", text.replace("cmd: true", "params: [{my.yaml: [a]}]\n    cmd: echo > report.txt"))
    shared.dvlite("repro")
    shared.commit("Run")
    at_head = shared.json("verify", "--rev", "HEAD", code=1)["findings"]
    here = shared.json("verify", code=1)["findings"]
    told = [("dep-missing", "in.log"), ("dep-missing", "raw"), ("dep-missing", "raw/1.csv")]
    told += [("param-missing", "my.yaml"), ("output-missing", "report.txt")]
    assert sorted((each["kind"], each["path"]) for each in here) == sorted(told)
    assert sorted((each["kind"], each["path"]) for each in at_head) == sorted(told)
    assert all("git ignores it" in each["message"] for each in here if each["kind"] != "output-missing")
    fixes = {each["path"]: each["fix"] for each in here}
    assert (fixes["in.log"], fixes["raw/1.csv"]) == ("dvlite add in.log", "dvlite add raw")  # git ignores all of raw/
    assert fixes["my.yaml"] == "git add -f my.yaml"
    shared.git("add", "-f", "my.yaml", "report.txt")
    for path in ("in.log", "raw"):
        shared.dvlite("add", path)
    shared.commit("Tracked")
    assert shared.json("verify")["findings"] == []
    assert shared.json("verify", "--rev", "HEAD")["findings"] == []


def test_links_lead_to_data_and_through_folders(verified):
    data(verified.project)
    verified.project.write("lib/code.py", "pass\n")
    os.symlink("lib", verified.project.root / "linked")
    os.symlink("data/raw/1.csv", verified.project.root / "first.csv")
    os.symlink("/etc/hostname", verified.project.root / "outside")
    clone = verified(stage("first.csv, linked/code.py"))
    clone.write("lib/code.py", "changed\n")
    assert {each["path"] for each in clone.json("verify", code=1)["findings"]} == {"linked/code.py"}


@pytest.mark.parametrize("commits", [True, False])
def test_a_file_that_is_in_git_and_in_data_too(shared, commits):
    data(shared)
    shared.write("one.bin", "1")
    shared.dvlite("add", "one.bin")
    shared.write("dvlite.yaml", stage("one.bin", "cp one.bin two.bin", "two.bin"))
    shared.dvlite("repro")
    shared.commit("Run")
    shared.git("add", "-f", "data/raw/1.csv", "data/raw/sub/3.csv", "one.bin", "two.bin")
    if commits:
        shared.git("commit", "-qm", "Forced")
    found = shared.json("verify", *(["--rev", "HEAD"] if commits else []), code=1)["findings"]
    found.sort(key=lambda each: each["file"])
    assert [(each["kind"], each["file"], each["path"], each["fix"]) for each in found] == [
        ("overlap", "data/raw.dvlite", "data/raw", "git rm -r -q --cached data/raw"),
        ("overlap", "dvlite.lock", "two.bin", "git rm -r -q --cached two.bin"),
        ("overlap", "one.bin.dvlite", "one.bin", "git rm -r -q --cached one.bin"),
    ]
    assert (
        found[0]["message"] == "data/raw/1.csv and 1 more is in git and inside data/raw, which data/raw.dvlite tracks"
    )
    shared.write(".dvliteignore", "sub/\n1.csv\n")
    shared.commit("Left to git")
    assert "data/raw" not in {each["path"] for each in shared.json("verify", "--rev", "HEAD", code=1)["findings"]}
    for each in found:
        shared.git(*each["fix"].split()[1:])
    assert shared.json("verify")["findings"] == []


def test_outputs_that_git_keeps_are_compared_as_files_and_as_folders(verified):
    text = (
        "stages:\n  one:\n    cmd: mkdir report && echo a > report/a.txt && echo b > m.json\n    outs: [{path: report, cache: false}]\n"
        "    metrics: [{path: m.json, cache: false}]\n"
        "  two:\n    cmd: cat report/a.txt > two.txt\n    deps: [report/a.txt]\n    outs: [two.txt]\n"
        "  three:\n    cmd: ls report > three.txt\n    deps: [report, two.txt]\n    outs: [three.txt]\n"
    )
    verified.project.write("m.json", "{}")
    clone = verified(text.replace("echo b", "echo '{}'"))
    clone.write("report/a.txt", "edited")
    found = clone.json("verify", code=1)["findings"]
    assert next((each["kind"], each["path"]) for each in found) == ("output-changed", "report")


def test_parameters_that_a_stage_makes_are_read_from_the_remote(verified):
    text = (
        "stages:\n  tune:\n    cmd: 'echo \"best: 3\" > tuned.yaml'\n    outs: [tuned.yaml]\n"
        "  use:\n    cmd: cat tuned.yaml > used.txt\n    params: [{tuned.yaml: [best]}]\n    outs: [used.txt]\n"
    )
    clone = verified(text)
    assert not clone.has("tuned.yaml")


def test_a_pipeline_that_was_moved_to_another_folder(verified):
    project = verified.project
    project.write("old/dvlite.yaml", stage("in.txt", "cat in.txt"))
    project.write("old/in.txt", "in\n")
    verified(None)
    project.git("mv", "old", "new")
    project.commit("Move")
    assert project.json("verify")["findings"] == []
    assert project.json("verify", "--range", "HEAD~1..HEAD")["findings"] == []


def test_outputs_taken_from_the_run_cache_and_outputs_that_are_not_pushed(verified):
    project = verified.project
    text = (
        "stages:\n  one:\n    cmd: cat in.txt > out.txt\n    deps: [in.txt]\n    outs: [{path: out.txt, push: false}]\n"
    )
    project.write("in.txt", "1")
    verified(text)
    project.write("in.txt", "2")
    verified(None, name="second")
    project.write("in.txt", "1")
    clone = verified(None, name="third")
    assert "cached" in {run["status"] for run in clone.json("runs")["runs"]}


def test_names_that_are_not_utf8_or_need_quotes(verified):
    project = verified.project
    name = os.fsdecode(b"caf\xe9 \"'.txt")
    project.write(f"lib/{name}", "x")
    project.write("lib/with: colon.txt", "y")
    clone = verified(stage('lib, "lib/with: colon.txt"'))
    clone.write("lib/with: colon.txt", "z")
    found = clone.json("verify", code=1)["findings"]
    assert {each["path"] for each in found} == {"lib", "lib/with: colon.txt"}
    clone.dvlite("verify", code=1)


def test_a_repository_without_a_pipeline_and_one_without_anything(verified):
    assert verified.project.json("verify")["tracked"] == 0
    data(verified.project)
    verified.project.commit("Data")
    assert verified.project.json("verify")["tracked"] == 1
    assert verified.project.json("verify", "--remote", code=3)["findings"] == []


def test_before_the_first_commit_the_work_tree_can_be_verified(tmp_path, invoke):
    (tmp_path / "new").mkdir()
    project = Project(tmp_path / "new", invoke)
    project.git("init", "-q")
    project.dvlite("init", "--no-hooks")
    project.write("dvlite.yaml", stage("in.txt"))
    project.write("in.txt", "1")
    assert [each["kind"] for each in project.json("verify", code=1)["findings"]] == ["lockfile-missing"]
    project.dvlite("repro")
    assert project.json("verify")["findings"] == []


def test_without_a_remote_what_is_not_here_is_not_checked(project, invoke, tmp_path):
    project.write("dvlite.yaml", stage("in.txt"))
    project.write("in.txt", "1")
    project.dvlite("repro")
    project.commit("Run")
    assert project.json("verify")["unchecked"] == []
    project.git("clone", "-q", str(project.root), str(tmp_path / "clone"))
    found = Project(tmp_path / "clone", invoke).json("verify", code=3)
    assert found["findings"] == []
    assert "no remote is configured" in found["unchecked"][0]["why"]


def test_submodules_are_not_looked_into(verified, tmp_path):
    project = verified.project
    other = Project(tmp_path / "other", project._invoke)
    other.root.mkdir()
    other.git("init", "-q")
    other.write("x.py", "pass\n")
    other.commit("Start")
    project.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(other.root), "lib/sub")
    project.write("lib/a.py", "pass\n")
    verified(stage("lib"))


@pytest.mark.parametrize("deps", ["lib/sub/x.py", '"lib/**/*.py"', "lib/sub"])
def test_a_dependency_in_a_submodule_is_checked_only_where_it_is_present(shared, tmp_path, deps):
    other = Project(tmp_path / "other", shared._invoke)
    other.root.mkdir()
    other.git("init", "-q")
    other.write("x.py", "pass\n")
    other.commit("Start")
    shared.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(other.root), "lib/sub")
    shared.write("lib/a.py", "pass\n")
    shared.write("dvlite.yaml", stage(deps))
    shared.dvlite("repro")
    shared.commit("Run")
    assert shared.json("verify")["findings"] == []
    unknown = [shared.json("verify", "--rev", "HEAD", code=3)]
    shared.git("submodule", "deinit", "-f", "-q", "lib/sub")
    unknown.append(shared.json("verify", code=3))
    for found in unknown:
        assert found["findings"] == []
        assert "submodule 'lib/sub'" in found["unchecked"][0]["why"]
    shared.git("-c", "protocol.file.allow=always", "submodule", "update", "-q", "--init")
    shared.write("lib/sub/x.py", "other\n")
    assert {each["kind"] for each in shared.json("verify", code=1)["findings"]} == {"dep-changed"}


def test_a_file_that_git_lfs_keeps_cannot_be_checked_in_a_commit(shared):
    shared.write("model.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n")
    shared.write("dvlite.yaml", stage("model.bin"))
    shared.dvlite("repro")
    shared.commit("Run")
    (found,) = shared.json("verify", "--rev", "HEAD", code=3)["unchecked"]
    assert found["what"] == "the dependency model.bin of one"
    assert "Git LFS" in found["why"]


def test_a_file_that_a_filter_of_git_changes_is_the_same_finding_with_and_without_a_revision(project):
    project.git("config", "filter.nb.clean", "sed s/outputs.*/outputs/")
    project.write(".gitattributes", project.read(".gitattributes").decode() + "*.ipynb filter=nb\n")
    project.write("a.ipynb", "code outputs 123")
    project.write("dvlite.yaml", "stages: {s: {cmd: cp a.ipynb o, deps: [a.ipynb], outs: [o]}}")
    assert "git changes 'a.ipynb' on commit (filter nb)" in project.dvlite("repro").stderr
    project.commit("All")
    found = [project.json("verify", *words, code=1)["findings"] for words in ((), ("--rev", "HEAD"))]
    assert [[(each["kind"], each["fix"]) for each in findings] for findings in found] == [
        [("dep-changed", "rm a.ipynb && git checkout -- a.ipynb && dvlite repro s")]
    ] * 2
    (project.root / "a.ipynb").unlink()
    project.git("checkout", "--", "a.ipynb")
    assert "git changes" not in project.dvlite("repro").stderr
    project.commit("Again")
    assert [project.json("verify", *words)["findings"] for words in ((), ("--rev", "HEAD"))] == [[], []]
