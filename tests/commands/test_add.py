"""`dvlite add`: what is added is stored once and ignored by git; what cannot be is refused by name, with nothing half done."""

import fcntl
import os
import re
import shutil
import socket
import stat
import subprocess
import sys

import pytest

from dvlite import files
from tests.clones import Clone, git, refused, start
from tests.commands.project import Project, fill, tree
from tests.copies import copy_of
from tests.trees import noise, put


def staged(project):
    """Returns the files that `git add` takes of all that is there."""
    project.git("add", "-A")
    return project.git("ls-files").split()


def test_nothing_is_written_if_an_ignore_file_cannot_be_changed(project):
    project.write("data/x.bin", "1")
    project.write("other/y.bin", "2")
    os.symlink("../v", project.root / "data" / ".gitignore")
    done = project.dvlite("add", "other/y.bin", "data/x.bin", code=1)
    assert ".gitignore" in done.stderr
    for name in ("data/x.bin.dvlite", "other/y.bin.dvlite", "other/.gitignore"):
        assert not project.has(name)
    assert not (project.cache / "packs").exists() or not os.listdir(project.cache / "packs")


def test_an_add_that_dies_at_the_pointer_leaves_data_that_git_ignores(project, monkeypatch):
    project.write("data/x.bin", "1")

    def die(contents, _sync_soon):
        assert [path.name for path in contents] == ["x.bin.dvlite"]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_together", die)
        project.dvlite("add", "data/x.bin", code=None)
    assert not project.has("data/x.bin.dvlite")
    assert "data/x.bin" not in staged(project)
    project.dvlite("add", "data/x.bin")
    assert "data/x.bin.dvlite" in staged(project)


@pytest.mark.parametrize(
    "wrong", [("data", "size: 3", "size: 4"), ("data", "files: 2", "files: 3"), ("f", "size: 4", "size: 5")]
)
@pytest.mark.parametrize("by_name", [True, False], ids=["by name", "-u"])
def test_add_corrects_totals_that_were_edited_in_a_pointer(project, wrong, by_name):
    for path, text in (("data/a", "1"), ("data/b", "22"), ("f", "4444")):
        project.write(path, text)
    project.dvlite("add", "data", "f")
    path, text, edited = wrong
    before = project.read(f"{path}.dvlite")
    project.write(f"{path}.dvlite", before.decode().replace(text, edited))
    assert project.read(f"{path}.dvlite") != before
    project.dvlite("add", *([path] if by_name else ["-u"]))
    assert project.read(f"{path}.dvlite") == before


@pytest.mark.parametrize("again", [("data/x.bin",), ("-u",)], ids=["by name", "-u"])
def test_add_mends_the_ignore_file_of_a_path_that_did_not_change(project, again):
    project.write("data/x.bin", "1")
    project.dvlite("add", "data/x.bin")
    project.commit()
    for name in ("data/.gitignore", ".git/info/exclude"):
        (project.root / name).unlink()
    result = project.json("add", *again)
    assert result["staged"] == ["data/.gitignore"]
    assert "data/x.bin" not in staged(project)
    assert project.json("add", *again)["staged"] == []


def test_an_ignore_file_with_a_merge_conflict_is_not_staged(project):
    project.write("x.bin", "1")
    project.write(".gitignore", "<<<<<<< HEAD\n/a\n=======\n/b\n>>>>>>> other\n")
    before = project.read(".gitignore")
    done = project.dvlite("add", "x.bin", code=1)
    assert "merge conflict" in done.stderr
    assert re.search(r"hint: edit it, then: git add \S*\.gitignore\n", done.stderr)
    assert project.read(".gitignore") == before
    assert not project.has("x.bin.dvlite")


@pytest.fixture
def crowded(tmp_path, invoke) -> Clone:
    def build(base):
        made = start(base / "here", invoke)
        for path in ("in git", "code/a.py", "dvlite.yaml", "outer/inner", "data/file"):
            put(made.path / path, b"x")
        (made.path / "link").symlink_to("data")
        git(made.path, "add", "in git", "code")
        made.dv("add", "outer/inner")

    return Clone(copy_of("crowded", build, tmp_path) / "here", invoke)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("absent", "cannot find 'absent'"),
        ("absent/inside", "cannot find 'absent/inside'"),
        ("no*match", "nothing matches 'no*match'"),
        ("../outside", "'../outside' is outside the repository"),
        ("/etc/passwd", "'/etc/passwd' is outside the repository"),
        (".", "not the whole repository"),
        (".git", "cannot track '.git'"),
        (".git/config", "cannot track '.git/config'"),
        (".dvlite", "cannot track '.dvlite'"),
        (".gitignore", "cannot track '.gitignore'"),
        ("dvlite.yaml", "cannot track 'dvlite.yaml'"),
        ("in git", "git tracks it already"),
        ("code", "git tracks 1 file in it already"),
        ("outer", "inside it is tracked on its own"),
        ("link/file", "behind a symbolic link"),
        ("", ""),
    ],
)
def test_paths_that_cannot_be_tracked(crowded, path, said):
    assert said in refused(crowded, 2, "add", path)


def test_git_tracked_says_how_to_untrack(here):
    for name in ("a.py", "b.py"):
        put(here.path / "my code" / name, b"x")
    git(here.path, "add", "my code")
    done = here.run("add", "my code", cwd=here.path)
    assert "git tracks 2 files in it already" in done.stderr
    assert "printf '%s\\n' '/my code/a.py' '/my code/b.py' >> .dvliteignore" in done.stderr
    (hint,) = [line for line in done.stderr.splitlines() if line.startswith("hint: git rm")]
    assert hint == "hint: git rm -r -q --cached 'my code' && dvlite add 'my code'"
    git(here.path, "rm", "-rq", "--cached", "my code")
    here.dv("add", "my code")


def test_a_path_in_another_repository_is_tracked_there(here):
    put(here.path / "sub lib" / "data" / "x", b"x")
    git(here.path, "init", "-q", "sub lib")
    said = here.run("add", "sub lib/data", cwd=here.path).stderr
    assert "it is in another git repository, 'sub lib'" in said
    assert "dvlite -C 'sub lib' add data" in said


def test_two_arguments_that_overlap(here):
    put(here.path / "a" / "b" / "c", b"x")
    assert "is inside 'a', which is given too" in refused(here, 2, "add", "a", "a/b")


def test_one_bad_path_among_good_ones_adds_nothing(here):
    refused(here, 2, "add", "new", "absent")
    assert not (here.path / "new.dvlite").exists()


def test_a_full_cache_disk_is_seen_before_anything_is_written(tmp_path, invoke, tiny_disk):
    here = start(tmp_path / "here", invoke)
    put(here.path / "big", noise(9_000_000, 1))
    for number in range(200):
        put(here.path / "many" / str(number), noise(60_000, number))
    environment = {"DVLITE_CACHE_DIR": str(tiny_disk / "cache")}
    for path, needed in (("big", "8.6 MiB"), ("many", "11.4 MiB")):
        said = refused(here, 1, "add", path, env=environment)
        assert f"'{path}' needs {needed}" in said or f"{path} needs {needed}" in said
        assert "is free" in said
        assert sum(p.stat().st_size for p in tiny_disk.rglob("*") if p.is_file()) < 10_000
        assert not (here.path / f"{path}.dvlite").exists()
    here.dv("add", "big")


def test_equal_content_is_stored_once_whatever_its_names(tmp_path, invoke):
    here = start(tmp_path / "here", invoke, str(tmp_path / "store"))
    for number in range(20):
        put(here.path / "data" / f"large {number}", noise(300_000, 1))
        put(here.path / "data" / f"small {number}", noise(3_000, 2))
    here.dv("add", "data")
    assert sum(path.stat().st_size for path in here.cache.rglob("*") if path.is_file()) < 400_000
    pushed = here.json("push")
    assert pushed["uploaded_bytes"] < 400_000


def special_fifo(path):
    os.mkfifo(path)


def special_socket(path):
    here = os.getcwd()
    os.chdir(path.parent)  # the path of a socket may have 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def special_device(path):
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root can make a device")


def state(clone: Clone) -> tuple:
    """Returns what a refused command must leave as it was."""
    index = clone.cache / "index"
    return (
        git(clone.path, "status", "--porcelain"),
        sorted(path.name for path in clone.path.iterdir()),
        sorted(os.listdir(index)) if index.exists() else [],
    )


@pytest.mark.parametrize(
    ("make", "word"), [(special_fifo, "a FIFO"), (special_socket, "a socket"), (special_device, "a device")]
)
@pytest.mark.parametrize("inside", [True, False], ids=["inside", "alone"])
def test_what_is_no_data_is_refused_by_name_with_nothing_half_done(tmp_path, invoke, make, word, inside):
    here = start(tmp_path / "here", invoke)
    for number in range(50):
        put(here.path / "data" / f"{number}", noise(100, number))
    special = here.path / "data" / "zz odd" if inside else here.path / "zz odd"
    make(special)
    before = state(here)
    said = here.fails(2, "add", "data" if inside else "zz odd", "data")
    assert f"{'data/' if inside else ''}zz odd': it is {word}" in said
    assert state(here) == before
    special.unlink()
    here.dv("add", "data")


def test_a_link_that_leaves_the_tracked_directory_is_refused_with_the_rule(tmp_path, invoke):
    here = start(tmp_path / "here", invoke)
    put(here.path / "data" / "file", b"x")
    for target in ("/etc/passwd", "..", "../outside", "a/../../../x", "sub/../..", ".git/config", "./../x"):
        os.symlink(target, here.path / "data" / "link")
        before = state(here)
        said = here.fails(2, "add", "data")
        assert "data/link" in said
        assert "symbolic link" in said
        assert state(here) == before
        (here.path / "data" / "link").unlink()


def test_a_tracked_path_that_is_a_link_is_refused(tmp_path, invoke):
    here = start(tmp_path / "here", invoke)
    put(here.path / "real", b"x")
    os.symlink("real", here.path / "link")
    assert "'link': it is a symbolic link" in here.fails(2, "add", "link")


@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
def test_what_cannot_be_read_is_refused_by_name_with_nothing_half_done(reachable, invoke, folder):
    here = start(reachable / "here", invoke)
    for number in range(50):
        put(here.path / "data" / f"{number}", noise(100, number))
    closed = here.path / "data" / "closed"
    if folder:
        put(closed / "x", b"x")
    else:
        put(closed, b"x")
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "65534:65534", reachable], check=True)
    closed.chmod(0)
    before = (here.path / ".git" / "index").read_bytes()
    home = reachable / "nobody"
    home.mkdir()
    home.chmod(0o777)
    done = subprocess.run(
        [
            *(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []),
            sys.executable,
            "-m",
            "dvlite",
            "add",
            "data",
        ],
        cwd=here.path,
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home), "GIT_CONFIG_GLOBAL": os.devnull},
    )
    closed.chmod(0o755)
    assert done.returncode == 1, done.stderr
    assert "error: cannot read 'data/closed': Permission denied" in done.stderr
    assert not (here.path / "data.dvlite").exists()
    assert (here.path / ".git" / "index").read_bytes() == before


def test_an_untouched_earlier_version_is_no_change_and_add_u_leaves_the_pointer(tracked):
    (tracked.root / "data" / "later").write_text("of version 2")
    tracked.dvlite("add", "data")
    tracked.git("commit", "-qam", "version 2")
    tracked.dvlite("checkout", "--rev", "HEAD~1", "data")
    tracked.git("checkout", "-q", "HEAD", "--", "data.dvlite")
    pointer = (tracked.root / "data.dvlite").read_bytes()
    shown = tracked.dvlite("status").stdout
    assert "not added" not in shown
    assert "Data of another version is here" in shown
    done = tracked.dvlite("add", "-u")
    assert "earlier version" in done.stderr
    assert (tracked.root / "data.dvlite").read_bytes() == pointer


def test_a_path_whose_pointer_git_would_ignore_is_refused(project):
    project.write(".gitignore", "data/\n")
    project.write("data/raw/x", "1")
    done = project.dvlite("add", "data/raw", code=2)
    assert "git ignores that file" in done.stderr
    assert "data/*" in done.stderr
    assert not project.has("data/raw.dvlite")


def test_files_larger_than_a_record_never_go_into_packs(project):
    done = project.dvlite("config", "--local", "cache.pack_below", "1GiB", code=2)
    assert "pack_below" in done.stderr


def test_a_file_that_became_a_folder_is_one_when_a_part_is_added(project):
    project.write("d/x", "f")
    project.write("d/k", "k")
    project.dvlite("add", "d")
    project.commit("1")
    (project.root / "d" / "x").unlink()
    project.write("d/x/y", "y")
    project.dvlite("add", "d/x/y")
    project.dvlite("status")
    assert [entry["path"] for entry in project.json("ls", "-R", "d")["entries"]] == ["d/k", "d/x/y"]


def test_adding_again_heals_small_files(project):
    for number in range(50):
        project.write(f"d/{number}", f"content {number} " * 20)
    project.dvlite("add", "d")
    biggest = max((project.cache / "packs").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(biggest.read_bytes())
    data[200:600] = bytes(400)
    biggest.chmod(0o644)
    biggest.write_bytes(data)
    for number in range(50):
        (project.root / "d" / str(number)).touch()
    project.dvlite("add", "d")
    shutil.rmtree(project.root / "d")
    project.dvlite("checkout")
    assert project.read("d/7") == b"content 7 " * 20


def test_a_pattern_made_to_match_for_ever_is_refused(project):
    project.write(".dvliteignore", "*a" * 12 + "*b\n")
    project.write("d/" + "a" * 100, "x")
    assert "too slow to match" in project.dvlite("add", "d", code=1).stderr


def test_no_wait_leaves_with_11(here):

    put(here.path / "file", b"x")
    (here.path / ".git" / "dvlite").mkdir(exist_ok=True)
    with open(here.path / ".git" / "dvlite" / "lock", "w+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another dvlite command is running here" in here.fails(11, "add", "--no-wait", "file")


@pytest.fixture
def bare_clone(prepared, colleague):
    """A clone that never had the three files of a pushed directory, nor their listing."""

    def build(project):
        for name in ("a", "b", "sub/c"):
            project.write(f"data/{name}", name)
        project.dvlite("add", "data")
        project.commit("data")
        project.dvlite("push")

    clone = colleague(prepared("three-pushed-files", build))
    clone.dvlite("remote", "trust", "../store")
    return clone


@pytest.mark.parametrize("words", [("-u",), ("data",), ("data/new",)])
def test_files_that_were_never_here_stay_in_the_version(bare_clone, words):
    bare_clone.write("data/new", "new")
    done = bare_clone.json("add", *words)["paths"][0]
    assert (done["files"], done["counts"]["added"], done["counts"]["removed"]) == (4, 1, 0)
    assert "b" not in os.listdir(bare_clone.root / "data")  # the listing alone was fetched
    bare_clone.dvlite("add", "-u")
    bare_clone.dvlite("pull")
    assert sorted(tree(bare_clone.root / "data")) == ["a", "b", "new", "sub", "sub/c"]


def test_status_of_a_directory_that_was_never_here_names_what_is_new_alone(bare_clone):
    bare_clone.write("data/new", "new")
    assert "not compared: its list of files is not here" in bare_clone.dvlite("status").stdout
    bare_clone.dvlite("ls", "data")  # fetches it
    counts = bare_clone.json("status")["changed"][0]["counts"]
    assert (counts["added"], counts["removed"], counts["delta_bytes"]) == (1, 0, 3)
    assert bare_clone.json("diff")["paths"][0]["counts"]["removed"] == 0


def test_what_was_added_to_a_directory_that_was_never_here_can_be_removed_again(bare_clone):
    bare_clone.write("data/new", "new")
    bare_clone.dvlite("add", "data")
    (bare_clone.root / "data" / "new").unlink()
    bare_clone.dvlite("status")
    assert bare_clone.json("add", "-u")["paths"][0]["counts"]["removed"] == 1
    assert len(bare_clone.json("ls", "-R", "data")["entries"]) == 3


def test_a_file_in_place_of_a_directory_that_was_never_here_is_refused(bare_clone):
    bare_clone.write("data", "a file")
    assert "was never here" in bare_clone.dvlite("add", "-u", code=2).stderr
    bare_clone.dvlite("add", "--force", "data")


def test_update_that_leaves_out_a_path_it_cannot_read_says_so_by_its_exit_code(project):
    for name in ("a", "b"):
        project.write(name, "1")
    project.dvlite("add", "a", "b")
    for name in ("a", "b"):
        project.write(name, "22")
    project.write("a.dvlite", b"<<<<<<< ours\n" + project.read("a.dvlite"))
    done = project.dvlite("add", "-u", code=3)
    assert "Added b" in done.stdout
    assert "a.dvlite" in done.stderr


def test_a_file_that_git_keeps_inside_data_is_left_to_git_if_the_user_says_so(project):
    project.write("data/README.md", "read me")
    project.commit("Read me")
    project.write("data/a", "1")
    hint = project.dvlite("add", "data", code=2).stderr.splitlines()[-1]
    assert hint == "hint: or leave to git what it has: echo /data/README.md >> .dvliteignore"
    with (project.root / ".dvliteignore").open("a") as file:
        file.write("/data/README.md\n")
    assert project.json("add", "data")["paths"][0]["files"] == 1
    project.commit("Data")
    assert project.is_clean()
    assert project.json("verify")["findings"] == []
    assert not [line for line in project.json("doctor")["lines"] if line["topic"] == "pointers" and line["fix"]]
    (project.root / "data" / "a").unlink()
    project.dvlite("checkout")
    assert project.read("data/README.md") == b"read me"


def test_add_warns_of_what_is_not_what_it_seems(project):
    project.write("ds/.git/HEAD", "ref: refs/heads/main\n")
    project.write("ds/w.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    project.write("ds/.dvliteignore", "*.tmp")
    project.write("ds/annexed", "/annex/objects/MD5E-s4--00\n")
    added = project.json("add", "ds")
    assert added["paths"][0]["left_out"] == {".git": 1}
    assert len(added["warnings"]) == 3
    assert "1 git-annex pointer in place of data: git annex get" in " ".join(added["warnings"])
    project.write("sub/.dvliteignore", "*.tmp")
    project.write("sub/in/x", "x")
    assert "'sub/.dvliteignore' is not read: only the" in project.dvlite("add", "sub/in").stderr
    assert "1 Git LFS pointer in place of data" in " ".join(added["warnings"])
    assert "'ds/.dvliteignore'" in " ".join(added["warnings"]) or "'.dvliteignore'" in " ".join(added["warnings"])


def test_paths_that_another_system_takes_for_one_are_named(project):
    for name in ("model", "Model", "e\u0301", "\u00e9", "d/e\u0301", "d/\u00e9"):
        project.write(name, name)
    project.dvlite("add", "model", "e\u0301")
    assert "differ only in case" in project.dvlite("add", "Model").stderr
    assert "NFC and NFD" in project.dvlite("add", "\u00e9").stderr
    assert "NFC and NFD" in project.dvlite("add", "d").stderr
    assert project.dvlite("add", "-u").stderr == ""


def test_a_folder_from_elsewhere_becomes_a_tracked_path_and_its_next_version(project, tmp_path):
    source = tmp_path / "elsewhere"
    whole = fill(Project(source, None), ".")
    added = project.json("add", source, "-o", "new/data")
    assert tree(project.root / "new/data") == tree(source) == whole
    assert added["paths"][0]["created"]
    assert added["staged"] == ["new/data.dvlite", "new/.gitignore"]
    project.commit("Data")
    assert project.is_clean()
    (source / "a.txt").write_text("changed")
    (project.root / "new/data/sub/b.txt").unlink()
    assert project.json("add", "../elsewhere", "-o", "new/data")["paths"][0]["counts"]["modified"] == 1
    assert tree(project.root / "new/data") == tree(source)
    project.write("new/data/mine", "only here")
    assert "in the way" in project.dvlite("add", source, "-o", "new/data", code=2).stderr
    for path in ("new/data/part", "new", "../elsewhere/inside", "dvlite.yaml"):
        project.dvlite("add", source, "-o", path, code=2)
    project.dvlite("add", "new", "-o", "new/data/more", code=2)
    os.mkfifo(source / "pipe")
    assert "it is a FIFO" in project.dvlite("add", source, "-o", "other", code=None).stderr
    assert project.read("new/data/mine") == b"only here"
    assert not project.has("other")


@pytest.mark.parametrize("size", [10, 200_000])
def test_standard_input_becomes_a_tracked_file(project, size):
    def add(data, *args, code=0):
        done = project._invoke("add", *args, cwd=project.root, input=data)
        assert done.returncode == code
        return done.stderr

    one, two = noise(size, 1), noise(size, 2)
    add(one, "-", "-o", "data/file")
    assert project.read("data/file") == one
    add(two, "-", "-o", "data/file")
    assert project.read("data/file") == two
    project.commit("Data")
    assert project.is_clean()
    assert "empty" in add(b"", "-", "-o", "data/file", code=2)
    for words in (("-",), ("-", "data/file", "-o", "x"), ("https://example.com/x", "-o", "x"), ("-u", "-", "-o", "x")):
        add(b"x", *words, code=2)
    project.write("data/file", "edited")
    assert "in the way" in add(one, "-", "-o", "data/file", code=2)
    assert list((project.cache / "tmp").iterdir()) == []
