"""Why a stage is out of date, as data."""

from dataclasses import replace

from dvlite.formats.lockfile import Facts, Locked, LockedStage
from dvlite.pipeline.reasons import of_facts, of_outputs

ONE, TWO = ("blake3:" + letter * 64 for letter in "ab")
FACTS = Facts("x", ".", {"p:k": 1}, {"E": "1"}, {"numpy": "1"})
LOCKED = LockedStage("one", "0" * 64, FACTS, deps=(Locked("a", ONE, 1), Locked("b", ONE, 1)))


def found(*, deps=LOCKED.deps, **changes):
    now = replace(LOCKED, deps=deps, facts=replace(FACTS, **changes))
    return [(each.kind, each.name, each.old, each.new) for each in of_facts(LOCKED, now)]


def test_nothing_changed_is_no_reason():
    assert found() == []


def test_command_and_folder():
    assert found(cmd="y", wdir="sub") == [("cmd-changed", "cmd", "x", "y"), ("wdir-changed", "wdir", ".", "sub")]


def test_dependencies_in_the_order_of_their_paths():
    deps = (Locked("c", TWO, 1), Locked("b", TWO, 1))
    assert found(deps=deps) == [
        ("dep-removed", "a", ONE, None),
        ("dep-changed", "b", ONE, TWO),
        ("dep-added", "c", None, TWO),
    ]


def test_of_a_map_stage_how_many_files_a_pattern_has_now():
    old, new = (Locked("data/*", f"manifest:{letter * 64}", 9, files) for letter, files in (("a", 2), ("b", 3)))
    mapped = replace(LOCKED, deps=(old, LOCKED.deps[0]), facts=replace(FACTS, map={"over": "data/*"}))
    now = replace(mapped, deps=(new, Locked("a", TWO, 1)))
    assert [(each.name, each.files) for each in of_facts(mapped, now)] == [("a", None), ("data/*", 3)]
    plain = (replace(entry, facts=FACTS) for entry in (mapped, now))
    assert [each.files for each in of_facts(*plain)] == [None, None]


def test_values_and_their_types():
    assert found(params={"p:k": True}) == [("param-changed", "p:k", 1, True)]
    assert found(params={"p:k": 1.0}) == [("param-changed", "p:k", 1, 1.0)]
    assert found(params={}) == [("param-removed", "p:k", 1, None)]
    assert found(env={"E": "2", "F": ""}) == [("env-changed", "E", "1", "2"), ("env-added", "F", None, "")]
    assert found(capture={"numpy": "2"}) == [("capture-changed", "numpy", "1", "2")]


def test_value_inside_a_list_has_a_type_too():
    one, other = (replace(LOCKED, facts=replace(FACTS, params={"p:k": value})) for value in ([1, 2], [True, 2]))
    assert list(of_facts(one, other))


def test_outputs_that_are_here_and_not_what_was_made():
    locked = [Locked("o", ONE, 1), Locked("gone", ONE, 1), Locked("same", ONE, 1)]
    here = {"o": Locked("o", TWO, 1), "gone": None, "same": Locked("same", ONE, 1)}
    assert [(each.kind, each.name) for each in of_outputs(locked, here)] == [("output-changed", "o")]
    here["same"] = Locked("same", ONE, 1, executable=True)
    assert [each.name for each in of_outputs(locked, here)] == ["o", "same"]
