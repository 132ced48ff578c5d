import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dvlite.commands.init import init
from dvlite.errors import Busy, DvliteError, FormatError, NotARepository, Untrusted, UsageError
from dvlite.formats import pointer
from dvlite.formats.pointer import Pointer
from dvlite.oid import digest_bytes
from dvlite.progress import NullProgress, RecordingProgress
from dvlite.repo import committed_versions, config_files
from dvlite.repo.repository import Repo, open_repo
from dvlite.repo.revisions import Scope
from dvlite.repo.tracked_paths import Tracked, Unusable, overlap, why_untrackable


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def opened(folder: Path, **environ: str) -> Repo:
    return open_repo(folder, {**os.environ, **environ})


def version(text: str) -> Pointer:
    return Pointer("file", digest_bytes(text.encode()), len(text))


def put(repo: Path, **contents: str) -> None:
    for path, text in contents.items():
        (repo / f"{path}.dvlite").parent.mkdir(parents=True, exist_ok=True)
        (repo / f"{path}.dvlite").write_bytes(pointer.dump(version(text)))


def commit(repo: Path, **contents: str) -> str:
    put(repo, **contents)
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "-m", "Change")
    return git(repo, "rev-parse", "HEAD")


@pytest.fixture
def work(git_repo):
    init(git_repo, os.environ, progress=NullProgress())
    return git_repo


def write_config(work: Path, text: str, name: str = "config.yaml") -> None:
    (work / ".dvlite" / name).write_text(f"project: {'0' * 32}\n{text}" if name == "config.yaml" else text)


def write_user_config(text: str) -> Path:
    path = config_files.own_file(config_files.USER, os.environ)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# --- opening


def test_a_git_repository_without_dvlite_says_how_to_begin(git_repo):
    with pytest.raises(NotARepository, match="not initialised") as caught:
        opened(git_repo)
    assert caught.value.hint == "dvlite init"
    assert not open_repo(git_repo, os.environ, must_be_initialised=False).is_initialised


def test_the_places_of_a_worktree(work, tmp_path):
    commit(work)
    git(work, "worktree", "add", "--quiet", str(tmp_path / "other"))
    main, other = opened(work), opened(tmp_path / "other")
    assert main.cache_dir == other.cache_dir == work / ".git" / "dvlite" / "cache"
    assert main.state_dir == work / ".git" / "dvlite"
    assert other.state_dir == work / ".git" / "worktrees" / "other" / "dvlite"


def test_a_chosen_cache_is_relative_to_the_root_or_in_a_variable_to_the_current_folder(work, tmp_path):
    (work / "sub").mkdir()
    write_config(work, "cache: {dir: ../big}\n", "config.local.yaml")
    assert opened(work / "sub").cache_dir == tmp_path / "big"
    assert opened(work / "sub", DVLITE_CACHE_DIR="here").cache_dir == work / "sub" / "here"
    assert opened(work, DVLITE_CACHE_DIR="~/c").cache_dir == Path(os.environ["HOME"]) / "c"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_repository_of_another_user_is_opened_only_if_git_trusts_it(work):
    os.chown(work / ".git", 12345, 12345)
    os.chown(work, 12345, 12345)
    with pytest.raises(NotARepository, match="dubious ownership") as caught:
        opened(work)
    assert "safe.directory" in caught.value.hint
    git(work.parent, "config", "--global", "--add", "safe.directory", str(work))
    assert opened(work).root == work


@pytest.mark.parametrize("name", ["config.yaml", "config.local.yaml"])
def test_a_linked_config_is_refused(work, name):
    (work / ".dvlite" / name).unlink(missing_ok=True)
    (work / ".dvlite" / name).symlink_to("/etc/passwd")
    with pytest.raises(FormatError, match="symbolic link"):
        opened(work)


def test_a_linked_settings_folder_is_refused(work, tmp_path):
    (work / ".dvlite").rename(tmp_path / "elsewhere")
    (work / ".dvlite").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FormatError, match=r"refused '\.dvlite'"):
        opened(work)


def test_a_local_config_that_came_with_the_clone_is_refused(work):
    write_config(
        work, "remotes: {origin: {url: s3://theirs, endpoint_url: 'https://evil.example'}}\n", "config.local.yaml"
    )
    git(work, "add", "--force", ".dvlite/config.local.yaml")
    with pytest.raises(FormatError, match="git tracks it"):
        opened(work)


def test_a_small_repository_opens_and_lists_without_slow_imports_and_starts_git_once(work):
    commit(work, **{f"data/{n}": str(n) for n in range(20)})
    code = (
        "import os, pathlib, subprocess, sys; started = []; start = subprocess.Popen.__init__\n"
        "subprocess.Popen.__init__ = lambda *args, **options: (started.append(args), start(*args, **options))[1]\n"
        "from dvlite.repo.repository import open_repo; open_repo(pathlib.Path('.'), os.environ).work_tree.tracked()\n"
        "print(len(started), *({'yaml', 's3fs', 'fsspec', 'rich', 'pathspec', 'sqlite3'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=work, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["1"]


# --- paths


def test_paths_become_relative_to_the_root_and_back(work):
    (work / "a" / "b").mkdir(parents=True)
    repo = opened(work / "a")
    assert repo.relative("b/../c.bin") == "a/c.bin"
    assert repo.relative("../x") == "x"
    assert repo.relative("..") == ""
    assert repo.relative(work / "a" / "n\new") == "a/n\new"
    assert (repo.display("a/b/c"), repo.display("x"), repo.display("")) == ("b/c", "../x", "..")
    assert opened(work).display("") == "."


def test_a_path_written_through_a_link_to_the_repository_is_inside_it(work, tmp_path):
    (tmp_path / "link").symlink_to(work)
    repo = opened(work)
    assert repo.relative(tmp_path / "link" / "x") == "x"
    assert repo.relative(tmp_path / "link") == ""
    assert opened(tmp_path / "link").root == work


def test_a_link_itself_can_be_named(work):
    (work / "link").symlink_to("/tmp")
    assert opened(work).relative("link") == "link"


@pytest.mark.parametrize("path", ["..", "../x", "/etc/passwd", "a/../../x", "/"])
def test_a_path_outside_is_refused_by_name(work, path):
    with pytest.raises(UsageError, match=re.escape(f"'{path}' is outside the repository")):
        opened(work).relative(path)


@pytest.mark.parametrize("target", ["/tmp", "real"])
def test_a_path_behind_a_link_is_refused(work, target):
    (work / "real").mkdir()
    (work / "link").symlink_to(target)
    with pytest.raises(UsageError, match="behind a symbolic link"):
        opened(work).relative("link/x")


# --- what is tracked


def test_tracked_paths_are_the_pointers_on_disk(work):
    commit(work, **{"data/b": "1", "a": "2", "gone": "3"})
    put(work, new="4")
    (work / "gone.dvlite").unlink()
    assert opened(work).work_tree.tracked() == [
        Tracked("a", version("2")),
        Tracked("data/b", version("1")),
        Tracked("new", version("4")),
    ]


def test_a_malformed_pointer_is_named_with_its_line(work):
    (work / "sub").mkdir()
    (work / "sub" / "x.dvlite").write_text("dvlite: 1\nkind: file\noid: nonsense\nsize: 1\n")
    with pytest.raises(FormatError, match=r"cannot read 'x.dvlite' line 3"):
        opened(work / "sub").work_tree.tracked()


def test_a_linked_pointer_is_not_followed(work, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (work / "x.dvlite").symlink_to(tmp_path / "secret")
    with pytest.raises(FormatError, match="symbolic link") as caught:
        opened(work).work_tree.tracked()
    assert "secret" not in caught.value.message


def test_a_pointer_behind_a_link_is_gone(work, tmp_path):
    commit(work, **{"data/x": "1"})
    (work / "data").rename(tmp_path / "data")
    (work / "data").symlink_to(tmp_path / "data")
    assert opened(work).work_tree.tracked() == []


def test_a_fifo_among_the_pointers_blocks_nothing(work):
    commit(work, x="1")
    (work / "x.dvlite").unlink()
    os.mkfifo(work / "x.dvlite")
    with pytest.raises(FormatError, match="not an ordinary file"):
        opened(work).work_tree.tracked()


def test_overlapping_tracked_paths_are_refused(work):
    put(work, **{"data": "1", "data/in/side": "2", "data-2": "3"})
    with pytest.raises(FormatError, match="'data/in/side' is inside 'data'"):
        opened(work).work_tree.tracked()
    assert overlap(["a-b", "a", "b", "a b"]) is None
    assert overlap(["a/b", "a-b", "a"]) == ("a", "a/b")


def test_what_cannot_be_used_can_be_set_aside_with_its_file(work):
    put(work, **{"good": "1", "sub/broken": "2", "data": "3", "data/in/side": "4"})
    (work / "sub" / "broken.dvlite").write_text("nonsense\n")
    (work / "dvlite.lock").write_text("nonsense\n")
    broken: list[DvliteError] = []
    assert [item.path for item in opened(work).work_tree.tracked(broken)] == ["data", "good"]
    assert [error.file for error in broken] == ["dvlite.lock", "sub/broken.dvlite", "data/in/side.dvlite"]
    assert all(isinstance(error, Unusable) and error.hint for error in broken)
    with pytest.raises(Unusable, match=r"'dvlite.lock' line 1"):
        opened(work).work_tree.tracked()


def test_a_file_that_only_looks_like_a_lockfile_is_none(work):
    for name in ("my-dvlite.lock", "dvlite.lock.txt", "sub/dvlite.lock.d/x"):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text("nonsense\n")
    (work / "other").mkdir()
    (work / "other" / "dvlite.lock").mkdir()
    (work / "other" / "dvlite.lock" / "x").write_text("nonsense\n")
    commit(work)
    repo = opened(work)
    assert (repo.work_tree.tracked(), repo.at("HEAD").tracked(), repo.work_tree.lockfiles()) == ([], [], [])
    assert list(repo.git.lockfile_changes("--all")) == []


def test_one_run_of_git_lists_all_that_is_tracked(work, monkeypatch):
    put(work, a="1")
    (work / "dvlite.yaml").write_text("stages: {}\n")
    (work / "dvlite.lock").write_bytes(b"dvlite: 1\n")
    repo = opened(work)
    runs = []
    original = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: runs.append(args) or original(*args, **kwargs))
    repo.work_tree.tracked()
    assert (repo.work_tree.pipeline_files(as_seen=True), repo.work_tree.lockfiles(as_seen=True)) == (
        ["dvlite.yaml"],
        ["dvlite.lock"],
    )
    assert len(runs) == 1


@pytest.mark.parametrize("path", [".git/config", ".GIT/x", "a/.git", ".gitattributes", "sub/.gitmodules", ".dvlite/x", ".Dvliteignore",
                                  "x.dvlite", "dvlite.lock", "a//b", "../x", "git~1/x", ".g\u200cit/x"])  # fmt: skip
def test_names_of_git_and_dvlite_cannot_be_tracked(path):
    assert why_untrackable(path)


@pytest.mark.parametrize("path", ["data", ".github/data", "gitlab", ".config/x", "a b", "ünï", "dvlite", "--help"])
def test_ordinary_names_can_be_tracked(path):
    assert why_untrackable(path) is None


def test_a_pointer_to_a_refused_path_is_refused(work):
    put(work, **{".gitattributes": "1"})
    with pytest.raises(FormatError, match=r"refused '.gitattributes.dvlite'"):
        opened(work).work_tree.tracked()


def test_tracked_at_a_revision_needs_no_work_tree(work):
    first = commit(work, a="1")
    commit(work, a="2", b="3")
    (work / "a.dvlite").unlink()
    repo = opened(work)
    assert repo.at(first).tracked() == [Tracked("a", version("1"))]
    assert repo.at("HEAD").tracked() == [Tracked("a", version("2")), Tracked("b", version("3"))]


def test_history_is_newest_first_and_follows_renames(work):
    for text in ("1", "2", "3"):
        commit(work, a=text, other=text)
    git(work, "mv", "a.dvlite", "b.dvlite")
    commit(work)
    commit(work, b="4")
    repo = opened(work)
    assert committed_versions.history(repo.git, "b", 10) == [version(text) for text in "4321"]
    assert committed_versions.history(repo.git, "b", 2) == [version("4"), version("3")]
    assert committed_versions.histories(repo.git, ["b", "other", "none"], 1) == {
        "b": [version("4")],
        "other": [version("3")],
        "none": [],
    }


def test_reachable_versions_of_each_scope(work):
    first = commit(work, a="1")
    git(work, "tag", "v1")
    second = commit(work, a="2")
    git(work, "checkout", "--quiet", "-b", "side")
    third = commit(work, a="3", b="1")
    git(work, "checkout", "--quiet", "main")
    put(work, a="not committed")
    repo = opened(work)

    def found(**scope):
        return {(v.path, v.pointer, v.commit) for v in committed_versions.reachable(repo.git, Scope(**scope))}

    assert found(revision="v1") == {("a", version("1"), first)}
    assert found() == {("a", version("2"), second)}
    assert found(all_tags=True) == {("a", version("1"), first)}
    branches = found(all_branches=True)
    assert {(pointer_, commit_) for _, pointer_, commit_ in branches} == {
        (version("2"), second),
        (version("3"), third),
        (version("1"), third),
    }
    assert {v[1] for v in found(all_commits=True)} == {version("1"), version("2"), version("3")}
    assert Scope().is_workspace
    assert not Scope(all_tags=True).is_workspace


def test_a_broken_pointer_in_history_is_warned_of(work):
    commit(work, a="1")
    (work / "a.dvlite").write_text("<<<<<<< HEAD\n")
    broken = commit(work)
    commit(work, a="2")
    progress = RecordingProgress()
    repo = opened(work)
    assert {v.pointer for v in committed_versions.reachable(repo.git, Scope(all_commits=True), progress=progress)} == {
        version("1"),
        version("2"),
    }
    assert [broken[:8] in warning for warning in progress.warnings] == [True]
    assert committed_versions.history(repo.git, "a", 9) == [version("2"), version("1")]
    with pytest.raises(FormatError, match=broken[:8]):
        committed_versions.reachable(repo.git, Scope(revision=broken))


def test_a_repository_without_commits_refers_to_nothing(tmp_path):
    git(tmp_path, "init", "--quiet", "new")
    init(tmp_path / "new", os.environ, progress=NullProgress())
    repo = opened(tmp_path / "new")
    assert (
        committed_versions.reachable(repo.git, Scope())
        == committed_versions.reachable(repo.git, Scope(all_commits=True))
        == []
    )
    assert committed_versions.history(repo.git, "a", 3) == []


# --- changes


def test_staging_follows_the_settings_and_stages_removals(work):
    commit(work, a="1")
    (work / "a.dvlite").unlink()
    put(work, b="2")
    assert opened(work).stage(["a.dvlite", "b.dvlite"], enabled=False) == ()
    write_config(work, "core: {autostage: false}\n", "config.local.yaml")
    assert opened(work).stage(["a.dvlite", "b.dvlite"]) == ()
    assert opened(work).stage(["a.dvlite", "b.dvlite"], enabled=True) == ("a.dvlite", "b.dvlite")
    assert git(work, "status", "--short") == "D  a.dvlite\nA  b.dvlite"


def test_a_tracked_path_is_ignored_with_and_without_its_pointer(work):
    (work / "data").mkdir()
    repo = opened(work)
    assert repo.ensure_ignored(["data/x", "top"]) == [".gitignore", "data/.gitignore"]
    assert repo.ensure_ignored(["data/x", "top"]) == []
    assert (work / "data" / ".gitignore").read_text() == "/x\n"
    (work / "data" / ".gitignore").unlink()
    assert repo.git.ignored(["data/x", "top", "x"]) == {"data/x", "top"}
    assert repo.forget_ignored(["data/x", "top"]) == [".gitignore"]
    assert repo.git.ignored(["data/x", "top"]) == set()


def test_the_lock_is_exclusive(work):
    with opened(work).lock(), pytest.raises(Busy), opened(work).lock(wait=False):
        pass
    with opened(work).lock(wait=False):
        pass


def test_a_changed_config_is_in_force_and_only_mine_to_read(work):
    repo = opened(work)
    path = repo.change_config("local", {"remotes.o.url": "s3://bucket", "remotes.o.secret_access_key": "x"})
    assert repo.config.remote("o").options["secret_access_key"].value == "x"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FormatError, match="not allowed in a committed file"):
        repo.change_config("committed", {"remotes.o.secret_access_key": "x"})
    assert "secret" not in (work / ".dvlite" / "config.yaml").read_text()


def test_a_user_config_that_is_a_link_stays_one(work, tmp_path):
    path = write_user_config("")
    path.rename(tmp_path / "dotfile")
    path.symlink_to(tmp_path / "dotfile")
    opened(work).change_config("user", {"transfer.jobs": 3})
    assert path.is_symlink()
    assert (tmp_path / "dotfile").read_text() == "transfer:\n  jobs: 3\n"


# --- remotes and trust


def test_without_a_remote_the_hint_is_how_to_add_one(work):
    with pytest.raises(UsageError, match="no remote is configured") as caught:
        opened(work).remote()
    assert "dvlite remote add" in caught.value.hint


def test_an_unknown_remote_names_those_there_are(work):
    write_config(work, "remotes: {b: {url: s3://bucket}, a: {url: s3://bucket/a}}\n")
    with pytest.raises(UsageError, match="there is no remote 'c'") as caught:
        opened(work).remote("c")
    assert caught.value.hint == "the remotes are: a, b"
    with pytest.raises(UsageError, match="no remote is the default one"):
        opened(work).remote()
    assert opened(work).remote("a").location.prefix == "a"


@pytest.mark.parametrize(
    ("remote", "place"),
    [
        ("url: s3://bucket, endpoint_url: 'https://Minio.example.com/'", "https://minio.example.com"),
        ("url: s3://bucket, endpoint_url: 'http://127.0.0.1:9000'", "http://127.0.0.1:9000"),
        ("url: /srv/store", "/srv/store"),
        ("url: ../store", "{parent}/store"),
        ("url: s3://bucket/x, profile: admin", "s3://bucket/x"),
        ("url: sftp://host/x", "sftp://host"),
        ("url: .git/hooks", "{parent}/repo/.git/hooks"),
    ],
)
def test_a_place_from_a_committed_file_waits_for_consent(work, tmp_path, remote, place):
    write_config(work, f"remotes: {{origin: {{{remote}}}}}\n")
    place = place.format(parent=tmp_path)
    with pytest.raises(Untrusted, match="has not approved; nothing was sent") as caught:
        opened(work).remote()
    assert caught.value.place == place
    assert caught.value.hint.startswith(f"dvlite remote trust {place} ")
    assert opened(work, DVLITE_TRUST=f"https://other.example,{place}").remote().name == "origin"
    write_user_config(f"trust: ['{place}']\n")
    assert opened(work).remote().name == "origin"


@pytest.mark.parametrize("remote", ["url: s3://bucket/x, region: eu-west-1", "url: gs://bucket", "url: ./store",
                                    "url: s3://bucket, endpoint_url: 'https://s3.eu-west-1.amazonaws.com'"])  # fmt: skip
def test_the_providers_own_and_folders_inside_need_none(work, remote):
    write_config(work, f"remotes: {{origin: {{{remote}}}}}\n")
    assert opened(work).remote().name == "origin"


def test_a_link_in_the_repository_leads_to_no_place_outside(work, tmp_path):
    (work / "store").symlink_to(tmp_path / "outside")
    write_config(work, "remotes: {origin: {url: ./store}}\n")
    with pytest.raises(Untrusted) as caught:
        opened(work).remote()
    assert caught.value.place == str(tmp_path / "outside")


def test_what_the_user_wrote_needs_no_consent(work):
    write_config(
        work,
        "remotes: {origin: {url: s3://b-1, endpoint_url: 'https://x.example', access_key_id: a, secret_access_key: b}}\n",
        "config.local.yaml",
    )
    remote = opened(work).remote()
    assert remote.options["secret_access_key"] == "b"


def test_a_committed_endpoint_below_a_local_url_still_waits(work):
    write_config(work, "remotes: {origin: {endpoint_url: 'https://evil.example'}}\n")
    write_user_config("remotes: {origin: {url: s3://mine}}\n")
    with pytest.raises(Untrusted):
        opened(work).remote()


@pytest.mark.parametrize(
    "url",
    [
        "simplecache::s3://b/x",
        "reference://x",
        "~root",
        "ssh://-oProxyCommand=x/",
        "http://169.254.169.254/",
        "s3://u:p@b/",
        "S3://bucket",
        " s3://bucket",
    ],
)
def test_a_hostile_url_is_refused_naming_the_file_and_line(work, url):
    write_config(work, f'remotes:\n  origin:\n    url: "{url}"\n')
    with pytest.raises(UsageError, match=r"\.dvlite/config\.yaml:4: remote 'origin'"):
        opened(work).remote()


def test_the_key_of_a_remote_depends_on_its_place_only(work):
    write_config(
        work, "remotes: {a: {url: s3://bucket, region: eu-west-1}, b: {url: s3://bucket/}, c: {url: s3://bucket/c}}\n"
    )
    repo = opened(work)
    assert repo.remote("a").key == repo.remote("b").key != repo.remote("c").key


def test_a_failed_write_of_the_config_leaves_it(work):
    before = (work / ".dvlite" / "config.yaml").read_bytes()
    with pytest.raises(DvliteError):
        opened(work).change_config("committed", {"remotes.x.verify": "false"})
    assert (work / ".dvlite" / "config.yaml").read_bytes() == before
