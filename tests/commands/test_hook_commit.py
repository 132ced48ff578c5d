"""The pre-commit hook: what a commit holds is looked at before git makes it, and nothing else."""

import os

import pytest

from tests.commands.hooked import Hooked, said, with_hooks
from tests.copies import copy_of

MANY = 11 << 20


@pytest.fixture
def filled(tmp_path, invoke, on_path):
    """Returns the repository with hooks, a directory and a file that are tracked and committed."""

    def build(folder):
        with_hooks(folder, invoke)
        made = Hooked(folder, invoke)
        for name in ("one", "two", "three"):
            made.write(f"data/{name}.txt", name)
        made.write("model.pt", b"m" * 1000)
        made.dvlite("add", "data", "model.pt")
        made.commit("Track data")

    return Hooked(copy_of("filled", build, tmp_path / "repo"), invoke)


def changed_pointer(project, path="data/four.txt"):
    project.write(path, "four")
    project.dvlite("add", "-u")


def test_a_pointer_that_is_not_what_is_on_disk_is_blocked(filled):
    changed_pointer(filled)
    (filled.root / "data" / "one.txt").unlink()
    before = filled.head
    assert said(filled.refuses("commit", "-qm", "four")) == [
        "blocked: data.dvlite in this commit is not what is on disk (-1 file: one.txt)",
        "to commit what is on disk: dvlite add data    to restore it: dvlite checkout data    to skip: git commit --no-verify",
    ]
    assert filled.head == before
    filled.dvlite("checkout", "data")
    assert said(filled.does("commit", "-qm", "four")) == []


@pytest.mark.parametrize("settle", [("add", "-u"), ("add", "data")])
def test_adding_what_is_on_disk_settles_it(filled, settle):
    changed_pointer(filled)
    filled.write("data/one.txt", "edited")
    filled.write("data/five.txt", "five")
    assert "(+1 ~1 files)" in filled.refuses("commit", "-qm", "four")
    filled.dvlite(*settle)
    assert said(filled.does("commit", "-qm", "four")) == []


def test_a_tracked_file_is_compared_too(filled):
    filled.write("model.pt", b"n" * 1000)
    filled.dvlite("add", "model.pt")
    filled.write("model.pt", b"o" * 1000)
    lines = said(filled.refuses("commit", "-qm", "x"))
    assert lines[0] == "blocked: model.pt.dvlite in this commit is not what is on disk (its content differs)"
    assert "dvlite add model.pt" in lines[1]
    filled.does("commit", "--no-verify", "-qm", "x")


def test_an_older_pointer_is_not_what_is_on_disk(filled):
    changed_pointer(filled)
    filled.commit("four")
    filled.git("checkout", "HEAD~1", "--", "data.dvlite")
    lines = said(filled.refuses("commit", "-qm", "back"))
    assert "(another version)" in lines[0]
    keep = lines[1].removeprefix("to commit what is on disk: ").partition("    ")[0]
    assert keep.startswith("dvlite checkout --rev ")  # `dvlite add` would refuse
    filled.dvlite("checkout")
    filled.does("commit", "-qm", "back")
    filled.git("checkout", "HEAD~1", "--", "data.dvlite")
    filled.dvlite(*keep.split()[1:])
    assert filled.git("diff", "--cached", "--name-only") == "data.dvlite\n"
    assert filled.has("data/four.txt")
    assert said(filled.does("commit", "-qm", "forth")) == []


def test_data_that_is_not_here_cannot_disagree(filled, colleague):
    changed_pointer(filled)
    filled.git("rm", "-q", "--cached", "model.pt.dvlite")
    (filled.root / "model.pt.dvlite").unlink()
    os.rename(filled.root / "data", filled.root / ".git" / "away")
    assert said(filled.does("commit", "-qm", "four")) == []


def test_data_outside_of_the_commit_makes_one_line(filled):
    filled.write("notes.txt", "n")
    filled.git("add", "notes.txt")
    filled.write("data/four.txt", "four")
    (filled.root / "data" / "one.txt").unlink()
    filled.write("model.pt", b"other")
    assert said(filled.does("commit", "-qm", "Notes")) == [
        (
            "note: data (+1 -1), model.pt changed and is not in this commit; "
            "to include it: dvlite add -u && git commit --amend --no-edit"
        )
    ]
    filled.dvlite("add", "-u")
    assert said(filled.does("commit", "-q", "--amend", "--no-edit")) == []
    assert filled.is_clean()


def test_where_no_commit_follows_the_note_does_not_amend_the_last_one(filled):
    filled.write("data/four.txt", "four")
    note = "note: data (+1) changed and is not in this commit; to include it: dvlite add -u && git commit"
    assert said(filled.refuses("commit", "-am", "Four")) == [note]
    filled.write("dvlite.yaml", "stages: [\n")
    filled.git("add", "dvlite.yaml")
    assert note in said(filled.refuses("commit", "-m", "Broken"))


def test_after_a_conflict_data_that_is_not_in_the_cache_is_to_be_pulled(team, colleague, tmp_path):
    team.git("checkout", "-q", "-b", "other")
    team.write("data/new.txt", "new")
    team.write("code", "other")
    team.save()
    team.git("push", "-q", "origin", "other")
    team.git("checkout", "-q", "main")
    clone = colleague(team)
    clone = Hooked(clone.root, clone._invoke)
    clone.dvlite("install")
    clone.dvlite("remote", "trust", tmp_path / "store")
    clone.dvlite("pull")
    clone.write("data/mine.txt", "mine")
    clone.write("code", "main")
    clone.save()
    clone.refuses("merge", "origin/other")
    clone.write("code", "both")
    clone.git("add", "code")
    note = "note: data on disk differs from this commit; to update it: dvlite pull data"
    assert note in said(clone.does("commit", "-qm", "Merge"))
    clone.dvlite("pull", "data")
    assert clone.has("data/new.txt")
    assert clone.is_clean()


def test_it_may_block_for_that_or_be_switched_off(filled):
    filled.write("data/four.txt", "four")
    filled.write("notes.txt", "n")
    filled.git("add", "notes.txt")
    filled.dvlite("config", "--local", "hooks.pre_commit", "block")
    assert "blocked: data (+1) changed and is not in this commit" in filled.refuses("commit", "-qm", "Notes")
    filled.does("commit", "-qm", "Notes", DVLITE_HOOKS="0")
    filled.dvlite("config", "--local", "hooks.pre_commit", "off")
    filled.write("large", b"\0" * MANY)
    filled.git("add", "large")
    assert filled.does("commit", "-qm", "Large") == ""


def test_commit_a_and_commit_path_and_amend_are_looked_at_as_git_will_make_them(filled):
    changed_pointer(filled)
    (filled.root / "data" / "one.txt").unlink()
    filled.write("notes.txt", "n")
    filled.git("add", "notes.txt")
    assert "note: data (-1)" in filled.does(
        "commit", "-qm", "Notes", "notes.txt"
    )  # the pointer is staged, and not in it
    assert "blocked: data.dvlite" in filled.refuses("commit", "-qm", "Data", "data.dvlite")
    assert "blocked: data.dvlite" in filled.refuses("commit", "-qam", "All")
    assert "blocked: data.dvlite" in filled.refuses("commit", "-q", "--amend", "--no-edit")
    filled.dvlite("checkout")
    filled.does("commit", "-q", "--amend", "--no-edit")
    assert filled.is_clean()


def test_of_a_pointer_staged_before_the_last_add_the_staged_one_counts(filled):
    changed_pointer(filled)
    filled.write("data/five.txt", "five")
    filled.dvlite("add", "-u", "--no-stage")
    lines = said(filled.refuses("commit", "-qm", "four"))
    assert lines[0].endswith("is not what is on disk (the one on disk is, and is not staged)")
    assert "to commit what is on disk: git add data.dvlite" in lines[1]
    filled.git("add", "data.dvlite")
    filled.does("commit", "-qm", "five")


def test_a_first_commit_is_looked_at(tmp_path, invoke, on_path):
    (tmp_path / "new").mkdir()
    made = Hooked(tmp_path / "new", invoke)
    made.git("init", "-q")
    made.dvlite("init")
    made.write("data/one.txt", "one")
    made.dvlite("add", "data")
    made.write("data/two.txt", "two")
    assert "+1 file: two.txt" in made.refuses("commit", "-qm", "First")


# -- files that are in tracked data


def test_a_file_that_git_and_dvlite_would_both_keep_is_blocked(filled):
    filled.write("data/x.csv", "x")
    filled.git("add", "-f", "data/x.csv")
    lines = said(filled.refuses("commit", "-qm", "x"))
    assert lines[-2:] == [
        "blocked: 'data/x.csv' is inside data, which dvlite tracks: git would keep it too",
        (
            "to leave it to dvlite: git rm --cached data/x.csv    to leave data to git: dvlite rm --cached data"
            "    to skip: git commit --no-verify"
        ),
    ]
    filled.git("rm", "-q", "--cached", "data/x.csv")
    filled.dvlite("add", "-u")
    assert said(filled.does("commit", "-qm", "x")) == []
    assert filled.is_clean()


def test_many_files_and_a_tracked_file_itself_are_named_once(filled):
    for number in range(5):
        filled.write(f"data/sub/{number}.csv", b"\0" * (11 << 20) if number == 4 else "x")
    filled.git("add", "-f", "data", "model.pt")
    blocked = [line for line in said(filled.refuses("commit", "-qm", "x")) if not line.startswith("note")]
    assert blocked[0] == (
        "blocked: 'data/one.txt', 'data/sub/0.csv', 'data/sub/1.csv' and 5 more are inside data, which dvlite tracks: git would keep them too"
    )
    assert "git rm --cached -r -q data  " in blocked[1]
    assert blocked[2] == "blocked: 'model.pt' is tracked by dvlite: git would keep it too"
    assert "git rm --cached model.pt" in blocked[3]
    assert len(blocked) == 4  # the large one is told of already
    assert os.system(f"cd {filled.root} && git rm --cached -r -q data && git rm -q --cached model.pt") == 0
    assert not [line for line in said(filled.does("commit", "--allow-empty", "-qm", "x")) if "blocked" in line]


def test_folders_given_to_git_and_what_is_left_out_are_not_blocked(filled):
    filled.write(".dvliteignore", "data/*.md\nnotes/\n")
    filled.write("data/readme.md", "about")
    filled.write("data/notes/one", "about")
    filled.write("database/one.txt", "beside")
    filled.git("add", "-f", ".dvliteignore", "data/readme.md", "data/notes/one", "database/one.txt")
    assert said(filled.does("commit", "-qm", "Read me")) == []
    filled.dvlite("rm", "--cached", "data")
    filled.git("add", "data")
    assert said(filled.does("commit", "-qm", "To git")) == []


def test_what_was_so_before_and_what_a_merge_brings_does_not_stop_a_commit(filled):
    filled.git("checkout", "-q", "-b", "other")
    filled.write("data/x.csv", "x")
    filled.git("add", "-f", "data/x.csv")
    filled.git("commit", "-qm", "x", "--no-verify")
    filled.write("notes.txt", "n")
    filled.git("add", "notes.txt")
    assert "blocked" not in filled.does("commit", "-qm", "Notes")
    filled.git("checkout", "-q", "main")
    filled.does("merge", "-q", "--no-ff", "other")
    filled.write("data/x.csv", "y")
    filled.git("add", "-f", "data/x.csv")
    assert "'data/x.csv' is inside data" in filled.refuses("commit", "-qm", "y")


@pytest.mark.parametrize("name", ["out", "out 2", "sub/out"])
@pytest.mark.parametrize("was_here", [True, False])
def test_a_file_inside_an_output_is_blocked(hooked, name, was_here):
    hooked.write("sub/.keep", "")
    make = f'mkdir -p "{name}"; echo 1 > "{name}/o"'
    hooked.write("dvlite.yaml", f'stages:\n  make:\n    cmd: |-\n      {make}\n    outs: ["{name}"]\n')
    hooked.dvlite("repro")
    hooked.git("add", "-A")
    hooked.does("commit", "-qm", "Pipeline")
    if not was_here:
        for file in (hooked.root / ".git" / "dvlite" / "index").iterdir():
            file.unlink()
    hooked.git("add", "-f", f"{name}/o")
    assert f"is inside {name}, which dvlite tracks" in hooked.refuses("commit", "-qm", "o")
    hooked.git("reset", "-q")
    hooked.write("dvlite.yaml", hooked.read("dvlite.yaml").replace(b"outs: [", b"deps: [sub/.keep]\n    outs: ["))
    hooked.git("add", "dvlite.yaml")
    assert "blocked" not in hooked.does("commit", "-qm", "A file that a stage reads")


# -- large files


def test_a_large_file_is_blocked_with_the_command_that_tracks_it(filled):
    filled.write("it's big", b"\0" * (60 << 20))
    filled.git("add", ".")
    lines = said(filled.refuses("commit", "-qm", "Big"))
    assert "(60.0 MiB): larger than 10.0 MiB" in lines[0]
    command = lines[1].removeprefix("to track it with dvlite: ")
    git, dvlite = command.split(" && ")
    assert git.startswith("git rm --cached ")
    assert dvlite.startswith("dvlite add ")
    assert os.system(f"cd {filled.root} && {command} >/dev/null") == 0  # as the user would paste it
    assert said(filled.does("commit", "-qm", "Big")) == []
    assert "it's big" in filled.tracked()


def test_the_limit_can_be_changed_or_taken_away(filled):
    filled.write("large", b"\0" * MANY)
    filled.git("add", "large")
    filled.dvlite("config", "--user", "hooks.large_file", "11 MiB")
    filled.does("commit", "-qm", "Large")
    filled.dvlite("config", "--user", "hooks.large_file", "1KiB")
    filled.write("large", b"\1" * 2000)
    assert "1.0 KiB" in filled.refuses("commit", "-qam", "Larger")
    filled.dvlite("config", "--user", "hooks.large_file", "0")
    filled.does("commit", "-qam", "Larger")


def test_what_a_merge_brings_was_not_made_here(filled):
    filled.git("checkout", "-q", "-b", "other")
    filled.write("large", b"\0" * MANY)
    filled.write("notes.txt", "theirs")
    filled.write("data/four.txt", "four")
    filled.dvlite("add", "-u")
    filled.git("add", "-A")
    filled.git("commit", "-qm", "Theirs", "--no-verify")
    filled.git("checkout", "-q", "main")
    filled.dvlite("checkout")
    filled.write("notes.txt", "ours")
    filled.save("Ours")
    filled.refuses("merge", "-q", "other")
    filled.write("notes.txt", "both")
    filled.git("add", "notes.txt")
    assert not [line for line in said(filled.does("commit", "-qm", "Merged")) if line.startswith("blocked")]
    filled.dvlite("checkout")
    assert filled.is_clean()
    assert filled.has("data/four.txt")


# -- what cannot be read


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("data.dvlite", "dvlite: 1\nkind: nothing\n"),
        ("data.dvlite", "<<<<<<< ours\ndvlite: 1\n=======\ndvlite: 1\n>>>>>>> theirs\n"),
        ("dvlite.lock", "stages: [\n"),
        ("dvlite.yaml", "stages: [\n"),
        ("sub/dvlite.yaml", "stages:\n  a: {cmd: a, colour: red}\n"),
        ("dvlite.yaml", "stages:\n<<<<<<< ours\n  a: {cmd: a}\n=======\n>>>>>>> theirs\n"),
        ("sub/other.dvlite", "x" * 100_000),
    ],
)
def test_what_cannot_be_read_is_blocked(filled, name, text):
    filled.write(name, text)
    filled.git("add", "-f", name)
    lines = said(filled.refuses("commit", "-qm", "Broken"))
    assert lines[0].startswith("blocked: ")
    if "<<<" in text:
        assert "unresolved merge conflict" in lines[0]


def test_a_pipeline_file_that_is_not_in_the_commit_stops_nothing(filled):
    filled.write("dvlite.yaml", "stages: [\n")
    filled.write("notes.txt", "n")
    filled.git("add", "notes.txt")
    assert "blocked" not in filled.does("commit", "-qm", "Notes")


def test_a_pointer_that_is_a_link_is_blocked(filled):
    (filled.root / "other.dvlite").symlink_to("data.dvlite")
    filled.git("add", "other.dvlite")
    assert "not an ordinary file" in filled.refuses("commit", "-qm", "Link")


def test_a_config_that_cannot_be_read_stops_the_commit_and_can_be_passed_by(filled):
    filled.write(".dvlite/config.yaml", "nonsense: 1\n")
    lines = said(filled.refuses("commit", "-qam", "Config"))
    assert "nonsense" in lines[0]
    filled.does("commit", "-qam", "Config", DVLITE_HOOKS="0")


# -- outputs of stages


def test_a_lockfile_entry_that_is_not_what_is_on_disk_is_blocked(hooked):
    hooked.write("in.txt", "1\n")
    hooked.write("dvlite.yaml", "stages:\n  copy: {cmd: cat in.txt > out.txt, deps: [in.txt], outs: [out.txt]}\n")
    hooked.dvlite("repro")
    hooked.git("add", "-A")
    hooked.does("commit", "-qm", "Pipeline")
    hooked.write("in.txt", "2\n")
    hooked.dvlite("repro")
    hooked.write("out.txt", "by hand\n")
    hooked.git("add", "-A")
    lines = said(hooked.refuses("commit", "-qm", "Again"))
    assert lines[0] == "blocked: out.txt in dvlite.lock of this commit is not what is on disk (its content differs)"
    assert "dvlite repro copy" in lines[1]
    hooked.dvlite("checkout", "-f", "out.txt")
    hooked.does("commit", "-qm", "Again")
    hooked.write("out.txt", "by hand\n")  # that entry is not of the next commit
    hooked.write("note.txt", "n")
    hooked.git("add", "note.txt")
    hooked.does("commit", "-qm", "Note")


# -- how it is called


def test_names_of_files_as_pre_commit_gives_them_change_nothing(filled):
    filled.write("large", b"\0" * MANY)
    filled.git("add", "large")
    done = filled.dvlite("hook", "pre-commit", "large", "notes.txt", code=1)
    assert done.stdout == ""
    assert "blocked: 'large'" in done.stderr
    found = filled.json("hook", "pre-commit", code=1)
    assert found["schema"] == "dvlite.hook/1"
    assert "large" in found["blocked"][0]["message"]


def test_paths_are_as_the_user_would_write_them_where_he_stands(filled):
    changed_pointer(filled)
    filled.write("data/one.txt", "edited")
    (filled.root / "sub").mkdir()
    assert "dvlite checkout ../data" in filled.refuses("commit", "-qm", "x", cwd="sub")


def test_outside_of_a_repository_with_dvlite_it_is_silent(tmp_path, invoke, monkeypatch, filled):
    filled.git("checkout", "-q", "--orphan", "pages")
    filled.git("rm", "-rqf", ".")
    filled.write("large", b"\0" * MANY)
    filled.git("add", "large")
    assert filled.does("commit", "-qm", "Pages") == ""
    assert invoke("hook", "pre-commit", cwd=tmp_path).returncode == 0


def test_names_that_would_change_a_terminal_are_shown_as_text(hooked):
    name = "x\x1b]0;title\x07"
    hooked.write(f"{name}/1", "1")
    hooked.dvlite("add", name)
    hooked.commit("Track")
    hooked.write(f"{name}/2", "2")
    hooked.dvlite("add", name)
    (hooked.root / name / "1").unlink()
    hooked.write(f"p{name}/dvlite.yaml", "<<<<<<< x\n")
    hooked.write(f"L{name}", b"\0" * MANY)
    hooked.git("add", "-A", "-f", f"p{name}", f"L{name}")
    shown = hooked.refuses("commit", "-qm", "Blocked")
    assert "x\\x1b]0;title\\x07" in shown
    assert shown.count("blocked:") >= 3
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_a_pointer_that_is_not_staged_is_told_of(filled):
    changed_pointer(filled)
    filled.git("reset", "-q")
    filled.write("code.py", "1")
    filled.git("add", "code.py")
    told = "data.dvlite changed and is not staged; to include it: git add data.dvlite"
    assert said(filled.does("commit", "-qm", "Code")) == [f"note: {told}"]
    filled.dvlite("config", "hooks.pre_commit", "block", "--no-stage")
    filled.write("code.py", "2")
    filled.git("add", "code.py")
    assert said(filled.refuses("commit", "-qm", "Code"))[0] == "blocked: data.dvlite changed and is not staged"
    filled.git("add", "data.dvlite")
    assert said(filled.does("commit", "-qm", "Code")) == []


def test_a_lockfile_that_names_other_data_than_its_pointer_is_blocked(hooked):
    hooked.write("data/1", "one\n")
    hooked.dvlite("add", "data")
    hooked.write("dvlite.yaml", "stages:\n  sum: {cmd: cat data/* > sum.txt, deps: [data/1], outs: [sum.txt]}\n")
    hooked.dvlite("repro")
    hooked.does("add", "-A")
    hooked.does("commit", "-qm", "one")
    hooked.write("data/1", "two\n")
    hooked.dvlite("repro")
    hooked.does("reset", "-q", "HEAD", "--", "data.dvlite")
    said = hooked.refuses("commit", "-qm", "two")
    assert "sum was made with" in said
    assert "to make them agree: git add data.dvlite" in said
    hooked.does("checkout", "-q", "--", "data.dvlite")
    assert "to make them agree: dvlite repro sum" in hooked.refuses("commit", "-qm", "two")
    hooked.dvlite("repro", "sum")
    hooked.does("commit", "-qm", "two")


@pytest.mark.parametrize("name", ["dvlite.yaml", "sub/dvlite.yaml"])
def test_a_lockfile_with_other_parameters_than_its_commit_is_blocked(hooked, name):
    folder = name.removesuffix("dvlite.yaml")
    hooked.write(f"{folder}params.yaml", "lr: 1\nnet: {depth: 2}\n")
    hooked.write(name, "stages:\n  train: {cmd: date > model, params: [lr, net], outs: [model]}\n")
    hooked.dvlite("repro")
    hooked.does("add", "-A")
    hooked.does("commit", "-qm", "one")
    stage = "train" if not folder else "sub:train"
    hooked.dvlite("repro", stage, "-S", "net.depth=3")
    hooked.does("reset", "-q", "HEAD", "--", f"{folder}params.yaml")
    said = hooked.refuses("commit", "-qm", "two")
    assert f"{stage} was run with net.depth 3, and {folder}params.yaml of this commit has 2" in said
    assert f"to make them agree: git add {folder}params.yaml" in said
    hooked.write(f"{folder}params.yaml", "lr: 1\n")
    hooked.does("add", f"{folder}params.yaml")
    said = hooked.refuses("commit", "-qm", "two")
    assert f"{folder}params.yaml of this commit does not have it" in said
    assert f"to make them agree: dvlite repro {stage}" in said
    hooked.write(f"{folder}params.yaml", "net: {depth: 3}\nlr: 1.0\n")
    hooked.does("add", "-A")
    hooked.does("commit", "-qm", "two")
