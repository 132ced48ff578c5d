"""Patterns of dependencies: they match as those of the standard library do."""

import glob

import pytest


def test_pattern_matches_files_and_folders_and_deep_ones_files_only(place):
    for path in ("lib/a.py", "lib/b.txt", "lib/sub/c.py", "lib/.hidden.py", "lib/__pycache__/x.py"):
        place.write(path, "1")
    place.write("odd[1].txt", "1")
    assert place.contents.matches("lib/*.py") == ["lib/a.py"]
    assert place.contents.matches("lib/*") == ["lib/a.py", "lib/b.txt", "lib/sub"]
    assert place.contents.matches("lib/**/*.py") == ["lib/a.py", "lib/sub/c.py"]
    assert place.contents.matches("odd[1].txt") == ["odd[1].txt"]
    assert place.contents.matches("nothing*") == []


TREE = (
    "a.py",
    "lib/a.py",
    "lib/sub/c.py",
    "lib/sub/lib/d.py",
    "lib/.hidden/e.py",
    ".conf/f.py",
    "x/y/z/lib/g.py",
    "[k]/h.py",
)


@pytest.mark.parametrize(
    "pattern",
    [
        "*",
        "**",
        "*.py",
        "**/*.py",
        "lib/**",
        "lib/*/*.py",
        "**/lib/*.py",
        "**/lib/**",
        "**/**/*.py",
        ".conf/*",
        ".c*/*",
        "x/**/lib/*",
        "lib/.*/*",
        "[[]k]/*",
        "[k]/*",
        "l?b/[!b]*",
        "**/a.py",
        "*/sub/**/*",
        "lib/a.py/*",
        "none/*",
        "**b/*",
        "li**/a.py",
    ],
)
def test_patterns_match_as_those_of_the_standard_library(place, pattern):
    for path in TREE:
        place.write(path, "1")
    (place.root / "lib/link.py").symlink_to("a.py")
    (place.root / "lib/dangling.py").symlink_to("nowhere")
    (place.root / "lib/sub/loop.py").symlink_to("loop.py")
    found = glob.iglob(pattern, root_dir=place.root, recursive=True)
    deep = "**" in pattern
    expected = {path for path in found if not path.endswith("/") and not (deep and (place.root / path).is_dir())}
    assert place.contents.matches(pattern) == sorted(expected - {"dvlite.lock"})


def test_links_to_folders_are_not_followed(place):
    place.write("real/x.py", "1")
    for name, target in (("here", "."), ("root", "/"), ("real/up", ".."), ("alias", "real")):
        (place.root / name).symlink_to(target)
    assert place.contents.matches("**/*.py") == ["real/x.py"]
    assert place.contents.matches("root/**/nothing*") == []
    assert place.contents.matches("*/*.py") == ["real/x.py"]
    assert "alias" in place.contents.matches("a*")  # the link itself
