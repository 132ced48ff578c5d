"""`gc` removes from the cache what nothing names, after it has shown what; everything that anything names can still be checked out."""

import os
import random
import shutil

import pytest

from dvlite.commands import gc as commands_gc
from dvlite.errors import ObjectMissing
from dvlite.formats import pointer
from dvlite.progress import NullProgress
from dvlite.repo.repository import open_cache, open_repo
from dvlite.share.needs import gather
from dvlite.store.reachable import reachable
from tests.commands.project import Project, fill
from tests.copies import copy_of, first_commit
from tests.trees import noise


def gc(project, *args, code=0):
    return project.json("gc", *args, code=code)


def by_reason(rows):
    return {row["reason"]: row["objects"] for row in rows}


def stored(project):
    return {path.name for part in ("files", "packs") for path in (project.cache / part).rglob("*") if path.is_file()}


def holds(project, data, cache=None):
    return any(data in path.read_bytes() for path in (cache or project.cache).rglob("*") if path.is_file())


def forget(project):
    """Lets git forget all that no ref names."""
    project.git("reflog", "expire", "--expire=all", "--all")
    for name in ("ORIG_HEAD", "FETCH_HEAD"):
        (project.root / ".git" / name).unlink(missing_ok=True)


@pytest.fixture
def three(tmp_path, invoke):
    """Three versions of a directory and of a file, each in a commit; of the directory a part changes each time."""

    def build(folder):
        first_commit(folder)
        project = Project(folder, invoke)
        project.dvlite("init", "--no-hooks")
        fill(project)
        for number in range(3):
            project.write("data/sub/b.txt", noise(400, number))
            project.write("model.pt", noise(100_000, number))
            project.dvlite("add", "data", "model.pt")
            project.commit(f"Version {number}")

    return Project(copy_of("three_versions", build, tmp_path / "repo"), invoke)


def assert_has(project, revision, *paths):
    """Both can be restored from the cache, and are what was committed."""
    for path in paths or ("data", "model.pt"):
        target = project.root.parent / f"out-{revision}-{path}".replace("~", "")
        project.dvlite("checkout", "--force", path) if revision == "HEAD" else None
        project.dvlite("get", ".", path, "--rev", revision, "-o", target)
        assert target.exists()


def test_without_yes_only_the_plan_is_printed(three):
    three.git("reset", "-q", "--hard", "HEAD~1")
    forget(three)
    before = stored(three)
    planned = gc(three, "--grace", "0s")
    assert stored(three) == before
    assert not planned["applied"]
    done = gc(three, "--grace", "0s", "--yes")
    assert {**done, "free_bytes": 0} == {**planned, "applied": True, "free_bytes": 0}
    assert gc(three, "--grace", "0s", "--yes")["objects"] == 0


def test_what_nothing_names_goes_and_the_rest_can_be_checked_out(three):
    three.git("reset", "-q", "--hard", "HEAD~1")
    forget(three)
    size = sum(path.stat().st_size for path in three.cache.rglob("*") if path.is_file())
    result = gc(three, "--yes", "--grace", "0s")
    after = sum(path.stat().st_size for path in three.cache.rglob("*") if path.is_file())
    assert result["freed_bytes"] > 100_000
    assert abs(size - after - result["freed_bytes"]) < 2000, "but for the index"
    assert by_reason(result["gone"])["that nothing names"] == 3
    assert not holds(three, noise(400, 2))
    assert not holds(three, noise(100_000, 2))
    for revision in ("HEAD", "HEAD~1"):
        assert_has(three, revision)
    three.dvlite("checkout", "--force")
    assert three.is_clean()


def test_what_is_named_anywhere_or_was_stored_just_now_stays(three):
    three.git("reset", "-q", "--hard", "HEAD~2")
    assert gc(three, "--yes", "--grace", "0s")["objects"] == 0, "reflog"
    forget(three)
    before = stored(three)
    result = gc(three, "--yes")
    assert stored(three) == before
    assert by_reason(result["kept"])["stored just now"] == 6


def test_a_keep_rule_drops_older_versions(three):
    three.dvlite("config", "gc.keep_last", "2")
    assert gc(three, "--yes", "--grace", "0s")["objects"] == 0, "it is not committed"
    three.commit("Keep two")
    result = gc(three, "--yes", "--grace", "0s")
    assert by_reason(result["gone"]) == {"dropped by gc.keep_last: 2": 3}
    assert set(by_reason(result["kept"])) == {"in use", "gc.keep_last: 2"}
    assert not holds(three, noise(100_000, 0))
    for revision in ("HEAD", "HEAD~1", "HEAD~2"):
        assert_has(three, revision)


def test_a_needed_version_that_was_forgotten_is_missed(three, monkeypatch):
    """A gather that forgets a version loses it: so the tests of this page would see it."""
    original = commands_gc.gather

    def forgetful(*args, **options):
        needs = original(*args, **options)
        newest = next(version for version in needs.versions if version.path == "model.pt")
        kept_by = {version: rule for version, rule in needs.kept_by.items() if version != newest.id}
        return type(needs)(needs.versions, needs.named, needs.files, needs.listings, kept_by, needs.dropped)

    monkeypatch.setattr(commands_gc, "gather", forgetful)
    gc(three, "--yes", "--grace", "0s")
    (three.root / "model.pt").unlink()
    revisions = ("HEAD", "HEAD~1", "HEAD~2")
    codes = {
        three.dvlite("get", ".", "model.pt", "--rev", one, "-o", three.root.parent / one, code=None).returncode
        for one in revisions
    }
    assert 12 in codes


def test_a_version_without_its_listing_here_keeps_nothing_back(three, colleague):
    clone = colleague(three)
    clone.write("own", "x")
    clone.dvlite("add", "own")
    assert gc(clone, "--yes", "--grace", "0s")["objects"] == 0


def test_a_damaged_pack_with_listings_stops_it(three):
    three.git("reset", "-q", "--hard", "HEAD~1")
    forget(three)
    quarantine = three.cache / "quarantine"
    for path in (three.cache / "packs").iterdir():
        if path.stat().st_size < 1500:
            path.rename(quarantine / f"packs-{path.name}-00000000")
    before = stored(three)
    done = three.dvlite("gc", "--yes", "--grace", "0s", code=1)
    assert "the cache is damaged" in done.stderr
    assert stored(three) == before


def test_a_pack_that_cannot_be_read_is_said_so(three):
    gc(three, "--yes", "--grace", "0s")
    pack = max((three.cache / "packs").iterdir(), key=lambda path: path.stat().st_size)
    pack.chmod(0o644)
    os.truncate(pack, pack.stat().st_size - 1)
    done = three.dvlite("gc", "--yes", "--grace", "0s", code=3)
    assert "cannot read 1 pack of the cache, which stays" in done.stderr
    assert pack.exists()


def test_a_shallow_clone_is_refused(three, tmp_path, invoke):
    three.git("clone", "-q", "--depth=1", f"file://{three.root}", str(tmp_path / "shallow"))
    clone = Project(tmp_path / "shallow", invoke)
    clone.write("own", "x")
    clone.dvlite("add", "own")
    assert "git fetch --unshallow" in clone.dvlite("gc", code=1).stderr


def test_it_waits_for_nothing_with_no_wait(three):
    from dvlite import files

    with files.lock(three.cache / "lock", shared=True):
        three.dvlite("gc", "--yes", "--no-wait", code=11)


def test_notes_about_other_remotes_go(shared):
    shared.write("model.pt", "x")
    shared.dvlite("add", "model.pt")
    shared.commit()
    shared.dvlite("push")
    notes = shared.root / ".git/dvlite/remote"
    (notes / ("f" * 32) / "meta").mkdir(parents=True)
    (notes / ("f" * 32) / "meta" / "x").write_bytes(b"note")
    assert by_reason(gc(shared, "--yes", "--grace", "0s")["gone"]) == {"notes about remotes that are not configured": 1}
    assert len(list(notes.iterdir())) == 1


def test_words_of_a_wrong_duration(project):
    assert "units" in project.dvlite("gc", "--grace", "1 day", code=2).stderr


# --- a cache that clones share ---


@pytest.fixture
def other(three, invoke, tmp_path, monkeypatch):
    """Another project with a version of its own in the same cache, only in its index."""
    monkeypatch.setenv("DVLITE_CACHE_DIR", str(tmp_path / "cache"))
    three.dvlite("add", "data", "model.pt")
    made = Project(tmp_path / "other", invoke)
    made.root.mkdir()
    first_commit(made.root)
    made.dvlite("init", "--no-hooks")
    made.write("model.pt", noise(120_000, 7))
    made.dvlite("add", "model.pt")
    (made.root / "model.pt.dvlite").unlink()
    return made


def test_what_another_project_needs_stays(three, other, tmp_path):
    assert gc(three, "--yes", "--grace", "0s")["objects"] == 0
    other.git("rm", "-qf", "--cached", "model.pt.dvlite")
    assert gc(three, "--yes", "--grace", "0s")["objects"] == 1
    assert not holds(three, noise(120_000, 7), tmp_path / "cache")


def test_a_project_that_cannot_be_read_stops_it(three, other, tmp_path):
    shutil.rmtree(other.root)
    before = {path for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert "a clone that shares this cache" in three.dvlite("gc", "--yes", "--grace", "0s", code=1).stderr
    assert {path for path in (tmp_path / "cache").rglob("*") if path.is_file()} == before


def test_the_clone_whose_own_cache_is_shared_is_asked_too(three, tmp_path, invoke, monkeypatch):
    guest = Project(tmp_path / "guest", invoke)
    guest.root.mkdir()
    first_commit(guest.root)
    guest.dvlite("init", "--no-hooks")
    monkeypatch.setenv("DVLITE_CACHE_DIR", str(three.cache))
    guest.write("own", "x")
    guest.dvlite("add", "own")
    assert gc(guest, "--yes", "--grace", "0s")["objects"] == 0
    monkeypatch.delenv("DVLITE_CACHE_DIR")
    assert gc(three, "--yes", "--grace", "0s")["objects"] == 0
    assert os.path.lexists(three.cache / "projects")


# --- what rules dropped is reported as that


@pytest.fixture
def dropped(tmp_path, invoke, monkeypatch):
    """Three versions in as many commits, of which a rule keeps two; nothing of the first is anywhere."""

    def build(base):
        (base / "repo").mkdir()
        first_commit(base / "repo")
        project = Project(base / "repo", invoke)
        project.dvlite("init", "--no-hooks")
        project.dvlite("remote", "add", "../store")
        for number in range(3):
            project.write("data/a", noise(400, number))
            project.write("model.pt", noise(100_000, number))
            project.dvlite("add", "data", "model.pt")
            project.commit(f"Version {number}")
            if number:
                project.dvlite("push")
        project.git("tag", "first", "HEAD~2")
        project.dvlite("config", "gc.keep_last", "2")
        project.commit("Keep two")
        assert by_reason(gc(project, "--yes", "--grace", "0s")["gone"]) == {"dropped by gc.keep_last: 2": 3}

    monkeypatch.setenv("DVLITE_TRUST", str(tmp_path / "store"))
    return Project(copy_of("dropped_version", build, tmp_path) / "repo", invoke)


def said(project, *args, code=3):
    done = project.dvlite(*args, code=code)
    assert "dropped by gc.keep_last: 2" in done.stderr
    assert "not in the cache" not in done.stderr
    return done


def test_a_dropped_version_is_no_missing_one(dropped, tmp_path):
    said(dropped, "checkout", "--rev", "first")
    dropped.git("checkout", "-q", "HEAD", "--", ".")
    dropped.dvlite("checkout")
    said(dropped, "fetch", "--rev", "first")
    said(dropped, "get", ".", "model.pt", "--rev", "first", "-o", tmp_path / "out")
    dropped.git("checkout", "-q", "first")
    said(dropped, "pull")
    said(dropped, "checkout")
    assert dropped.read("model.pt") == noise(100_000, 2), "what cannot be had is left as it is"


def test_verify_reports_a_dropped_version_as_that(dropped):
    found = dropped.json("verify", "--rev", "first", "--remote", code=3)
    assert {row["why"] for row in found["unchecked"]} == {"dropped by gc.keep_last: 2"}
    assert not found["findings"]
    dropped.dvlite("push")
    dropped.dvlite("verify", "--rev", "HEAD", "--remote")


def test_fetching_all_brings_the_rest(dropped):
    found = dropped.json("fetch", "--all-commits", code=3)
    assert {(path["path"], path["state"]) for path in found["paths"]} == {
        *(("data", "present"), ("model.pt", "present"), ("data", "dropped"), ("model.pt", "dropped"))
    }
    assert len([path for path in found["paths"] if path["state"] == "dropped"]) == 2


def test_a_push_of_all_leaves_it_out(dropped):
    done = dropped.dvlite("push", "--all-commits")
    assert "'model.pt' at" in done.stderr
    assert "is left out: dropped by gc.keep_last: 2" in done.stderr


def test_what_no_rule_dropped_is_missing_as_before(dropped, tmp_path):
    shutil.rmtree(tmp_path / "store")
    shutil.rmtree(dropped.cache)
    shutil.rmtree(dropped.root / ".git/dvlite/remote")
    (dropped.root / "model.pt").unlink()
    assert "not in the cache" in dropped.dvlite("checkout", code=12).stderr
    dropped.dvlite("pull", code=12)


# --- any history


class Story:
    """A random history: what people do to git and data; after every `gc`, all that is needed is whole and nothing else is there."""

    def __init__(self, project, seed):
        self.project, self.random, self.made = project, random.Random(seed), 0
        self.lost = set()  # versions that a rule of then dropped; a later one, or none, may want them back

    def edit(self):
        for name in self.random.sample(["data/a", "data/b", "data/large", "model.pt"], 2):
            self.made += 1
            self.project.write(name, noise(90_000 if "large" in name or "model" in name else 300, self.made))
        self.project.dvlite("add", *(path for path in ("data", "model.pt") if self.project.has(path)))

    def commit(self):
        self.edit()
        self.project.commit()

    def amend(self):
        self.edit()
        self.project.git("commit", "-q", "--amend", "--no-edit", "-a", "--allow-empty")

    def branch(self):
        self.project.git("checkout", "-q", "-b", f"branch-{self.random.random()}")

    def switch(self):
        branches = self.project.git("branch", "--format=%(refname:short)").split()
        self.project.git("checkout", "-q", "-f", self.random.choice([one for one in branches if "(" not in one]))
        self.project.dvlite("checkout", "--force")

    def delete(self):
        for branch in self.project.git("branch", "--format=%(refname:short)").split()[1:2]:
            self.project.git("branch", "-q", "-D", branch) if branch not in self.project.git(
                "branch", "--show-current"
            ) else None

    def tag(self):
        self.project.git("tag", f"tag-{self.random.random()}")

    def stash(self):
        self.edit()
        self.project.git("stash", "-q")
        self.project.dvlite("checkout", "--force")

    def undo(self):
        self.project.git("reset", "-q", "--hard", "HEAD~1")
        self.project.dvlite("checkout", "--force")

    def expire(self):
        """Not of stashes: they live in a reflog."""
        for ref in ("HEAD", "--all"):
            kept = self.project.git("stash", "list").strip()
            self.project.git("reflog", "expire", "--expire=all", ref) if not kept or ref == "HEAD" else None

    def rule(self):
        rules = {"gc.keep_last": "2", "gc.keep_tags": "true", "gc.keep_within": "1s"}
        key = self.random.choice(sorted(rules))
        self.project.dvlite("config", key, rules[key])
        self.project.git("commit", "-qm", "Rule", "--allow-empty", "--", ".dvlite/config.yaml")

    def in_use(self):
        """Yields the commits that git itself says are at the end of something, stashes included."""
        heads = self.project.git("for-each-ref", "--format=%(objectname)", "refs/heads", "refs/stash").split()
        stashes = self.project.git("stash", "list", "--format=%H").split()
        return dict.fromkeys([*heads, *stashes, self.project.git("rev-parse", "HEAD").strip()])

    def gc(self):
        self.project.dvlite("gc", "--yes", "--grace", "0s")
        for commit in self.in_use():
            blob = self.project.git("show", f"{commit}:model.pt.dvlite").encode()
            version = pointer.parse(blob, commit)
            is_here = open_cache(open_repo(self.project.root, os.environ)).has_file(version.digest, version.size_bytes)
            assert is_here or ("blake3", version.digest) in self.lost, commit
        repo = open_repo(self.project.root, os.environ)
        needs, cache = gather(repo, NullProgress(), fetched=False), open_cache(repo)
        self.lost |= set(needs.dropped)
        files, nodes = set(needs.files), set()
        for version in needs.versions:
            try:
                whole = reachable(version.id, cache.read_node)
            except ObjectMissing:
                assert version.id in self.lost
                continue
            files |= whole.files
            nodes |= whole.nodes
        lost = {digest for kind, digest in self.lost if kind == "blake3"}
        for digest in files - lost:
            assert cache.is_sound(digest, cache.large_path(digest).stat().st_size if cache.has_large(digest) else 300)
        held = {bytes.fromhex(path.name) for path in (cache.folder / "files").rglob("*") if path.is_file()}
        held |= {place.record.digest for segment in cache.segments().values() for place in segment}
        assert len(held - files - nodes) <= 1, "a little waste may be left in a pack"


DEEDS = ["commit"] * 5 + [
    "amend",
    "branch",
    "switch",
    "delete",
    "tag",
    "stash",
    "undo",
    "expire",
    "expire",
    "rule",
    "edit",
    "gc",
    "gc",
]


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 20))])
def test_any_history_keeps_what_it_needs_and_nothing_else(project, seed):
    story = Story(project, seed)
    project.write("model.pt", noise(90_000, 10_000))
    story.commit()
    story.commit()
    for _ in range(6 if seed == 1 else 30):
        deed = story.random.choice(DEEDS)
        if deed == "undo" and "Change" not in project.git("log", "-1", "--format=%s", "HEAD~1"):
            continue
        getattr(story, deed)()
    story.gc()


def test_what_no_commit_names_goes_if_it_is_asked_for_and_old_enough(pipeline):
    pipeline.write(
        "dvlite.yaml", "stages: {train: {cmd: cp params.yaml model.pt; echo log, params: [lr], outs: [model.pt]}}"
    )
    for lr in (3, 2, 1):
        pipeline.write("params.yaml", f"lr: {lr}")
        pipeline.dvlite("repro")
    pipeline.commit()
    pipeline.write("model.pt", "by hand")
    pipeline.dvlite("checkout", "--force", "model.pt")
    pipeline.dvlite("runs", "tag", pipeline.json("runs")["runs"][-1]["run"], "best")
    of_runs, copies = "of 1 run that no commit names", "of 1 saved copy that no commit names"
    assert by_reason(gc(pipeline, "--grace", "0s")["kept"]).items() >= {of_runs: 1, copies: 1}.items()
    for limits in ((), ("--grace", "0s", "--older-than", "1d")):
        assert not gc(pipeline, "--uncommitted", "--yes", *limits)["objects"]
    assert by_reason(gc(pipeline, "--uncommitted", "--grace", "0s", "--yes")["gone"]) == {of_runs: 1, copies: 1}
    assert list((pipeline.root / ".git/dvlite/saved").iterdir()) == []
    rest = gc(pipeline, "--grace", "0s")
    assert not {of_runs, copies} & set(by_reason(rest["kept"]))
    assert len(pipeline.json("runs")["runs"]) == 3, "records and logs stay"
    assert not rest["objects"]
    pipeline.dvlite("gc", "--older-than", "1d", code=2)
