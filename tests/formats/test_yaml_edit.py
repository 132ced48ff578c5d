import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.formats import yaml_edit
from dvlite.formats.strict_yaml import dump, load
from dvlite.formats.yaml_edit import edit
from tests.formats.documents import CONFIG, DOCUMENTS, PLAIN_KEYS, SCALARS

PEOPLE = """\
# yaml-language-server: $schema=.dvlite/schema.json
stages:
  # é: first
  prepare:  {cmd: python src/prepare.py, deps: [src/prepare.py, "a b"], outs: [data/tiles]}   # fast

  train:
    cmd: |
      python src/train.py
      echo done

    deps:
    - src/train.py  # the code
    - {path: x}
    always: false   # for now

# the end
"""


def changed(text, path, value, **options):
    return edit(text.encode(), tuple(path.split(".")), value, "x", **options).decode()


def test_a_stage_goes_after_the_last_one_in_the_manner_of_the_file():
    stage = {"cmd": "python e.py | tee log", "deps": ["e.py", "model.pt"], "outs": [{"path": "r", "cache": False}]}
    added = """
  evaluate:
    cmd: python e.py | tee log
    deps:
      - e.py
      - model.pt
    outs:
      - {path: r, cache: false}
"""
    assert changed(PEOPLE, "stages.evaluate", stage) == PEOPLE.replace("   # for now\n", "   # for now\n" + added)


@pytest.mark.parametrize(
    ("path", "value", "old", "new"),
    [
        ("stages.train.always", True, "always: false ", "always: true "),
        ("stages.train.desc", "a: b", "always: false   # for now", 'always: false   # for now\n    desc: "a: b"'),
        ("stages.train.cmd", "make", "cmd: |\n      python src/train.py\n      echo done\n", "cmd: make\n"),
        ("stages.train.deps", ["a"], "deps:\n    - src/train.py  # the code\n    - {path: x}\n", "deps:\n      - a\n"),
        ("stages.train.always", None, "    always: false   # for now\n", ""),
        ("stages.prepare.cmd", "python x.py --a [b]", "cmd: python src/prepare.py", 'cmd: "python x.py --a [b]"'),
        ("stages.prepare.deps", None, ', deps: [src/prepare.py, "a b"]', ""),
        ("stages.prepare.cmd", None, "cmd: python src/prepare.py, ", ""),
        ("stages.prepare.env.A", "1", "outs: [data/tiles]}", 'outs: [data/tiles], env: {A: "1"}}'),
        ("stages.prepare", {"cmd": "x"}, PEOPLE[PEOPLE.index("prepare:  {") : PEOPLE.index("   # fast")], "prepare:"),
        ("more.depth", 3, "# for now\n", "# for now\nmore:\n  depth: 3\n"),
    ],
)
def test_an_edit_leaves_every_other_line_as_it_was(path, value, old, new):
    edited = changed(PEOPLE, path, value)
    assert PEOPLE.count(old) == 1
    if path == "stages.prepare":
        assert edited == PEOPLE.replace(old + "   # fast", new + "   # fast\n    cmd: x")
    else:
        assert edited == PEOPLE.replace(old, new)


@pytest.mark.parametrize(
    ("text", "path", "value", "edited"),
    [
        ("", "stages.a.cmd", "x", "stages:\n  a:\n    cmd: x\n"),
        ("# only this\n", "stages.a.cmd", "x", "# only this\nstages:\n  a:\n    cmd: x\n"),
        ("stages:   # none\n", "stages.a.cmd", "x", "stages:   # none\n  a:\n    cmd: x\n"),
        ("stages: {}   # none\nb: 1\n", "stages.a.cmd", "x", "stages:   # none\n  a:\n    cmd: x\nb: 1\n"),
        ("{stages: {}}\n", "stages.a.cmd", "x", "{stages: {a: {cmd: x}}}\n"),
        ("stages: {a: {cmd: x},}\n", "stages.b.cmd", "y", "stages: {a: {cmd: x}, b: {cmd: y},}\n"),
        ("lr: 1  # rate", "lr", 1.0, "lr: 1.0  # rate\n"),
        ("lr: 1\n", "lr", True, "lr: true\n"),
        ("lr:\n", "lr", 2, "lr: 2\n"),
        ("lr: 1\n", "lr", None, "\n"),
        ('{"net": {"depth":3, "x": 1}}\n', "net.depth", 4, '{"net": {"depth": 4, "x": 1}}\n'),
        ("a: 'it''s' # x\n", "a", "it", "a: it # x\n"),
        ("a: one\n  two\nb: 1\n", "a", "x", "a: x\nb: 1\n"),
        ("a:\n    b: 1\nc: 2\n", "a.d", 2, "a:\n    b: 1\n    d: 2\nc: 2\n"),
        ("\ufeffa: 1\n", "a", 2, "a: 2\n"),
        ("a: 1\r\nb: 2\r\n", "a", 3, "a: 3\r\nb: 2\r\n"),
    ],
)
def test_edits_of_all_kinds_of_documents(text, path, value, edited):
    assert changed(text, path, value) == edited


def test_null_can_be_a_value():
    assert changed("a: 1\nb: 2 # x\n", "b", None, foreign=True) == "a: 1\nb: null # x\n"
    assert changed("a: 1\nb: 2 # x\n", "b", None) == "a: 1\n"


def test_what_cannot_be_edited_in_place_is_written_anew_with_its_first_comments():
    assert changed("# top\n? a\n: b # x\n", "a", "c") in ("# top\n? a\n: c # x\n", "# top\na: c\n")
    assert changed("# top\n{a, b: 1} # x\n", "a", "c") == "# top\na: c\nb: 1\n"


KEYS = st.sampled_from(["a", "b", "c", "d e"])
PIECES = st.sampled_from(
    ["a: 1\n", "a: {b: 1, c: [x]}  # c\n", "b:\n  c: 2\n\n  a: {}\n", "'d e': \"é\"\n", "c:\n- x\n- y: 1\n", "# note\n", "\n", "b: |\n  x\n  y\n", "c: [1,\n  2]\n", "d: {}\n",
     "a:\n    b:\n        c: 1 # x\n", "b: {a: 1,\n  b: {c: 2}}\n", "---\n", "a: x\n  y\n"]
)  # fmt: skip
VALUES = st.sampled_from(
    [None, 1, 2.5, True, "x y", "a: b", "", [], [1, "b c"], {"k": {"l": ["m n"]}}, {"k": [{"p": 1}]}]
)


@given(st.lists(PIECES, max_size=4).map("".join), st.lists(KEYS, min_size=1, max_size=3), VALUES)
def test_an_edit_means_what_was_asked(text, path, value):
    from dvlite.errors import FormatError

    try:
        before = load(text.encode(), "x").value
    except FormatError:
        return
    after = load(edit(text.encode(), tuple(path), value, "x"), "x").value
    inner = after
    for key in path[:-1]:
        inner = inner.get(key, {}) if isinstance(inner, dict) else {}
    assert (inner.get(path[-1]) if isinstance(inner, dict) else None) == value
    others = {key: old for key, old in before.items() if key != path[0]}
    assert {key: new for key, new in after.items() if key != path[0]} == others


@given(
    DOCUMENTS,
    st.lists(PLAIN_KEYS, min_size=1, max_size=3),
    st.one_of(st.none(), SCALARS.filter(lambda v: v is not None)),
)
def test_an_edit_changes_what_was_asked_and_nothing_else(value, path, new):
    before = load(dump(value), "x").value
    after = load(edit(dump(value), tuple(path), new, "x"), "x").value
    assert after == yaml_edit._with(before, tuple(path), new, removes=new is None)


def test_an_edit_keeps_comments_and_other_lines():
    text = edit(CONFIG.encode(), ("core", "remote"), "backup", "x")
    text = edit(text, ("remotes", "origin", "endpoint_url"), "https://x.example", "x")
    text = edit(text, ("remotes", "backup"), None, "x")
    text = edit(text, ("transfer", "retry_seconds"), None, "x")
    text = edit(text, ("core", "autostage"), False, "x").decode()
    assert text == (
        CONFIG.replace("remote: origin   # ours", "remote: backup   # ours\n  autostage: false")
        .replace("    region: eu-west-1\n", "    region: eu-west-1\n    endpoint_url: https://x.example\n")
        .replace("  backup:\n    url: ../store\n", "")
        .replace("transfer:\n  retry_seconds: 5\n", "")
    )
