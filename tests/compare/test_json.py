"""JSON, YAML and TOML: compared by value."""

import pytest

from dvlite.compare.outcome import Comparison


def test_json_is_compared_by_value_not_by_its_writing(compared):
    assert compared('{"a": 1, "b": [1, 2]}', '{\n "b": [1.0, 2],\n "a": 1}', name="m.json", kind="json").equivalent


def test_numbers_within_the_tolerance_are_equivalent(compared):
    old, new = '{"acc": 0.931, "n": 1000}', '{"acc": 0.934, "n": 1001}'
    assert compared(old, new, name="m.json", kind="json", rtol=0.01).equivalent
    assert compared(old, new, name="m.json", kind="json", atol=1.0).equivalent
    found = compared(old, new, name="m.json", kind="json", rtol=0.001)
    assert found == Comparison(False, ("acc 0.931 -> 0.934 (+0.322%)",))


def test_ignored_keys_may_be_anything_even_absent(compared):
    old = '{"acc": 1, "time": {"seconds": 3}, "a": {"latency": 1}, "b": {"c": {"latency": 2}}}'
    new = '{"acc": 1, "time": {"seconds": "x"}, "a": {"latency": 5}, "b": {"c": {}}}'
    assert compared(old, new, name="m.json", kind="json", ignore=("time.seconds", "*.latency")).equivalent
    assert compared(old, new, name="m.json", kind="json", ignore=("time", "a", "b")).equivalent
    found = compared(old, new, name="m.json", kind="json", ignore=("*.latency",))
    assert found.lines == ('time.seconds 3 -> "x"',)


def test_a_key_that_came_or_went_and_another_type_are_differences(compared):
    found = compared(
        '{"a": 1, "b": true, "c": [1]}', '{"b": 1, "c": [1, 2], "d": null}', name="m.json", kind="json", rtol=9
    )
    assert found.lines == ("a is gone, it was 1", "b true -> 1", "c.1 is new: 2", "d is new: null")


def test_nan_equals_nan_and_infinity_no_number(compared):
    assert compared('{"a": NaN}', '{"a":NaN}', name="m.json", kind="json").equivalent
    assert not compared('{"a": NaN}', '{"a": 1}', name="m.json", kind="json", rtol=1e9, atol=1e9).equivalent
    assert not compared('{"a": 1}', '{"a": Infinity}', name="m.json", kind="json", rtol=1e9, atol=1e9).equivalent
    assert compared('{"a": -Infinity}', '{"a" : -Infinity}', name="m.json", kind="json").equivalent


def test_whole_numbers_beyond_floats_are_compared(compared):
    huge = 10**400
    assert compared(f'{{"a": {huge}}}', f'{{"a":  {huge}}}', name="m.json", kind="json").equivalent
    assert not compared(f'{{"a": {huge}}}', f'{{"a": {huge + 1}}}', name="m.json", kind="json").equivalent
    assert not compared(f'{{"a": {huge}}}', f'{{"a": {huge + 2}}}', name="m.json", kind="json", atol=1.0).equivalent
    assert compared(f'{{"a": {huge}}}', f'{{"a": {huge + 1}}}', name="m.json", kind="json", rtol=1e-9).equivalent
    assert not compared(f'{{"a": {huge}}}', '{"a": 0.5}', name="m.json", kind="json").equivalent


def test_whole_numbers_are_compared_in_full_and_none_is_infinite(compared):
    for old, new in (("9007199254740993", "9007199254740992.0"), ("1e400", "1e999"), ("1e400", "Infinity")):
        assert not compared(f"[{old}]", f"[{new}]", name="m.json", kind="json").equivalent
        assert not compared(f"[{old}]", f"[{new}]", name="m.json", kind="json", atol=0.5).equivalent
    assert compared("[1e400, 1e3]", "[1e400, 1000]", name="m.json", kind="json").equivalent
    assert not compared("[1.7e308]", "[-1.7e308]", name="m.json", kind="json", rtol=1.5).equivalent
    assert compared("[1.7e308]", "[-1.7e308]", name="m.json", kind="json", rtol=2.5).equivalent


def test_a_key_that_is_given_twice_is_refused(compared):
    found = compared('{"a": 1, "a": 2}', '{"a": 3, "a": 2}', name="m.json", kind="json")
    assert not found.equivalent
    assert found.lines[0] == "the recorded version cannot be read: it is not JSON: a key is given twice"


def test_yaml_and_toml_are_compared_by_their_name(compared):
    assert compared("a: 1\nb: x\n", "b: x\na: 1\n", name="m.yaml", kind="json").equivalent
    assert compared("a = 1.0\n", "a = 1.001\n", name="m.toml", kind="json", rtol=0.01).equivalent


@pytest.mark.parametrize("new", ["{", "[" * 100_000, '{"a": ' + "1" * 5000 + "}", b"\xff\xfe\x00"])
def test_what_is_no_json_is_not_equivalent_and_why_is_said(compared, new):
    found = compared('{"a": 1}', new, name="m.json", kind="json", rtol=1.0)
    assert not found.equivalent
    assert found.lines[0].startswith("the new version cannot be read: it is not JSON") or "a 1 ->" in found.lines[0]
    assert all(len(line) < 200 and line.isprintable() for line in found.lines)


def test_a_deep_document_is_compared_without_recursion(compared):
    deep = "[" * 500 + "1" + "]" * 500
    assert not compared(deep, deep.replace("1", "2"), name="m.json", kind="json").equivalent
