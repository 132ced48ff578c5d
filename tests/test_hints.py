"""Which commands the walk of the hints (tests/hints.py) finds in what dvlite prints; the walk itself is `make hints`."""

import pytest

from tests.hints import commands


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("hint: dvlite add x, or dvlite rm x", ["dvlite add x", "dvlite rm x"]),
        ("hint: run dvlite add x, then: dvlite push", ["dvlite add x; dvlite push"]),
        ("hint: dvlite rm x   or restore it: dvlite checkout", ["dvlite rm x", "dvlite checkout"]),
        (
            "hint: to have it: dvlite pull; if no remote has it: dvlite fsck --repair",
            ["dvlite pull", "dvlite fsck --repair"],
        ),
        ("hint: keep one: git rm --cached 'a, or b'", ["git rm --cached 'a, or b'"]),
        ("hint: dvlite remote add NAME URL; then dvlite push", []),
        ("hint: download it: curl -fL https://example.com/x | dvlite add - -o x", []),
        ("hint: dvlite wrnog", ["dvlite wrnog"]),
        ("next: cd clone; dvlite pull", ["cd clone; dvlite pull"]),
        ("1 finding in 1 stage, 1 s     fix: rm x && git checkout -- x", ["rm x && git checkout -- x"]),
        ("Not added     (dvlite add -u, or undo: dvlite checkout x)", ["dvlite add -u", "dvlite checkout x"]),
        ("dvlite: git checkout -- x    dvlite add x", ["git checkout -- x", "dvlite add x"]),
        ('{"hint":"dvlite a\\nor: dvlite b","rows":[{"fix":"dvlite c"}]}', ["dvlite a", "dvlite b", "dvlite c"]),
        ("git help and dvlite is not initialised", []),
    ],
)
def test_commands_are_read_from_what_is_printed(said, named):
    assert commands(said) == named
