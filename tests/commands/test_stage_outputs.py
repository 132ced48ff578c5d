"""Cached outputs of stages have no pointer file: the lockfile is their pointer, for every command."""

import os
import re
import subprocess

import pytest

from dvlite.formats import lockfile, pointer
from dvlite.formats.lockfile import Facts, Locked, LockedStage, Lockfile
from dvlite.repo import committed_versions
from dvlite.repo.repository import open_repo
from dvlite.repo.revisions import Scope
from tests.commands.project import tree

KEY = "0" * 64


def locked(project, path, *, out=None, **settings):
    """Takes what is at a path into the cache as `repro` does, without a pointer, and returns its line of a lockfile."""
    locks = {file: file.read_bytes() for file in project.root.rglob("dvlite.lock")}
    for lock in locks:
        lock.unlink()
    project.dvlite("add", path, "--no-stage")
    for lock, data in locks.items():
        lock.write_bytes(data)
    file = project.root / f"{path}.dvlite"
    made = pointer.parse(file.read_bytes(), "x")
    file.unlink()
    return Locked(out or path, made.oid, made.size_bytes, made.files, made.executable, **settings)


def write_lock(project, folder="", **stages):
    """Writes a lockfile of stages, each given with its outputs."""
    rows = [
        LockedStage(name=name, key=KEY, facts=Facts(f"make {name}"), outs=tuple(outs)) for name, outs in stages.items()
    ]
    project.write(f"{folder}/dvlite.lock".lstrip("/"), lockfile.dump(Lockfile(tuple(rows))))


def make(project, text="model 1", tiles="tile"):
    """Makes what the stages prepare (a directory) and train (a file) make, and their lockfile."""
    project.write("tiles/a.bin", tiles)
    project.write("tiles/deep/b.bin", "the same")
    project.write("model.pt", text)
    write_lock(project, prepare=[locked(project, "tiles")], train=[locked(project, "model.pt")])


@pytest.fixture
def made(prepared):
    def build(project):
        make(project)
        project.commit("Train")

    return prepared("outputs-of-stages", build)


def opened(project):
    return open_repo(project.root, os.environ)


def remove(project, *paths):
    for path in paths:
        subprocess.run(["rm", "-rf", str(project.root / path)], check=True)


# --- what is tracked


def test_outputs_are_tracked_paths_that_name_their_lockfile_and_stage(made):
    made.write("sub/out.bin", "x")
    write_lock(made, "sub", make=[locked(made, "sub/out.bin", out="out.bin", push=False)])
    rows = [(item.path, item.lockfile, item.stage, item.push) for item in opened(made).work_tree.tracked()]
    assert rows == [
        ("model.pt", "dvlite.lock", "train", True),
        ("sub/out.bin", "sub/dvlite.lock", "sub:make", False),
        ("tiles", "dvlite.lock", "prepare", True),
    ]
    assert opened(made).work_tree.lockfiles() == ["dvlite.lock", "sub/dvlite.lock"]
    assert not [path for path in made.root.rglob("*.dvlite") if path.name != ".dvlite"]


def test_outputs_of_another_folder_and_outputs_that_git_keeps(made):
    made.write("data/made.bin", "x")
    made.write("report.json", "{}")
    report = Locked("../report.json", f"blake3:{'a' * 64}", 2, cache=False)
    write_lock(made, "code", make=[locked(made, "data/made.bin", out="../data/made.bin"), report])
    assert [item.path for item in opened(made).work_tree.tracked()] == ["data/made.bin", "model.pt", "tiles"]


def test_outputs_at_a_revision_come_from_the_lockfile_there(made):
    first = [(item.path, item.pointer) for item in opened(made).work_tree.tracked()]
    make(made, "model 2")
    made.commit("Again")
    remove(made, "dvlite.lock")
    repo = opened(made)
    assert [(item.path, item.pointer) for item in repo.at("HEAD~1").tracked()] == first
    assert [item.path for item in repo.at("HEAD").tracked()] == ["model.pt", "tiles"]
    assert repo.work_tree.tracked() == []
    assert repo.at("HEAD~1").lockfiles() == ["dvlite.lock"]


def test_pipeline_files_are_those_git_tracks_or_would(made):
    made.write("dvlite.yaml", "stages: {}\n")
    made.write("a/b/dvlite.yaml", "stages: {}\n")
    made.write("ignored/dvlite.yaml", "stages: {}\n")
    made.write("a/not-dvlite.yaml", "")
    made.write("a/.gitignore", "")
    made.write(".git/info/exclude", "/ignored\n")
    repo = opened(made)
    assert repo.work_tree.pipeline_files() == ["a/b/dvlite.yaml", "dvlite.yaml"]
    made.write("c/dvlite.yaml", "stages: {}\n")
    assert repo.work_tree.pipeline_files(as_seen=True) == ["a/b/dvlite.yaml", "dvlite.yaml"]
    assert len(repo.work_tree.pipeline_files()) == 3


# --- push, pull, fetch


def test_a_colleague_pulls_outputs(made, colleague):
    assert "Pushed model.pt, tiles" in made.dvlite("push").stdout
    other = colleague(made)
    other.dvlite("remote", "trust", made.root.parent / "store")
    other.dvlite("pull")
    assert other.read("model.pt") == b"model 1"
    assert tree(other.root / "tiles") == tree(made.root / "tiles")
    assert other.is_clean()  # git does not show them either
    assert not (other.root / "model.pt.dvlite").exists()


def test_a_second_push_has_nothing_to_do(made):
    made.dvlite("push")
    assert "Nothing to push: 2 tracked paths complete" in made.dvlite("push").stdout
    assert made.json("status", "--remote")["clean"]


def test_part_of_an_output_can_be_pulled(made, colleague):
    made.dvlite("push")
    other = colleague(made)
    other.dvlite("remote", "trust", made.root.parent / "store")
    other.dvlite("pull", "tiles/deep")
    assert list(tree(other.root / "tiles")) == ["deep", "deep/b.bin"]
    assert not other.has("model.pt")


def test_status_shows_what_is_not_pushed(made):
    absent = made.json("status", "--remote")["not_pushed"]
    assert [(path["path"], path["stage"]) for path in absent] == [("model.pt", "train"), ("tiles", "prepare")]


def test_push_fails_for_an_output_that_is_nowhere(made):
    remove(made, ".git/dvlite", "model.pt")
    assert "model.pt" in made.dvlite("push", code=12).stderr


def test_all_commits_push_older_outputs(made, colleague):
    make(made, "model 2")
    made.commit("Again")
    moved = made.json("push", "--all-commits")["paths"]
    assert [path["path"] for path in moved].count("model.pt") == 2
    other = colleague(made)
    other.dvlite("remote", "trust", made.root.parent / "store")
    other.dvlite("fetch", "--rev", "HEAD~1")
    other.dvlite("checkout", "--rev", "HEAD~1", "model.pt")
    assert other.read("model.pt") == b"model 1"


def test_an_output_that_is_not_pushed_stays_in_its_clone(made, colleague):
    made.write("tmp.bin", "local")
    write_lock(made, train=[locked(made, "model.pt"), locked(made, "tmp.bin", push=False)])
    made.commit("Keep tmp.bin here")
    assert [path["path"] for path in made.json("push")["paths"]] == ["model.pt"]
    assert made.json("status", "--remote")["clean"]
    refused = made.dvlite("push", "tmp.bin", code=2).stderr
    assert "'tmp.bin' stays in the clone that made it: the stage train says 'push: false'" in refused
    remove(made, "tmp.bin")
    made.dvlite("checkout")
    assert made.read("tmp.bin") == b"local"
    made.dvlite("pull")
    assert made.has("tmp.bin")  # pull does not bring it, and does not take it away
    other = colleague(made)
    other.dvlite("remote", "trust", made.root.parent / "store")
    other.dvlite("pull")
    other.dvlite("checkout")
    assert not other.has("tmp.bin")
    assert other.json("status")["clean"]


def test_an_edit_of_a_large_output_sends_only_what_changed(shared):
    big = bytearray(os.urandom(3_000_000))
    shared.write("model.pt", bytes(big))
    write_lock(shared, train=[locked(shared, "model.pt")])
    shared.commit("Train")
    shared.dvlite("push")
    remove(shared, ".git/dvlite/cache/remotes")  # all that is left to know earlier versions from is git
    big[1_500_000] ^= 1
    shared.write("model.pt", bytes(big))
    write_lock(shared, train=[locked(shared, "model.pt")])
    shared.commit("Again")
    assert shared.json("push")["uploaded_bytes"] < 400_000


# --- status, checkout, diff, ls, get


def test_an_output_changed_by_hand_has_a_part_of_its_own(made):
    made.write("model.pt", "edited")
    found = made.json("status")
    assert [(path["path"], path["stage"]) for path in found["outputs_changed"]] == [("model.pt", "train")]
    assert (found["clean"], found["changed"]) == (False, [])
    shown = made.dvlite("status").stdout
    assert re.search(
        r"^Outputs changed, not by their stage +\(dvlite repro, or undo: dvlite checkout --force model.pt\)$",
        shown,
        re.MULTILINE,
    )
    assert "add -u" not in shown
    for verb in ("checkout", "pull"):  # add takes no outputs
        assert "to keep the changes: dvlite commit train\n" in made.dvlite(verb, code=3).stderr, verb
    made.dvlite("checkout", "--force", "model.pt")
    assert made.is_clean()


def test_status_lists_lockfiles_and_pipeline_files_that_are_not_committed(made):
    made.write("dvlite.yaml", "stages: {}\n")
    make(made, "model 2")
    states = {file["path"]: file["state"] for file in made.json("status")["uncommitted"]}
    assert states == {"dvlite.lock": "modified", "dvlite.yaml": "untracked"}
    assert len(made.json("status", "tiles")["uncommitted"]) == 2


def test_outputs_that_are_not_in_the_cache_are_not_for_add(made):
    remove(made, ".git/dvlite/cache")
    shown = made.dvlite("status").stdout
    assert "(dvlite pull)" in shown
    assert "add -u" not in shown


def test_checkout_restores_deleted_outputs(made):
    before = tree(made.root / "tiles")
    remove(made, "tiles", "model.pt")
    assert len(made.json("status")["missing"]) == 2
    made.dvlite("checkout")
    assert (tree(made.root / "tiles"), made.read("model.pt")) == (before, b"model 1")
    assert made.is_clean()


def test_checkout_of_a_revision_restores_data_and_writes_no_pointer(made):
    make(made, "model 2")
    made.commit("Again")
    made.dvlite("checkout", "--rev", "HEAD~1", "model.pt")
    assert made.read("model.pt") == b"model 1"
    assert not made.has("model.pt.dvlite")
    assert made.git("status", "--porcelain") == ""  # the lockfile is left alone
    made.dvlite("checkout")
    assert made.read("model.pt") == b"model 2"


def test_checkout_of_a_revision_gives_no_pointer_to_what_is_an_output_now(shared):
    shared.write("model.pt", "by hand")
    shared.dvlite("add", "model.pt")
    shared.commit("Add")
    shared.git("rm", "-q", "--cached", "model.pt.dvlite")
    shared.write("model.pt", "by a stage")
    write_lock(shared, train=[locked(shared, "model.pt")])
    shared.commit("Make it")
    shared.dvlite("checkout", "--rev", "HEAD~1", "model.pt")
    assert shared.read("model.pt") == b"by hand"
    assert not shared.has("model.pt.dvlite")
    assert shared.tracked() == ["model.pt"]


def test_an_output_that_only_a_revision_has_is_restored_without_a_pointer(made):
    write_lock(made, prepare=[locked(made, "tiles")])
    made.commit("Train no more")
    made.dvlite("checkout")
    assert not made.has("model.pt")
    made.dvlite("checkout", "--rev", "HEAD~1", "model.pt")
    assert made.read("model.pt") == b"model 1"
    assert not made.has("model.pt.dvlite")


def test_the_lockfile_keeps_the_version_that_checkout_of_a_revision_replaces(made):
    make(made, "model 2")
    done = made.dvlite("checkout", "--rev", "HEAD", "model.pt")
    assert "never committed" not in done.stderr
    assert not (made.root / ".git" / "dvlite" / "saved").exists()


def test_switching_branches_switches_outputs(made):
    made.git("checkout", "-q", "-b", "side")
    make(made, "model of side")
    made.write("extra.bin", "only on side")
    write_lock(made, train=[locked(made, "model.pt")], more=[locked(made, "extra.bin")])
    made.commit("Side")
    made.git("checkout", "-q", "main")
    made.dvlite("checkout")
    assert made.read("model.pt") == b"model 1"
    assert not made.has("extra.bin")
    assert made.is_clean()
    made.git("checkout", "-q", "side")
    made.dvlite("checkout")
    assert made.read("extra.bin") == b"only on side"


def test_an_output_that_no_commit_names_is_left_alone(made):
    made.write("extra.bin", "never committed")
    extra = locked(made, "extra.bin")
    write_lock(made, more=[extra])
    made.git("checkout", "-q", "dvlite.lock")
    assert "no commit has it" in made.dvlite("checkout").stderr
    assert made.has("extra.bin")


def test_diff_of_outputs_between_revisions_and_with_the_workspace(made):
    make(made, "model 2", tiles="another tile")
    made.commit("Again")
    between = {path["path"]: path for path in made.json("diff", "HEAD~1", "HEAD")["paths"]}
    assert list(between) == ["model.pt", "tiles"]
    assert [file["path"] for file in between["tiles"]["files"]] == ["tiles/a.bin"]
    assert made.json("diff")["paths"] == []
    made.write("model.pt", "model 33")
    assert [path["path"] for path in made.json("diff")["paths"]] == ["model.pt"]


def test_ls_lists_outputs_with_their_stage(made):
    assert made.dvlite("ls").stdout.splitlines() == ["model.pt", "tiles"]
    assert [(entry["path"], entry["stage"]) for entry in made.json("ls")["entries"]] == [
        ("model.pt", "train"),
        ("tiles", "prepare"),
    ]
    inside = made.json("ls", "-R", "HEAD:tiles")["entries"]
    assert [(entry["path"], entry["stage"]) for entry in inside] == [
        ("tiles/a.bin", "prepare"),
        ("tiles/deep/b.bin", "prepare"),
    ]


def test_get_copies_outputs_out_of_a_repository_near_and_far(made, tmp_path):
    made.dvlite("remote", "set", "origin", tmp_path / "store")  # a relative one cannot be reached by URL
    made.commit("Remote")
    made.dvlite("push")
    made.dvlite("get", made.root, "model.pt", "-o", tmp_path / "near.pt")
    assert (tmp_path / "near.pt").read_bytes() == b"model 1"
    made.dvlite("get", f"file://{made.root}", "tiles/deep/b.bin", "-o", tmp_path / "far.bin", "--rev", "main")
    assert (tmp_path / "far.bin").read_bytes() == b"the same"


def test_get_reads_a_lockfile_that_is_larger_than_a_pointer(made, tmp_path):
    stages = [LockedStage(name=f"s{i}", key=KEY, facts=Facts("x" * 1000)) for i in range(100)]
    train = LockedStage(name="train", key=KEY, facts=Facts("x"), outs=(locked(made, "model.pt"),))
    made.write("dvlite.lock", lockfile.dump(Lockfile((*stages, train))))
    made.write("large.txt", os.urandom(200_000))
    made.dvlite("remote", "set", "origin", tmp_path / "store")
    made.commit("Many stages")
    made.dvlite("push")
    made.git("config", "uploadpack.allowFilter", "true")
    made.git("config", "uploadpack.allowAnySHA1InWant", "true")
    made.dvlite("get", f"file://{made.root}", "model.pt", "-o", tmp_path / "m.pt")
    assert (tmp_path / "m.pt").read_bytes() == b"model 1"


def test_prune_keeps_outputs_that_are_not_pushed(made):
    remove(made, "tiles", "model.pt")
    made.write("other.bin", os.urandom(100_000))
    made.dvlite("add", "other.bin")
    made.commit("Other")
    made.dvlite("push", "other.bin")
    made.dvlite("cache", "prune", "--pushed")
    made.dvlite("checkout", "tiles", "model.pt")
    assert made.read("model.pt") == b"model 1"


# --- add, rm, mv


def test_an_output_cannot_be_added(made):
    made.write("tiles/new.bin", "x")
    for path, said in (
        ("model.pt", "'model.pt' is an output of the stage train"),
        ("tiles/new.bin", "'tiles/new.bin' is inside 'tiles', an output of the stage prepare"),
    ):
        done = made.dvlite("add", path, code=2)
        assert said in done.stderr
        assert "dvlite repro" in done.stderr
    made.write("sub/out.bin", "x")
    write_lock(made, "sub", make=[locked(made, "sub/out.bin", out="out.bin")])
    assert "'sub' holds 'sub/out.bin', an output of the stage sub:make" in made.dvlite("add", "sub", code=2).stderr


def test_add_u_passes_outputs_over(made):
    made.write("data.bin", "1")
    made.dvlite("add", "data.bin")
    made.write("data.bin", "22")
    made.write("model.pt", "edited")
    assert [path["path"] for path in made.json("add", "-u")["paths"]] == ["data.bin"]
    assert [path["path"] for path in made.json("status")["outputs_changed"]] == ["model.pt"]


def test_an_output_is_removed_or_renamed_in_the_pipeline(made):
    for words in (("rm", "model.pt"), ("rm", "--cached", "tiles"), ("mv", "model.pt", "m.pt")):
        done = made.dvlite(*words, code=2)
        assert "it is an output of the stage" in done.stderr
        assert "in 'dvlite.yaml'" in done.stderr
    assert made.has("model.pt")
    assert made.is_clean()


def test_nothing_is_moved_into_an_output(made):
    made.write("data.bin", "1")
    made.dvlite("add", "data.bin")
    assert "an output of the stage prepare" in made.dvlite("mv", "data.bin", "tiles/", code=2).stderr


# --- broken and hostile lockfiles


def test_a_broken_lockfile_stops_only_what_it_is_about(made):
    made.write("data.bin", "1")
    made.dvlite("add", "data.bin")
    made.commit("Data")
    made.write("dvlite.lock", b"<<<<<<< HEAD\n" + made.read("dvlite.lock"))
    broken = "cannot read 'dvlite.lock' line 1: there is an unresolved merge conflict"
    for words in (("push",), ("push", "model.pt"), ("push", "."), ("checkout", "tiles")):
        assert broken in made.dvlite(*words, code=1).stderr
    for words in (("fetch",), ("pull",)):
        assert broken in made.dvlite(*words, code=3).stderr
    remove(made, "data.bin")
    assert broken in made.dvlite("checkout", code=3).stderr
    assert made.has("data.bin")
    assert made.has("model.pt")  # what the lockfile names is not taken for untracked
    made.write("data.bin", "22")
    made.write("more.bin", "3")
    assert broken in made.dvlite("add", "-u").stderr
    assert broken in made.dvlite("add", "more.bin").stderr
    assert broken in made.dvlite("push", "data.bin", "more.bin.dvlite").stderr
    assert broken in made.dvlite("checkout", "data.bin").stderr
    found = made.json("status")
    assert not found["clean"]
    assert [warning.startswith(broken) for warning in found["warnings"]] == [True]
    assert made.dvlite("status", "--exit-code", code=1)


def test_a_broken_pointer_stops_only_its_own_path(made):
    made.write("data.bin", "1")
    made.write("other.bin", "1")
    made.dvlite("add", "data.bin", "other.bin")
    made.commit("Data")
    made.write("data.bin.dvlite", "nonsense\n")
    broken = "cannot read 'data.bin.dvlite' line 1"
    for words in (("push",), ("push", "data.bin"), ("checkout", "data.bin"), ("add", "data.bin"), ("rm", "data.bin")):
        assert broken in made.dvlite(*words, code=1).stderr
    remove(made, "model.pt", "other.bin")
    assert broken in made.dvlite("checkout", code=3).stderr
    assert (made.has("model.pt"), made.has("other.bin"), made.has("data.bin")) == (True, True, True)
    assert broken in made.dvlite("push", "model.pt", "other.bin").stderr
    assert [entry["path"] for entry in made.json("ls")["entries"]] == ["model.pt", "other.bin", "tiles"]
    assert not made.json("status")["clean"]
    made.dvlite("checkout", "--rev", "HEAD", "data.bin")
    made.dvlite("add", "data.bin")
    assert made.json("status")["warnings"] == []


HOSTILE = [
    ("../../x", "is outside the repository"),
    (".git/hooks/pre-commit", "git and dvlite use that name"),
    ("../.GIT/config", "git and dvlite use that name"),
    ("../.dvlite/config.yaml", "git and dvlite use that name"),
    ("model.pt.dvlite", "name of a pointer"),
    ("/etc/passwd", "is not a plain relative path"),
    ("a/../../b", "is not a plain relative path"),
    ("..", "is not a plain relative path"),
    ("a//b", "is not a plain relative path"),
    ("link/x", "is behind a symbolic link"),
    ("../sub", "overlap"),
    ("x" * 300, "is too long"),
    ("d/" * 2500 + "x", "is too long"),
    ("a\\ud800b", "is no name that a file can have"),
]


@pytest.mark.parametrize(("path", "reason"), HOSTILE)
def test_a_hostile_path_in_a_lockfile_is_refused_with_its_line(made, tmp_path, path, reason):
    out = f'      "{path}": {{oid: blake3:{"a" * 64}, size: 3}}\n'
    text = f'dvlite: 1\nstages:\n  good:\n    key: {KEY}\n    cmd: "x"\n    outs:\n      fine: {{oid: blake3:{"b" * 64}, size: 1}}\n'
    (tmp_path / "elsewhere").mkdir()
    (made.root / "sub").mkdir()
    (made.root / "sub" / "link").symlink_to(tmp_path / "elsewhere")
    made.write("sub/dvlite.lock", text + out + "# end\n")
    goes_on = () if reason == "overlap" else (("pull", 3), ("fetch", 3))  # there is a tracked path left to fetch
    for verb, code in (("push", 1), *goes_on):
        done = made.dvlite(verb, code=code)
        lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1
        if reason != "overlap":
            assert reason in lines[0]
            assert "'sub/dvlite.lock' line 8" in lines[0]
        else:
            assert "'sub/fine' is inside 'sub'" in lines[0]
    if reason != "overlap":
        assert "sub/dvlite.lock" in made.dvlite("checkout", code=3).stderr
    assert not any((tmp_path / "elsewhere").iterdir())


def test_two_lockfiles_that_name_one_output_are_refused_in_one_line(made):
    write_lock(made, "sub", again=[Locked("../model.pt", f"blake3:{'a' * 64}", 3)])
    error = made.dvlite("push", code=1).stderr.splitlines()[0]
    assert error == "error: refused 'sub/dvlite.lock': 'model.pt' is an output of the stage 'train' too"


def test_an_output_that_overlaps_a_pointer_is_refused_in_one_line(made):
    made.write("set/a.bin", "x")
    made.dvlite("add", "set")
    write_lock(made, "set2", again=[Locked("../set/a.bin", f"blake3:{'a' * 64}", 3)])
    error, hint = made.dvlite("push", code=1).stderr.splitlines()
    assert error == "error: refused 'set2/dvlite.lock': 'set/a.bin' is inside 'set', which is tracked too"
    assert "dvlite rm --cached set" in hint
    assert "refused" in made.json("status")["warnings"][0]
    made.write("set/b.bin", "y")
    assert made.dvlite("add", "-u").returncode == 0  # the outer path still counts


def test_a_linked_lockfile_is_not_followed(made, tmp_path):
    (tmp_path / "secret").write_text("secret")
    remove(made, "dvlite.lock")
    (made.root / "dvlite.lock").symlink_to(tmp_path / "secret")
    assert "refused 'dvlite.lock': it is a symbolic link" in made.dvlite("push", code=1).stderr


def test_a_clone_with_a_broken_lockfile_is_still_a_clone(made, tmp_path):
    made.write("dvlite.lock", "nonsense\n")
    made.commit("Break it")
    assert "cannot read 'dvlite.lock'" in made.dvlite("clone", made.root, tmp_path / "copy", code=3).stderr
    assert (tmp_path / "copy" / ".dvlite").is_dir()


# --- history


def test_versions_of_an_output_come_from_its_lockfile(made):
    for text in ("model 2", "model 3"):
        make(made, text)
        made.commit(text)
    repo = opened(made)
    versions = [tracked.pointer for rev in ("HEAD", "HEAD~1", "HEAD~2") for tracked in repo.at(rev).tracked()]
    models = [known for known in versions if known.kind == "file"]
    assert committed_versions.history(repo.git, "model.pt", 10) == models
    assert (
        committed_versions.histories(repo.git, ["model.pt"], 2, lockfiles={"model.pt": "dvlite.lock"})["model.pt"]
        == models[:2]
    )
    assert len(committed_versions.history(repo.git, "tiles", 10)) == 1
    assert committed_versions.history(repo.git, "nothing", 10) == []


def test_versions_of_an_output_are_followed_when_its_folder_is_renamed(shared):
    for text in ("1", "2"):
        shared.write("old/out.bin", text)
        write_lock(shared, "old", make=[locked(shared, "old/out.bin", out="out.bin")])
        shared.commit(text)
    shared.git("mv", "old/dvlite.lock", "new.lock")
    (shared.root / "new").mkdir()
    shared.git("mv", "new.lock", "new/dvlite.lock")
    shared.commit("Move")
    assert len(committed_versions.history(opened(shared).git, "new/out.bin", 10)) == 2


def test_reachable_outputs_name_their_stage_and_a_broken_lockfile_in_history_is_warned_of(made):
    made.write("dvlite.lock", "nonsense\n")
    made.commit("Break it")
    make(made, "model 2")
    made.commit("Mend it")
    found = committed_versions.reachable(opened(made).git, Scope(all_commits=True))
    assert sorted((version.path, version.stage) for version in found) == [
        ("model.pt", "train"),
        ("model.pt", "train"),
        ("tiles", "prepare"),
    ]
    assert "cannot read" in made.dvlite("push", "--all-commits").stderr


def test_commits_and_changes_of_lockfiles(made):
    make(made, "model 2")
    made.commit("Ünïcode ✓")
    repo = opened(made)
    heads = made.git("log", "--format=%H", "-2").split()
    changes = list(repo.git.lockfile_changes("--all"))
    assert [(change.commit, change.path) for change in changes] == [(head, "dvlite.lock") for head in heads]
    assert len({change.blob for change in changes}) == 2
    known = repo.git.read_commits([*heads, "f" * 40])
    assert [known[head].subject for head in heads] == ["Ünïcode ✓", "Train"]
    assert list(known) == heads
    assert known[heads[0]].time == int(made.git("log", "-1", "--format=%at"))
    assert known[heads[0]].author == made.git("log", "-1", "--format=%an").strip()
    assert repo.git.read_commits([]) == {}


def test_a_rerun_stages_the_ignore_file_of_a_stopped_run(pipeline):
    pipeline.line().repro()
    pipeline.git("rm", "-q", "--cached", ".gitignore")
    pipeline.repro()
    assert "A  .gitignore" in pipeline.git("status", "--porcelain")
