"""Patterns mean what `glob` makes of them, and what belongs at a path is what git and the listings say."""

import glob
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.formats.lockfile import Locked
from dvlite.formats.manifest import Entry, from_entries
from dvlite.formats.pointer import Pointer
from dvlite.oid import digest_bytes
from dvlite.pipeline.globs import expression
from dvlite.pipeline.revision_content import RevisionContent
from dvlite.repo.tracked_paths import Tracked

NAMES = [
    "a.py",
    ".h.py",
    "lib/a.py",
    "lib/b.txt",
    "lib/.h/x.py",
    "lib/deep/a.py",
    "lib/deep/er/c.py",
    "x[1].txt",
    "lib2/a.py",
]
PATTERNS = ["*", "*.py", "lib/*", "lib/*.py", "**", "**/*.py", "lib/**", "lib/**/a.py", "l?b/*", "[a-k]*.py", "[!a]*"]
PATTERNS += [
    "lib*/*",
    ".*",
    "lib/.h/*",
    "*/deep",
    "*/*/*.py",
    "x[[]1].txt",
    "lib/d**p/*",
    "[^a]*",
    "**/deep/**",
    "*[!]",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("glob")
    for name in NAMES:
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text("x")
    return made


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_matches_what_glob_finds(folder, pattern):
    found = glob.glob(pattern, root_dir=folder, recursive=True)
    everything = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    wanted = {path for path in found if not path.endswith("/")}
    assert {path for path in everything if expression(pattern).fullmatch(path)} == wanted


@given(st.text(alphabet="ab.*?[]!/", min_size=1, max_size=10).filter(lambda text: "//" not in text))
def test_any_pattern_matches_what_glob_finds(folder, pattern):
    if pattern.startswith("/") or pattern.endswith("/") or not glob.has_magic(pattern):
        return
    if {".", ".."} & set(pattern.split("/")):
        return
    found = {path for path in glob.glob(pattern, root_dir=folder, recursive=True) if not path.endswith("/")}
    everything = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    assert {path for path in everything if expression(pattern).fullmatch(path)} == found


def entries(*names):
    return from_entries([Entry(name.encode(), 0, 1, digest_bytes(name.encode())) for name in sorted(names)])


def holdings(listings, names=("code.py", "data/readme.md"), kept=()):
    data = [Tracked(path, Pointer("directory", digest_bytes(path.encode()), 1, 1)) for path in listings]
    at = Names(sorted(names))
    return RevisionContent(at, data, kept, lambda path, _: listings[path], at.look)


class Names:
    """A revision of which only the names of its files are known."""

    def __init__(self, names):
        self.names, self.submodules = names, {}

    def look(self, path):
        return Locked(path, "blake3:" + "0" * 64, 1) if path in self.names else None

    def real(self, path):
        return path

    def is_linked_folder(self, path):
        return False


def test_what_is_inside_data_is_known_from_its_listing():
    known = holdings({"data/raw": entries("1.csv", "sub/2.csv")})
    assert known.expected("data/raw/1.csv").oid == f"blake3:{digest_bytes(b'1.csv').hex()}"
    assert known.expected("data/raw/sub").files == 1
    assert known.expected("data/raw/nothing") is None
    assert known.expected("code.py").oid.endswith("0" * 64)
    assert known.parts("data") == ["data", "data/raw"]
    assert known.parts("data/raw/sub") == ["data/raw/sub"]


def test_patterns_reach_into_data_and_name_files_only_with_two_stars():
    known = holdings({"data/raw": entries("1.csv", "sub/2.csv", ".hidden")})
    assert known.matches("data/*") == ["data/raw", "data/readme.md"]
    assert known.matches("data/raw/*") == ["data/raw/1.csv", "data/raw/sub"]
    assert known.matches("data/**") == ["data/raw/1.csv", "data/raw/sub/2.csv", "data/readme.md"]
    assert known.matches("other/*") == []


def test_an_output_that_git_keeps_is_looked_at_in_git():
    known = holdings({"report": entries("a.txt")}, names=("report/a.txt",), kept=("report",))
    assert known.expected("report/a.txt").oid.endswith("0" * 64)
    assert not known.is_data("report/a.txt")
    assert known.directories("report/a.txt") == []


def test_names_that_are_not_utf8_are_found():
    name = os.fsdecode(b"caf\xe9.txt")
    known = holdings({"data": from_entries([Entry(b"caf\xe9.txt", 0, 1, digest_bytes(b"x"))])}, names=())
    assert known.matches("data/*") == [f"data/{name}"]
    assert known.expected(f"data/{name}") is not None
