"""What a clone still needs, with real git: everything that anything names, or what the keep rules of HEAD leave of it."""

import shutil

import pytest

from dvlite.errors import DvliteError
from dvlite.formats import lockfile
from dvlite.formats.lockfile import Facts, LockedStage, Lockfile
from dvlite.formats.record import Code, Note, Output, new_id, time_text
from dvlite.git.program import Git
from dvlite.oid import parse_oid
from dvlite.progress import NullProgress
from dvlite.runs.records import open_records
from dvlite.share.needs import IN_USE, fetch_all_heads, gather, named_versions
from tests.copies import copy_of, first_commit
from tests.recording import RecordingProgress
from tests.repo.repositories import commit, git, opened, put, version, write_config
from tests.runs.recorded import oid, run

DAY = 86400


@pytest.fixture
def work(tmp_path):
    def build(folder):
        first_commit(folder)
        (folder / ".dvlite").mkdir()
        write_config(folder, "")
        commit(folder)

    return copy_of("initialised_by_git", build, tmp_path / "repo")


def needs(work, *, fetched=False):
    return gather(opened(work), NullProgress(), fetched=fetched)


def named(found, *texts):
    return {text for text in texts if ("blake3", version(text).digest) in found.named}


def kept(found, *texts):
    return {text for text in texts if ("blake3", version(text).digest) in {each.id for each in found.versions}}


def forget_reflogs(work):
    git(work, "reflog", "expire", "--expire=all", "--all")


def on_a_branch(work):
    git(work, "branch", "other")
    git(work, "reset", "-q", "--hard", "HEAD~1")


def under_a_tag_of_a_tag(work):
    git(work, "tag", "-am", "one", "one")
    git(work, "tag", "-am", "two", "two", "one")
    git(work, "tag", "-d", "one")
    git(work, "reset", "-q", "--hard", "HEAD~1")


def in_a_stash(work):
    git(work, "reset", "-q", "--soft", "HEAD~1")
    git(work, "stash", "-q")
    put(work, other="of a second stash")
    git(work, "stash", "-qu")


def in_the_index(work):
    git(work, "reset", "-q", "--soft", "HEAD~1")
    (work / "data.dvlite").unlink()


def on_disk(work):
    git(work, "reset", "-q", "HEAD~1")


def checked_out_in_another_worktree(work):
    git(work, "worktree", "add", "-q", "--detach", "../tree", "HEAD")
    git(work, "reset", "-q", "--hard", "HEAD~1")


def in_a_merge_that_is_under_way(work):
    new = git(work, "rev-parse", "HEAD")
    git(work, "reset", "-q", "--hard", "HEAD~1")
    (work / ".git" / "MERGE_HEAD").write_text(f"{new}\n")
    (work / ".git" / "ORIG_HEAD").unlink(missing_ok=True)


def in_a_bisect_of_another_worktree(work):
    git(work, "worktree", "add", "-q", "--detach", "../tree", "HEAD")
    git(work / "../tree", "update-ref", "refs/bisect/bad", "HEAD")
    for folder in (work, work / "../tree"):
        git(folder, "reset", "-q", "--hard", "HEAD~1")
        (work / git(folder, "rev-parse", "--git-path", "ORIG_HEAD")).unlink(missing_ok=True)


PLACES = [
    on_a_branch,
    under_a_tag_of_a_tag,
    in_a_stash,
    in_the_index,
    on_disk,
    checked_out_in_another_worktree,
    in_a_merge_that_is_under_way,
    in_a_bisect_of_another_worktree,
]


@pytest.mark.parametrize("place", PLACES)
def test_what_anything_names_is_needed(work, place):
    write_config(work, "gc:\n  keep_last: 1\n")
    commit(work, data="wanted")
    place(work)
    (work / ".git" / "ORIG_HEAD").unlink(missing_ok=True)
    forget_reflogs(work) if place is not in_a_stash else None
    found = needs(work)
    assert named(found, "wanted") == kept(found, "wanted") == {"wanted"}
    assert ("blake3", version("wanted").digest) in named_versions(opened(work), NullProgress())


def test_a_version_that_nothing_names_is_not_needed(work):
    commit(work, data="amended")
    git(work, "reset", "-q", "--hard", "HEAD~1")
    assert named(needs(work), "amended") == {"amended"}, "the reflog has it"
    (work / ".git" / "ORIG_HEAD").unlink()
    forget_reflogs(work)
    assert not named(needs(work), "amended")


def test_what_git_moves_while_it_is_read_is_needed(work, monkeypatch):
    """Into a stash after the commits were read, out of one before."""
    original = Git.pointer_changes
    put(work, data="wanted")
    git(work, "add", "-A")
    for moves in (["stash", "-q"], ["stash", "pop", "-q", "--index"]):

        def changes(self, *revisions, moves=moves, **options):
            found = list(original(self, *revisions, **options)) if "pop" not in moves else None
            git(work, *moves)
            forget_reflogs(work) if "pop" in moves else None
            return found if found is not None else original(self, *revisions, **options)

        with monkeypatch.context() as patch:
            patch.setattr(Git, "pointer_changes", changes)
            assert named(needs(work), "wanted") == {"wanted"}


def test_without_a_commit_and_with_commits_that_are_gone(tmp_path):
    git(tmp_path, "init", "-q", "new")
    (tmp_path / "new" / ".dvlite").mkdir()
    write_config(tmp_path / "new", "")
    assert not needs(tmp_path / "new").named
    put(tmp_path / "new", data="wanted")
    (tmp_path / "new" / ".git" / "FETCH_HEAD").write_text(f"{'1' * 40}\t\tbranch 'main' of elsewhere\n")
    (tmp_path / "new" / ".git" / "ORIG_HEAD").write_text(f"{'2' * 40}\n")
    assert kept(needs(tmp_path / "new"), "wanted") == {"wanted"}


def test_a_saved_pointer_keeps_its_version_and_one_that_cannot_be_read_is_an_error(work):
    put(work, kept="saved")
    saved = work / ".git" / "dvlite" / "saved"
    saved.mkdir(parents=True)
    (work / "kept.dvlite").rename(saved / "kept-1.dvlite")
    assert kept(needs(work), "saved")
    (saved / "kept-1.dvlite").write_text("nonsense")
    with pytest.raises(DvliteError, match="kept-1"):
        needs(work)


def test_a_pointer_of_a_later_dvlite_in_any_commit_stops_it_and_a_damaged_one_does_not(work):
    (work / "x.dvlite").write_text("<<<<<<< ours\n")
    commit(work)
    (work / "x.dvlite").unlink()
    commit(work, data="new")
    progress = RecordingProgress()
    assert named(gather(opened(work), progress, fetched=False), "new")
    assert len(progress.warnings) == 1
    (work / "x.dvlite").write_text("dvlite: 2\nnew form\n")
    commit(work)
    (work / "x.dvlite").unlink()
    commit(work)
    with pytest.raises(DvliteError, match="version '2'"):
        needs(work)


def test_a_shallow_clone_is_refused(work, tmp_path):
    commit(work, data="new")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{work}", "shallow")
    with pytest.raises(DvliteError) as refused:
        needs(tmp_path / "shallow")
    assert refused.value.hint == "git fetch --unshallow"


def test_a_worktree_that_is_gone_is_refused(work):
    git(work, "worktree", "add", "-q", "--detach", "../tree", "HEAD")
    shutil.rmtree(work / "../tree")
    with pytest.raises(DvliteError, match="it is not there"):
        needs(work)


def test_a_submodule_is_a_clone_like_others(work, tmp_path):
    above = tmp_path / "above"
    git(tmp_path, "init", "-q", "above")
    git(above, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(work), "sub")
    put(above / "sub", data="in the submodule")
    git(above / "sub", "worktree", "add", "-q", "--detach", str(tmp_path / "other"), "HEAD")
    for folder in (above / "sub", tmp_path / "other"):
        assert named(needs(folder), "in the submodule")


def test_an_error_in_another_worktree_says_where_it_is(work):
    tree = work.parent / "tree"
    git(work, "worktree", "add", "-q", "--detach", str(tree), "HEAD")
    (tree / "data.dvlite").write_text("garbage", encoding="utf-8")
    with pytest.raises(DvliteError) as refused:
        needs(work)
    assert refused.value.message.endswith(f"in '{tree}'")
    assert refused.value.hint.startswith(f"in '{tree}': ")
    with pytest.raises(DvliteError) as refused:
        needs(tree)
    assert str(tree) not in refused.value.message


# --- keep rules ---


@pytest.fixture
def five(tmp_path, work):
    """Five versions of one path, and one of another that did not change since the first."""

    def build(folder):
        git(tmp_path, "clone", "-q", str(work), str(folder))
        git(folder, "remote", "remove", "origin")
        commit(folder, other="old")
        for text in "12345":
            commit(folder, data=text)
            git(folder, "tag", f"v{text}") if text == "2" else None

    return copy_of("five_versions", build, tmp_path / "five")


def ruled(work, rule):
    write_config(work, f"gc:\n  {rule}\n")
    commit(work)
    return needs(work)


def test_keep_last_counts_versions_of_each_path(five):
    found = ruled(five, "keep_last: 3")
    assert kept(found, *"12345", "old") == {*"345", "old"}
    assert named(found, *"12345") == {*"12345"}
    assert found.dropped == {("blake3", version(text).digest): "gc.keep_last: 3" for text in "12"}
    rules = {each.path: found.kept_by[each.id] for each in found.versions}
    assert rules == {"data": "gc.keep_last: 3", "other": IN_USE}


def test_rules_add_up(five):
    found = ruled(five, "keep_last: 1\n  keep_tags: true")
    assert kept(found, *"12345") == {*"25"}
    assert set(found.dropped.values()) == {"gc.keep_tags: true, gc.keep_last: 1"}


def test_keep_within_counts_from_the_newest_commit_and_until_a_version_was_replaced(work, monkeypatch):
    for text, day in (("1", 0), ("2", 10), ("3", 90), ("4", 100)):
        monkeypatch.setenv("GIT_COMMITTER_DATE", f"{1_600_000_000 + day * DAY} +0000")
        commit(work, data=text)
    write_config(work, "gc:\n  keep_within: 30d\n")
    commit(work)
    forget_reflogs(work)
    assert kept(needs(work), *"1234") == {*"234"}


def test_a_rule_counts_once_it_is_committed(five):
    write_config(five, "gc:\n  keep_last: 1\n")
    progress = RecordingProgress()
    assert not gather(opened(five), progress, fetched=False).dropped
    assert "commit" in progress.warnings[0]


def test_an_old_branch_drops_nothing_that_the_main_branch_keeps(five, tmp_path):
    ruled(five, "keep_last: 1")
    git(tmp_path, "clone", "-q", str(five), "clone")
    clone = tmp_path / "clone"
    assert kept(needs(clone), *"12345") == {*"5"}
    ruled(five, "keep_last: 3")
    git(clone, "fetch", "-q")
    forget_reflogs(clone)
    assert kept(needs(clone), *"12345") == {*"345"}
    ruled(five, "keep_tags: false")
    git(clone, "fetch", "-q")
    assert kept(needs(clone), *"12345") == {*"12345"}


def test_keep_tags_false_is_no_rule(five):
    assert not ruled(five, "keep_tags: false").dropped


def test_a_version_that_another_path_keeps_is_not_dropped(five):
    commit(five, again="1")
    assert kept(ruled(five, "keep_last: 1"), *"12345") == {*"15"}


# --- git remotes ---


def test_a_single_branch_clone_sees_all_heads_for_a_while(work, tmp_path):
    git(work, "branch", "side")
    git(work, "checkout", "-q", "side")
    commit(work, data="on a side branch")
    git(work, "checkout", "-q", "-")
    git(tmp_path, "clone", "-q", "--single-branch", "--no-tags", str(work), "clone")
    clone = tmp_path / "clone"
    assert not named(needs(clone), "on a side branch")
    with fetch_all_heads(opened(clone), NullProgress()):
        assert kept(needs(clone, fetched=True), "on a side branch")
        assert not named(needs(clone), "on a side branch")
    assert "refs/dvlite" not in git(clone, "for-each-ref")
    shutil.rmtree(work)
    with (
        pytest.raises(DvliteError, match="cannot ask the git remote 'origin'"),
        fetch_all_heads(opened(clone), NullProgress()),
    ):
        pass


# --- runs ---


def recorded(work, *contents):
    records = open_records(opened(work), NullProgress())
    return [records.put(content) for content in contents]


def output(word):
    return (Output(path="model.pt", oid=oid(word), size_bytes=1),)


def long_ago(number, **fields):
    return run(number, start=time_text(10**18), end=time_text(10**18), log=oid(f"log {number}"), **fields)


def test_runs_keep_what_they_left(work):
    committed, tagged, failed, gone, fresh = (
        long_ago(1, outputs=output("committed")),
        long_ago(2, outputs=output("tagged"), code=Code(diff=oid("diff"))),
        run(3, status="failed", outputs=output("failed"), log=oid("log of failed"), end=time_text(2 * 10**18)),
        long_ago(4, outputs=output("gone")),
        run(5, outputs=output("fresh"), end=time_text(2 * 10**18)),
    )
    oids = recorded(work, committed, tagged, failed, gone, fresh)
    (reusing,) = recorded(work, long_ago(7, outputs=(), status="cached", of=oids[0]))
    stage = LockedStage("train", "a" * 64, Facts(cmd="train"), run=reusing)
    (work / "dvlite.lock").write_bytes(lockfile.dump(Lockfile((stage,))))
    commit(work)
    recorded(work, Note(id=new_id(1, bytes(10)), run=oids[1], op="tag", value="best", time=time_text(10**18)))
    found = needs(work)
    wanted = {"committed", "tagged", "diff", "fresh", "log of failed", "log 1", "log 2", "log 7"}
    assert found.left_by_runs()[0] == {parse_oid(oid(word))[1] for word in wanted}


def test_a_run_of_a_commit_that_no_rule_keeps_goes_with_it(work):
    done = run(1, outputs=output("model"), end=time_text(2 * 10**18))
    (name,) = recorded(work, done)
    stage = LockedStage("train", "a" * 64, Facts(cmd="train"), run=name)
    (work / "dvlite.lock").write_bytes(lockfile.dump(Lockfile((stage,))))
    commit(work)
    (work / "dvlite.lock").unlink()
    commit(work)
    assert needs(work).files == {parse_oid(oid("model"))[1]}
    assert not ruled(work, "keep_last: 1").files
