"""`dvlite verify` where links, sparse checkouts and forced files make what git has other than it looks: every way of asking agrees."""

import os
import random
import shlex
import shutil

import pytest

PIPELINE = """\
stages:
  one:
    cmd: echo 1 > one.txt
    deps: [link.txt, src]
    outs: [one.txt]
  two:
    cmd: echo 2 > two.txt
    deps: [dir/x]
    outs: [two.txt]
  three:
    cmd: echo 3 > three.txt; echo 3 > report.txt
    deps: ["lib/**/*.py", "lib/*", "top*"]
    outs: [three.txt, {path: report.txt, cache: false}]
  four:
    cmd: echo 4 > four.txt
    params: [{conf/p.json: [a]}]
    outs: [four.txt]
  five:
    cmd: cp data/d.txt five.txt
    deps: [data/d.txt, raw/1.csv, "raw/*", one.txt]
    outs: [five.txt]
"""


def link(project, target, path):
    place = project.root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    os.symlink(target, place)


def stage(deps, more=""):
    return f"stages:\n  one:\n    cmd: echo made > out.txt\n    deps: [{deps}]\n    outs: [out.txt]\n{more}"


def keys(found):
    return {(each["kind"], each["file"], each["stage"], each["path"], each["message"]) for each in found}


def at(project, *args):
    """Returns the findings of a look, and what it could not check."""
    found = project.json("verify", *args, code=None)
    return found["findings"], {(each["what"], each["why"]) for each in found["unchecked"]}


def assert_equal_everywhere(project, first, *, here=True):
    """Asserts that a range finds of each commit what a look at that commit finds, and the work tree what the last one has."""
    commits = project.git("rev-list", "--reverse", f"{first}..HEAD").split()
    told, unsure = at(project, "--range", f"{first}..HEAD")
    assert len({each["commit"] for each in told}) <= len(commits)
    everything = set()
    for number, commit in enumerate(commits):
        found, unchecked = at(project, "--rev", commit)
        everything |= unchecked
        here_too = [each for each in told if 0 <= number - commits.index(each["commit"]) <= each["also"]]
        log = project.git("log", "--format=%h %s", "--name-status", commits[0] + "~.." + commit)
        assert keys(here_too) == keys(found), f"{number}: {commit}\n{log}"
    assert unsure == everything
    if here:
        assert keys(at(project)[0]) == keys(at(project, "--rev", "HEAD")[0])


@pytest.fixture
def linked(prepared):
    """Returns a project that was run once, with links to files and folders, data, and a file that git keeps."""

    def build(project):
        for path in ("src/a.py", "src/b.py", "src/c.log", "real/x", "real/y", "lib/m.py", "lib/deep/n.py", "top.txt"):
            project.write(path, f"{path}\n")
        project.write("conf2/p.json", '{"a": 1}')
        project.write("data/d.txt", "data\n")
        project.write("raw/1.csv", "1\n")
        project.write(".dvliteignore", "")
        project.dvlite("add", "data/d.txt", "raw")
        link(project, "src/a.py", "link.txt")
        link(project, "real", "dir")
        link(project, "../src/b.py", "lib/l.py")
        link(project, "conf2", "conf")
        project.write("dvlite.yaml", PIPELINE)
        project.dvlite("repro")
        project.commit("Run")

    return prepared("with-links", build)


def change(project, chosen):
    """Does one thing that a person, or a rebase, might do; a few of them are about nothing that matters."""
    root = project.root
    files = ["src/a.py", "src/b.py", "src/c.log", "real/x", "real/y", "lib/m.py", "lib/new.py", "top2", "report.txt"]
    files += ["other.txt", "real/deep/x", "conf2/q.json", "lib/deep/n.py", "lib/deep/.h.py"]
    targets = ["src/a.py", "src/b.py", "real/x", "nowhere", "../outside", "real", "data/d.txt", "raw/1.csv", "top.txt"]
    what = chosen.choice(
        ["write"] * 4 + ["link", "dir", "inner", "remove", "move", "force", "ignore", "lock", "pointer", "conf", "mode"]
    )
    if what == "write":
        path = root / chosen.choice(files)
        if not path.parent.is_symlink() and not any(parent.is_file() for parent in path.parents):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.write_text(f"{chosen.randrange(3)}\n")
    elif what == "link":
        link(project, chosen.choice(targets), chosen.choice(["link.txt", "link.txt", "top3", "other"]))
    elif what == "dir":
        link(project, chosen.choice(["real", "src", "moved", "conf2", "raw"]), "dir")
    elif what == "inner":
        link(project, "../" + chosen.choice(targets), chosen.choice(["lib/l.py", "src/l", "lib/deep/k.py"]))
    elif what == "remove":
        path = root / chosen.choice([*files, "link.txt", "dir", "lib/l.py", "src/l", "top3"])
        path.unlink(missing_ok=True)
    elif what == "move":
        old, new = chosen.choice([("real", "moved"), ("moved", "real"), ("src", "moved"), ("lib", "src")])
        if (root / old).is_dir() and not (root / new).exists():
            (root / old).rename(root / new)
    elif what == "force":
        path = chosen.choice(["data/d.txt", "raw/1.csv", "one.txt"])
        if project.git("ls-files", "--", path):
            project.git("rm", "-q", "--cached", path)
        else:
            project.git("add", "-f", path)
    elif what == "ignore":
        project.write(".dvliteignore", chosen.choice(["", "*.log\n", "x\n", "/src/b.py\n", "1.csv\n"]))
    elif what == "lock":
        commit = chosen.choice(project.git("rev-list", "HEAD", "--", "dvlite.lock").split()[:4])
        project.write("dvlite.lock", project.git("show", f"{commit}:dvlite.lock"))
    elif what == "pointer":
        pointer = project.read("data/d.txt.dvlite")
        project.write(
            "data/d.txt.dvlite", pointer.replace(b"bytes: 5", b"bytes: 6") if chosen.random() < 0.5 else pointer
        )
    elif what == "conf":
        project.write("conf2/p.json", chosen.choice(['{"a": 1}', '{"a": 2}', "{}", "{"]))
    elif (root / "src/a.py").is_file():
        (root / "src/a.py").chmod(chosen.choice([0o644, 0o755]))


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 8))])
def test_a_range_finds_what_each_of_its_commits_has(linked, seed):
    chosen = random.Random(seed)
    for number in range(14):
        for _ in range(chosen.choice([1, 1, 2])):
            change(linked, chosen)
        linked.git("add", "-A")
        linked.git("commit", "-q", "--allow-empty", "-m", f"Step {number}")
    assert_equal_everywhere(linked, "HEAD~14", here=False)


# --- each by itself


def test_a_change_behind_a_link_is_seen_in_a_range(linked):
    for path in ("src/a.py", "real/x", "src/b.py", "conf2/p.json"):
        linked.write(path, '{"a": 3}')
        linked.commit(path)
    linked.git("add", "-f", "data/d.txt")
    linked.git("commit", "-qm", "Forced")
    link(linked, "src", "dir")
    linked.write("src/x", "other\n")
    linked.commit("Another folder")
    assert_equal_everywhere(linked, "HEAD~6", here=False)
    found, _ = at(linked, "--range", "HEAD~6..HEAD")
    assert {each["path"] for each in found if each["kind"] == "dep-changed"} >= {"link.txt", "dir/x", "lib/l.py"}
    assert {"overlap", "param-changed"} <= {each["kind"] for each in found}


def leave_out(project, *patterns):
    """Makes a sparse checkout without these, as git does it, whatever version of git."""
    project.git("sparse-checkout", "init", "--no-cone")
    project.write(
        ".git/info/sparse-checkout", "".join(f"{line}\n" for line in ("/*", *(f"!{each}" for each in patterns)))
    )
    project.git("read-tree", "-mu", "HEAD")


@pytest.mark.parametrize(
    "patterns",
    [
        ["/src/"],
        ["/src/a.py"],
        ["/src/x.log"],
        ["/src/a.py", "/.dvliteignore"],
        ["/conf2/"],
        ["/real"],
        ["/l.py"],
        ["/src/", "/l.py"],
    ],
)
def test_a_sparse_checkout_of_what_is_sound_is_sound(shared, patterns):
    for path in ("src/a.py", "src/b.py", "src/x.log", "src/deep/c.py", "real/x"):
        shared.write(path, f"{path}\n")
    link(shared, "a.py", "src/link")
    shared.write("conf2/p.json", '{"a": 1}')
    shared.write(".dvliteignore", "*.log\n")
    link(shared, "src/a.py", "l.py")
    link(shared, "real", "dir")
    link(shared, "conf2", "conf")
    shared.write("dvlite.yaml", stage('src, l.py, dir/x, "src/*.py", "src/**"', "    params: [{conf/p.json: [a]}]\n"))
    shared.dvlite("repro")
    shared.commit("Run")
    leave_out(shared, *patterns)
    assert not shared.has(patterns[0].strip("/"))
    for args in (["--rev", "HEAD"], []):
        assert at(shared, *args) == ([], set())
    if shared.has("src/b.py"):
        shared.write("src/b.py", "edited\n")
        found = at(shared)[0]
        assert {each["path"] for each in found} == {"src", "src/b.py"}
        *widening, again = found[0]["fix"].split(" && ")
        for command in widening:
            shared.git(*shlex.split(command)[1:])
        assert again == "dvlite repro one"
        assert shared.dvlite("repro", "one").returncode == 0


def test_parameters_below_a_linked_folder_are_read_and_told_of(linked):
    assert at(linked) == ([], set())
    linked.write("conf2/p.json", '{"a": 2}')
    (found,) = at(linked)[0]
    assert (found["kind"], found["new"]) == ("param-changed", 2)
    linked.write("conf2/p.json", "{")
    (found,) = at(linked)[0]
    assert found["message"].startswith("the file of parameters cannot be read")
    (linked.root / "conf2/p.json").unlink()
    linked.write("conf2/other.json", '{"a": 1}')
    link(linked, "other.json", "conf2/p.json")
    linked.commit("A link itself")
    linked.dvlite("repro", code=1)
    assert_equal_everywhere(linked, "HEAD~1")
    (found,) = at(linked)[0]
    assert "it is a symbolic link" in found["message"]


def test_parameters_behind_a_link_that_git_ignores_are_nobody_else_s(linked):
    linked.write(".gitignore", "/conf\n")
    linked.git("rm", "-q", "--cached", "conf")
    (found,) = at(linked)[0]
    assert (found["kind"], found["path"]) == ("param-missing", "conf/p.json")


@pytest.mark.parametrize("dep", ["other", '"oth*"', "other/deep"])
def test_a_folder_that_became_a_link_is_not_checked(shared, dep):
    shared.write("other/deep/x", "x")
    shared.write("dvlite.yaml", stage(dep))
    shared.dvlite("repro")
    shared.commit("Run")
    shared.git("mv", "other", "real")
    link(shared, "real", "other")
    shared.commit("Link")
    (why,) = {why for _, why in at(shared)[1]}
    assert "symbolic link" in why
    shared.dvlite("repro", code=2)
    for args in ([], ["--rev", "HEAD"], ["--range", "HEAD~1..HEAD"]):
        found = shared.json("verify", *args, code=3)
        assert (found["findings"], {each["why"] for each in found["unchecked"]}) == ([], {why})


def test_two_stars_do_not_stand_for_a_link_to_a_folder(shared):
    shared.write("lib/a.py", "a")
    shared.write("real/b.py", "b")
    link(shared, "../real", "lib/linked")
    shared.write("dvlite.yaml", stage('"lib/**"'))
    shared.dvlite("repro")
    shared.commit("Run")
    for args in ([], ["--rev", "HEAD"]):
        assert at(shared, *args) == ([], set())


@pytest.mark.parametrize("target", ["../nowhere.py", "/etc/hostname", "a/../../src"])
def test_a_link_that_leaves_a_folder_is_not_checked(shared, target):
    shared.write("lib/a.py", "a")
    shared.write("dvlite.yaml", stage("lib"))
    shared.dvlite("repro")
    link(shared, target, "lib/l")
    shared.commit("Run")
    shared.dvlite("repro", code=2)
    here, there = (shared.json("verify", *args, code=3)["unchecked"] for args in ([], ["--rev", "HEAD"]))
    assert "the symbolic link" in here[0]["why"]
    assert [(each["what"], each["why"], each["hint"]) for each in here] == [
        (each["what"], each["why"], each["hint"]) for each in there
    ]


def test_link_in_a_dependency_that_leaves_it_counts_as_the_file_that_it_leads_to(pipeline, colleague):
    pipeline.write("common.py", "1")
    pipeline.write("src/a.py", "a")
    (pipeline.root / "src/common.py").symlink_to("../common.py")
    pipeline.write("dvlite.yaml", "stages: {s: {cmd: cat src/* > o, deps: [src], outs: [{path: o, cache: false}]}}")
    pipeline.dvlite("repro")
    pipeline.commit("Run")
    assert pipeline.is_up_to_date()
    for where in (pipeline, type(pipeline)(colleague(pipeline), pipeline._ran)):
        assert not where.json("verify", code=None)["findings"]
        assert not where.json("verify", "--rev", "HEAD", code=None)["findings"]
    pipeline.write("common.py", "2")
    assert pipeline.reasons() == {"s": [("dep-changed", "src")]}
    (pipeline.root / "src/common.py").unlink()
    (pipeline.root / "src/common.py").symlink_to("../nowhere.py")
    assert "leaves" in pipeline.dvlite("repro", code=2).stderr
