"""Files of values: YAML, JSON and TOML say the same, keys are found by dots, one value is changed and nothing else."""

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import FormatError, UsageError
from dvlite.formats import parameters
from dvlite.formats.parameters import ABSENT, changed, find, flatten, load, numbers_as_text, value_of

YAML = b"lr: 0.01  # rate\nnet:\n  depth: 3\n  act: relu\nsizes: [1, 2]\non: true\nnothing: null\n"
JSON = b'{"lr": 0.01, "net": {"depth": 3, "act": "relu"}, "sizes": [1, 2], "on": true, "nothing": null}'
TOML = b'lr = 0.01  # rate\nsizes = [1, 2]\non = true\n\n[net]\ndepth = 3\nact = "relu"\n'
TREE = {"lr": 0.01, "net": {"depth": 3, "act": "relu"}, "sizes": [1, 2], "on": True, "nothing": None}


def test_three_notations_say_the_same():
    assert load(YAML, "params.yaml") == load(YAML, "p.YML") == TREE
    assert load(JSON, "p.json") == TREE
    assert load(TOML, "sub/p.toml") == {key: value for key, value in TREE.items() if key != "nothing"}


ANCHORS = b"base: &b {lr: 0.1, net: &n {depth: 3, w: 1}}\nrun:\n  <<: *b\n  epochs: 3  # few\nall: {<<: [*b, {lr: 2, x: 1}], net: *n}\n"


def test_anchors_and_merge_keys_of_the_users_file_are_read_and_stay():
    base = {"lr": 0.1, "net": {"depth": 3, "w": 1}}
    tree = {"base": base, "run": {**base, "epochs": 3}, "all": {**base, "x": 1}}
    assert load(ANCHORS, "p.yaml") == tree
    edited = changed(ANCHORS, "p.yaml", "run.epochs", 4)
    assert edited == ANCHORS.replace(b"epochs: 3", b"epochs: 4")
    own = changed(ANCHORS, "p.yaml", "run.lr", 0.2)
    assert load(own, "p.yaml") == {**tree, "run": {**tree["run"], "lr": 0.2}}
    for key in ("base.lr", "all.net.depth"):
        with pytest.raises(UsageError, match="an anchor uses it in several places"):
            changed(ANCHORS, "p.yaml", key, 9)
    with pytest.raises(FormatError, match="must be followed by a mapping"):
        load(b"a: &a 1\nb: {<<: *a}\n", "p.yaml")


def test_aliases_stand_for_a_bounded_number_of_values():
    doubled = b"".join(b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 30))
    with pytest.raises(FormatError, match="stand for more than"):
        load(b"a0: &a0 x\n" + doubled, "p.yaml")
    nested = b"".join(b"a%d: &a%d {x: *a%d}\n" % (n, n, n - 1) for n in range(1, 90))
    with pytest.raises(FormatError, match="nested deeper"):
        load(b"a0: &a0 x\n" + nested, "p.yaml")
    with pytest.raises(FormatError, match="no anchor &a before it"):
        load(b"a: &a [*a]\n", "p.yaml")


def test_numbers_and_truth_mean_what_other_readers_of_yaml_take_them_for():
    yaml = pytest.importorskip("yaml")
    words = ["True", "FALSE", "Null", ".5", "+1.5", "+3", "1.5", "1.0e-5", "1.", "x", "+x"]
    data = "".join(f"k{n}: {word}\n" for n, word in enumerate(words)).encode()
    assert load(data, "p.yaml") == yaml.safe_load(data)
    for value in (1e-05, 1e22, -3e-300, 0.1, 5.0, True, None, 7):
        written = changed(b"a: x  # why\n", "p.yaml", "a", value)
        assert repr(yaml.safe_load(written)["a"]) == repr(value)
        assert repr(load(written, "p.yaml")["a"]) == repr(value)


def test_a_key_may_leave_out_its_sections_if_it_means_one():
    tree = {"train": {"lr": 1, "net": {"depth": 2}}, "eval": {"net": {"depth": 3}, "n": 4}}
    meant = {"lr": "train.lr", "train.lr": "train.lr", "n": "eval.n", "train": "train"}
    assert {key: parameters.full_key(tree, key, "p") for key in meant} == meant
    with pytest.raises(UsageError) as error:
        parameters.full_key(tree, "depth", "p")
    assert "'train.net.depth'" in error.value.hint
    assert "'eval.net.depth'" in error.value.hint


@pytest.mark.parametrize(
    ("name", "data", "values"),
    [
        ("acc.json", b"0.93\n", {"acc": 0.93}),
        ("sub/acc.yaml", b"3", {"acc": 3}),
        ("m.csv", b"epoch,acc\n1,0.5\n2,0.75\n\n", {"epoch": 2, "acc": 0.75}),
        ("m.tsv", b"\xef\xbb\xbfname\tloss\r\nlast one\t.5\r\n", {"name": "last one", "loss": 0.5}),
        ("m.csv", b"epoch,acc\n", {}),
        ("m.csv", b"", {}),
        ("m.yaml", b"acc: 1", {"acc": 1}),
        ("out/acc", b"0.93\n", {"acc": 0.93}),
        ("acc.txt", b"acc: 0.5\nloss: 2", {"acc": 0.5, "loss": 2}),
    ],
)
def test_metrics_are_one_number_or_the_last_row_of_a_table_too(name, data, values):
    assert parameters.load_metrics(data, name) == values


@pytest.mark.parametrize("data", [b"a,b\n1\n", b"a,a\n1,2\n", b"a,\n1,2\n", b"a\n\xff\n", b'a\n"x\n'])
def test_table_that_has_no_last_row_is_refused(data):
    with pytest.raises(FormatError):
        parameters.load_metrics(data, "m.csv")


@pytest.mark.parametrize(("name", "data"), [("p.yaml", b""), ("p.yaml", b"# x\n"), ("p.toml", b""), ("p.json", b"{}")])
def test_an_empty_file_has_no_values(name, data):
    assert load(data, name) == {}


def test_what_is_no_number_of_json_becomes_text():
    found = load(b'{"a": NaN, "b": -Infinity, "c": 1e999, "d": 123456789012345678901234567890, "e": 1e-5}', "m.json")
    assert found == {"a": "NaN", "b": "-Infinity", "c": "1e999", "d": 123456789012345678901234567890, "e": 1e-5}


def test_what_only_toml_has_becomes_text():
    found = load(b"d = 1979-05-27T07:32:00Z\nt = 07:32:00\ndays = [1979-05-27]\ni = inf\nn = nan\nh = 0xff\n", "p.toml")
    assert found == {
        "d": "1979-05-27T07:32:00+00:00",
        "t": "07:32:00",
        "days": ["1979-05-27"],
        "i": "inf",
        "n": "nan",
        "h": 255,
    }


def test_keys_are_found_by_dots_and_the_longest_key_that_has_dots_itself_wins():
    tree = {"a.b": {"c": 1}, "a": {"b": {"c": 2, "d": 3}}, "n": None}
    assert (find(tree, "a.b.c"), find(tree, "a.b.d"), find(tree, "a.b")) == (1, 3, {"c": 1})
    assert find(tree, "n") is None
    assert [find(tree, key) for key in ("x", "a.x", "n.x", "a.b.c.d", "", "a.", ".a")] == [ABSENT] * 7
    assert find([1], "0") is ABSENT


def test_lists_and_empty_mappings_are_one_value():
    assert flatten({"a": {"b": [1, {"x": 2}], "c": {}}, "d": 1}) == {"a.b": [1, {"x": 2}], "a.c": {}, "d": 1}


TREES = st.recursive(
    st.one_of(st.integers(), st.booleans(), st.text(max_size=3), st.lists(st.integers(), max_size=2)),
    lambda inner: st.dictionaries(st.text("ab.", min_size=1, max_size=3), inner, min_size=1, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=2), TREES, max_size=3))
def test_every_key_that_flatten_names_is_found(tree):
    for key, value in flatten(tree).items():
        found = find(tree, key)
        assert found is not ABSENT
        if sum(other == key for other in flatten(tree)) == 1 and "." not in key:
            assert found == value


@pytest.mark.parametrize(
    ("name", "data", "line", "words"),
    [
        ("p.json", b'{"a": 1,\n "b": }', 2, "expecting value"),
        ("p.json", b'{"a": 1,\n "a": 2}', None, "'a' is given twice"),
        ("p.json", b"[1]", 1, "not a mapping"),
        ("p.json", b"", 1, "expecting value"),
        ("p.json", b'{"a": "\\ud800"}', None, "surrogate"),
        ("p.json", b'{"\\udfff": 1}', None, "surrogate"),
        ("p.json", b'{\n"a": "\xff"}', 2, "not UTF-8"),
        ("p.json", b'{"a": ' + b"1" * 5000 + b"}", None, "5000 digits"),
        ("p.json", b"[" * 100_000, None, "nested too deeply"),
        ("p.json", b'{"a":' * 60 + b"1" + b"}" * 60, None, "nested deeper than 50"),
        ("p.json", b" " * (5 << 20), None, "more than"),
        ("p.toml", b"a = 1\nb = \n", 2, ""),
        ("p.toml", b"a = 1\na = 2\n", 2, ""),
        ("p.toml", b"a = " + b"[" * 100_000, None, "nested too deeply"),
        ("p.toml", b"a." * 100_000 + b"b = 1", None, "100 parts"),
        ("p.toml", b'"a"  .' * 100_000 + b"b = 1", None, "100 parts"),
        ("p.toml", b"a = " + b"1" * 5000, None, "digits"),
        ("p.yaml", b"a: 1\nb: [", 3, ""),
        ("p.yaml", b"a: 1\nb: *x\n", 2, "no anchor &x"),
        ("p.yaml", b"- a\n", 1, "not a mapping"),
        ("p.ini", b"a=1", None, "not YAML, JSON or TOML"),
        ("yaml", b"a: 1", None, "not YAML, JSON or TOML"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line_with_the_file_and_its_line(name, data, line, words):
    with pytest.raises(FormatError) as caught:
        load(data, name)
    at = "" if line is None else f" line {line}"
    assert caught.value.message.startswith(f"cannot read '{name}'{at}: ")
    assert words in caught.value.message.lower() or words in caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 300
    assert caught.value.hint


# --- changing a value


def test_yaml_keeps_its_comments():
    assert changed(YAML, "p.yaml", "lr", 0.003) == YAML.replace(b"lr: 0.01  # rate", b"lr: 0.003  # rate")
    assert changed(YAML, "p.yaml", "net.depth", 5) == YAML.replace(b"depth: 3", b"depth: 5")
    assert changed(YAML, "p.yaml", "lr", None) == YAML.replace(b"lr: 0.01", b"lr: null")
    assert changed(YAML, "p.yaml", "sizes", [3]) == YAML.replace(b"[1, 2]", b"[3]")


PRETTY = '{\n\t"lr":1e-5,\n\t"nét": {"a.b": [1,2], "lr": "x"},\n\t"big": 1.50\n}\n'


@pytest.mark.parametrize(
    ("key", "value", "old", "new"),
    [
        ("lr", 0.003, '"lr":1e-5', '"lr":0.003'),
        ("nét.lr", 'a"ü', '"lr": "x"', '"lr": "a\\"ü"'),
        ("nét.a.b", [1, "z"], "[1,2]", '[1, "z"]'),
        ("big", None, "1.50", "null"),
        ("nét", 1, '{"a.b": [1,2], "lr": "x"}', "1"),
    ],
)
def test_json_keeps_its_indent_and_every_other_number_as_written(key, value, old, new):
    assert changed(PRETTY.encode(), "p.json", key, value).decode() == PRETTY.replace(old, new)


TOMLS = 'lr = 1e-5 # rate\ns = "a # b" # c\n"q.r" = 1\nnet.depth = 3\n[opt] # here\nlr = 0.1\n[opt."x"]\nlr=[1, 2]\n[[many]]\nlr = 1\n'


@pytest.mark.parametrize(
    ("key", "value", "old", "new"),
    [
        ("lr", 0.003, "lr = 1e-5 # rate", "lr = 0.003 # rate"),
        ("s", 'x "y" ü', '"a # b"', '"x \\"y\\" ü"'),
        ("net.depth", 4, "net.depth = 3", "net.depth = 4"),
        ("opt.lr", True, "lr = 0.1", "lr = true"),
        ("opt.x.lr", [3, "z"], "lr=[1, 2]", 'lr=[3, "z"]'),
    ],
)
def test_toml_changes_the_line_of_the_key(key, value, old, new):
    assert changed(TOMLS.encode(), "p.toml", key, value).decode() == TOMLS.replace(old, new)


@pytest.mark.parametrize(
    ("data", "key", "value", "words"),
    [
        (b"a = {b = 1}\n", "a.b", 2, "it is not a plain line"),
        (b"a = [\n 1,\n]\n", "a", 2, "it is not a plain line"),
        (b"a = 1\n", "a", None, "can hold no null"),
        (b"a = 1\n", "a", {"b": 1}, "can hold no mapping"),
    ],
)
def test_toml_that_no_line_edit_can_change_is_left_to_its_author(data, key, value, words):
    with pytest.raises(UsageError, match=words) as caught:
        changed(data, "p.toml", key, value)
    assert caught.value.hint == "edit p.toml by hand"


@pytest.mark.parametrize(("name", "data"), [("p.yaml", YAML), ("p.json", JSON), ("p.toml", TOML)])
def test_a_key_that_is_not_there_names_the_nearest(name, data):
    with pytest.raises(UsageError, match=f"there is no 'net.dept' in '{name}'") as caught:
        changed(data, name, "net.dept", 1)
    assert caught.value.hint == "did you mean 'net.depth'?"


SIMPLE = st.one_of(
    st.integers(-(10**15), 10**15),
    st.booleans(),
    st.floats(-1e9, 1e9, allow_nan=False).map(lambda number: round(number, 3)),
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029\ufeff\ufffe\uffff"), max_size=8),
    st.lists(st.integers(0, 9), max_size=3),
)  # fmt: skip


@given(
    st.sampled_from([("p.yaml", YAML), ("p.json", JSON), ("p.toml", TOML)]),
    st.sampled_from(["lr", "net.act", "sizes"]),
    SIMPLE,
)
def test_what_is_written_is_what_is_read_and_nothing_else_changes(file, key, value):
    name, data = file
    before, after = flatten(load(data, name)), flatten(load(changed(data, name, key, value), name))
    assert repr(after[key]) == repr(value) or math.isclose(after[key], value)
    assert {**after, key: 0} == {**before, key: 0}


# --- values on the command line


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.003", 0.003),
        ("1e-3", 0.001),
        ("5", 5),
        ("true", True),
        ("null", None),
        ("", None),
        ("NO", "NO"),
        ("a b: c # d", "a b: c # d"),
        ('"5"', "5"),
        ("[1, two, 3.5]", [1, "two", 3.5]),
        ("{a: 1}", {"a": 1}),
        ("1_000", "1_000"),
    ],
)
def test_values_are_read_as_yaml_reads_them(text, value):
    assert value_of(text) == value
    assert type(value_of(text)) is type(value)


@pytest.mark.parametrize("text", ["[1, 2", "{a", "'x", "[*x]", "[1]\nb: 2"])
def test_what_is_no_value_is_a_usage_error(text):
    with pytest.raises(UsageError, match="is not a value"):
        value_of(text)


def test_toml_is_loaded_only_for_who_has_it():
    import subprocess
    import sys

    code = "import sys; from dvlite.formats import parameters as p; p.load(b'{}', 'a.json'); assert 'tomllib' not in sys.modules; assert p.LIMIT_BYTES"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert parameters.ABSENT is ABSENT


@pytest.mark.parametrize("name", ["params.yaml", "params.json", "params.toml"])
def test_an_error_names_the_file_as_it_was_read(name):
    with pytest.raises(FormatError) as caught:
        load(b"{\n", name, f"HEAD:{name}")
    assert caught.value.file == f"HEAD:{name}"
    assert caught.value.kind == "malformed"
    assert f"'HEAD:{name}'" in caught.value.message


def test_numbers_that_yaml_1_1_takes_for_text_are_named_with_a_form_that_all_read():
    lines = "a: 1e-5\nb: [1E5, 1.5e3, 2.0e-3]  # 1e-3\nc:\n  - 1e3 # rate\nd: '1e-5'\ne: about 1e5\nf: 1.0e+5\ng: {h: -2e4}\ni: 1e-5x\n"
    found = list(numbers_as_text(lines.encode(), "params.yaml"))
    assert [word for _, word, _ in found] == ["1e-5", "1E5", "1.5e3", "1e3", "-2e4"]
    for _, word, written in found:
        assert yaml.safe_load(word) == word
        assert yaml.safe_load(written) == float(word)
    assert not list(numbers_as_text(b'{"a": 1e-5}', "params.json"))
