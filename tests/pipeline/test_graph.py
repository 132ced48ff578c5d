"""Which stage comes after which, and which pipelines are none."""

import pytest

from dvlite.errors import FormatError
from dvlite.pipeline.graph import build
from tests.pipeline.stages_of import stages_of


def order(text):
    return [stage.address for stage in build(stages_of(text)).stages]


def edges(text):
    graph = build(stages_of(text))
    return {name: set(found) for name, found in graph.before.items() if found}


def wrong(text):
    with pytest.raises(FormatError) as caught:
        build(stages_of(text))
    return caught.value.message


def test_stages_keep_the_order_of_the_file_unless_one_needs_another():
    assert order("b: {cmd: x, deps: [c.out]}\na: {cmd: x}\nc: {cmd: x, outs: [c.out]}") == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("dep", "out"),
    [
        ("data", "data"),
        ("data/x/y", "data"),
        ("data", "data/x"),
        ("data/*.csv", "data/a.csv"),
        ("data/*.csv", "data"),
        ("data/**", "data/x/a.csv"),
        ("*/a.csv", "data/a.csv"),
        ("data/a.csv", "data/*.csv"),
        ("data", "data/*.csv"),
        ("data/*.csv", "data/*.csv"),
        ("data/a*", "data/*.csv"),
        ("data/**/*.csv", "data/x*"),
        ("data/part[1]", "data/part[1]"),
    ],
)
def test_stage_comes_after_what_makes_its_dependency_or_a_part_of_it(dep, out):
    text = f"b: {{cmd: x, deps: ['{dep}']}}\na: {{cmd: x, outs: ['{out}']}}"
    assert edges(text) == {"b": {"a"}}
    assert order(text) == ["a", "b"]


@pytest.mark.parametrize(
    ("dep", "out"),
    [
        ("data2", "data"),
        ("data", "data.txt"),
        ("data/*.csv", "data/a.txt"),
        ("data/*.csv", "data/x/a.csv"),
        ("data/*.csv", "data/*.txt"),
        ("data/[ab]*", "data/[cd]*"),
        ("data/?", "data/ab"),
    ],
)
def test_stage_needs_nothing_of_a_path_that_only_looks_alike(dep, out):
    assert edges(f"b: {{cmd: x, deps: ['{dep}']}}\na: {{cmd: x, outs: ['{out}']}}") == {}


def test_file_of_parameters_that_a_stage_makes_is_an_edge_too():
    assert edges("b: {cmd: x, params: [{made.json: }]}\na: {cmd: x, outs: [made.json]}") == {"b": {"a"}}


def test_dependencies_that_a_stage_makes_are_known():
    graph = build(stages_of("a: {cmd: x, deps: [raw], outs: [o]}\nb: {cmd: x, deps: [o, src]}"))
    assert graph.made == {"o"}


def test_upstream_and_downstream_hold_the_stages_themselves():
    graph = build(stages_of("a: {cmd: x, outs: [a]}\nb: {cmd: x, deps: [a], outs: [b]}\nc: {cmd: x, deps: [b]}"))
    assert graph.upstream(["b"]) == {"a", "b"}
    assert graph.downstream(["b"]) == {"b", "c"}
    assert graph.after["a"] == ("b",)


def test_two_stages_cannot_make_one_output():
    assert wrong("a: {cmd: x, outs: [o]}\nb: {cmd: x, outs: [o]}") == (
        "cannot use 'dvlite.yaml' line 3: 'o' is an output of two stages, a and b"
    )


@pytest.mark.parametrize(
    ("one", "other"), [("o/*.txt", "o/a.txt"), ("o/*.txt", "o"), ("o/*.txt", "o/a*"), ("o/**", "o/x"), ("o", "o/x")]
)
def test_outputs_cannot_overlap(one, other):
    for first, second in ((one, other), (other, one)):
        said = wrong(f"a: {{cmd: x, outs: ['{first}']}}\nb: {{cmd: x, outs: ['{second}']}}")
        assert said.startswith("cannot use 'dvlite.yaml' line "), said


def test_outputs_of_one_stage_cannot_overlap():
    assert "line 2: the output 'o/x' is inside 'o', an output of a" in wrong("a: {cmd: x, outs: [o, o/x]}")


def test_stage_cannot_need_its_own_output():
    assert "line 2: 'o', a dependency of a, is or holds its own output" in wrong("a: {cmd: x, deps: [o], outs: [o/x]}")


def test_circle_is_named_from_stage_to_stage():
    said = wrong(
        "a: {cmd: x, deps: [c], outs: [a]}\nb: {cmd: x, deps: [a], outs: [b]}\nc: {cmd: x, deps: [b], outs: [c]}"
    )
    assert said == "cannot use 'dvlite.yaml' line 2: the stages depend on each other in a circle: a <- c <- b <- a"


def test_long_chain_is_ordered_without_recursion():
    lines = [f"s{number}: {{cmd: x, deps: [o{number + 1}], outs: [o{number}]}}" for number in range(3000)]
    assert order("\n".join(lines))[0] == "s2999"


def test_patterns_that_are_made_to_take_for_ever_are_compared():
    stages = "a: {cmd: x, outs: ['y/**/**/**/a']}\nb: {cmd: x, deps: ['x/**/**/**/*a*a*a*a']}"
    assert edges(stages) == {}
