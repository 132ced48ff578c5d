import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import DvliteError, FormatError
from dvlite.repo import ignore
from dvlite.repo.ignore import add_lines, parse, pattern, remove_lines

ODD_NAMES = [
    "plain", "with space", "trailing  ", " leading", "#hash", "!bang", "star*", "q?", "[set]", "back\\slash", "a\\", "new\nline",
    "cr\r", "tab\t", "ünï", "\udcff", "-rf", "a\r\nb", "'quote\"",
]  # fmt: skip


def add_patterns(file, paths):
    return add_lines(file, sorted(map(pattern, paths)))


def load(folder):
    file = folder / ignore.FILE_NAME
    return parse(file.read_bytes() if file.exists() else b"")


def remove_patterns(file, paths):
    return remove_lines(file, list(map(pattern, paths)))


def ignored(repo, paths):
    import os

    data = b"".join(os.fsencode(path) + b"\0" for path in paths)
    done = subprocess.run(["git", "check-ignore", "-z", "--stdin"], cwd=repo, input=data, capture_output=True)
    return {os.fsdecode(path) for path in done.stdout.split(b"\0") if path}


@pytest.mark.parametrize("name", ODD_NAMES)
def test_git_ignores_exactly_the_tracked_path(git_repo, name):
    add_patterns(git_repo / ".gitignore", [name])
    others = [f"x{name}", f"{name}x", f"sub/{name}", name[:-1] + "Z" if len(name) > 1 else "Z"]
    assert ignored(git_repo, [name, *others]) == {name}


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_a_pattern_is_one_line_that_begins_with_a_slash(name):
    line = pattern(name)
    assert line.startswith(b"/")
    assert b"\n" not in line
    assert not line.endswith((b"\r", b" ")) or line.endswith(b"\\ ")


def test_adding_keeps_the_users_lines_and_is_idempotent(tmp_path):
    file = tmp_path / ".gitignore"
    file.write_bytes(b"# mine\r\n*.log\n/zzz")
    assert add_patterns(file, ["b", "a"])
    assert file.read_bytes() == b"# mine\r\n*.log\n/zzz\n/a\n/b\n"
    assert not add_patterns(file, ["a", "b", "zzz"])


def test_removing_leaves_the_users_lines(tmp_path):
    file = tmp_path / ".gitignore"
    file.write_bytes(b"# mine\r\n/a\n*.log")
    assert remove_patterns(file, ["a", "none"])
    assert file.read_bytes() == b"# mine\r\n*.log"
    assert not remove_patterns(file, ["a"])


def test_a_file_with_nothing_left_is_removed(tmp_path):
    file = tmp_path / ".gitignore"
    add_patterns(file, ["a"])
    assert remove_patterns(file, ["a"])
    assert not file.exists()
    assert not remove_patterns(file, ["a"])


def test_a_linked_ignore_file_is_not_written_through(tmp_path):
    (tmp_path / "target").write_text("x\n")
    (tmp_path / ".gitignore").symlink_to("target")
    with pytest.raises(DvliteError, match="symbolic link"):
        add_lines(tmp_path / ".gitignore", [b"/a"])
    assert (tmp_path / "target").read_text() == "x\n"


# --- .dvliteignore


def test_built_in_names_are_left_out_and_pathspec_is_not_loaded(tmp_path):
    (tmp_path / ".dvliteignore").write_text(ignore.TEMPLATE)
    code = (
        "import sys, pathlib; from dvlite.repo.ignore import parse; rules = parse(pathlib.Path(sys.argv[1]).read_bytes());"
        "assert rules.matches is None and b'Thumbs.db' in rules.names and 'pathspec' not in sys.modules;"
        "assert rules.match('a/.DS_Store', is_dir=False) and rules.match(b'__pycache__', is_dir=True);"
        "assert not rules.match('a/b', is_dir=False)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / ".dvliteignore")], check=True)


def test_the_users_patterns_count_from_the_root(tmp_path):
    (tmp_path / ".dvliteignore").write_text("*.tmp\n/data/raw\ncache/\n")
    rules = load(tmp_path)
    assert rules.matches is not None
    assert rules.match("data/x.tmp", is_dir=False)
    assert rules.match("data/raw", is_dir=True)
    assert not rules.match("other/data/raw", is_dir=True)
    assert rules.match("a/cache", is_dir=True)
    assert not rules.match("a/cache", is_dir=False)
    assert rules.match(".DS_Store", is_dir=False)


def test_a_built_in_name_can_be_taken_back(tmp_path):
    (tmp_path / ".dvliteignore").write_text("!Thumbs.db\n")
    rules = load(tmp_path)
    assert b"Thumbs.db" not in rules.names
    assert not rules.match("data/Thumbs.db", is_dir=False)
    assert rules.match("data/.DS_Store", is_dir=False)


def test_a_line_that_is_no_pattern_is_an_error(tmp_path):
    (tmp_path / ".dvliteignore").write_text("*.tmp\n!\n")
    with pytest.raises(FormatError, match=r"\.dvliteignore"):
        load(tmp_path)


def test_without_the_file_only_the_built_in_names_count(tmp_path):
    assert load(tmp_path) == ignore.Ignore()


def test_more_patterns_than_can_be_tried_on_each_path_are_refused(tmp_path):
    (tmp_path / ".dvliteignore").write_text("".join(f"# one\nx{number}\n" for number in range(1000)))
    load(tmp_path)
    with open(tmp_path / ".dvliteignore", "a") as file:
        file.write("one more\n")
    with pytest.raises(FormatError, match="1001 patterns"):
        load(tmp_path)
