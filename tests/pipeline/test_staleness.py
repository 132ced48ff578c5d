"""What a stage would run with now, asked of any content: what is not known is a gap, and hides only what follows from it."""

from dataclasses import replace

import pytest

from dvlite.errors import FormatError
from dvlite.formats.lockfile import Locked
from dvlite.pipeline.params import Params
from dvlite.pipeline.reasons import sentence
from dvlite.pipeline.staleness import now_of
from tests.pipeline.stages_of import stages_of

OID = {letter: "blake3:" + letter * 64 for letter in "abc"}
TEXT = "one: {cmd: x, deps: [a, lib, gone], params: [lr, depth], outs: [o]}"


class Known:
    """Content of which these paths are known; `broken` cannot be read."""

    def __init__(self, oids, broken=()):
        self.oids, self.broken = oids, broken

    def matches(self, pattern):
        return [pattern]

    def parts(self, path):
        return [path]

    def expected(self, path):
        if path in self.broken:
            raise FormatError(f"{path} is broken")
        return Locked(path, self.oids[path], 1) if path in self.oids else None


def now(oids, params=b"lr: 1\ndepth: 2\n", broken=(), **options):
    (stage,) = stages_of(TEXT)
    values = Params({"params.yaml": params}.get)
    return now_of(stage, Known(oids, broken), values, dict, **options)


ALL = {"a": OID["a"], "lib": OID["b"], "gone": OID["c"]}


def locked():
    return replace(now(ALL).entry, outs=(Locked("o", OID["a"], 1),))


def kinds(found):
    return [(reason.kind, reason.name) for reason in found.differences(locked())]


def test_nothing_differs_from_what_was_locked():
    assert (now(ALL).gaps, kinds(now(ALL))) == ((), [])


def test_a_missing_dependency_is_a_gap_and_not_also_a_dependency_removed():
    found = now({"a": OID["b"], "lib": OID["b"]})
    assert [(gap.place.path, gap.is_missing) for gap in found.gaps] == [("gone", True)]
    assert kinds(found) == [("dep-changed", "a")]


def test_a_dependency_that_cannot_be_read_is_a_gap_with_its_error():
    found = now(ALL, broken=["lib"])
    assert [(gap.error.message, gap.is_missing) for gap in found.gaps] == [("lib is broken", False)]
    assert kinds(found) == []


def test_a_file_of_parameters_that_cannot_be_read_is_a_gap_for_each_declaration():
    for params in (None, b"lr: [1\n"):
        found = now(ALL, params=params)
        assert [gap.place.path for gap in found.gaps] == ["params.yaml"] * 2
        assert kinds(found) == []


def test_a_parameter_that_is_not_in_its_file_hides_no_other():
    found = now(ALL, params=b"lr: 3\n")
    assert [gap.place.spec.keys for gap in found.gaps] == [("depth",)]
    assert kinds(found) == [("param-changed", "params.yaml:lr")]


def test_to_run_it_the_first_gap_is_an_error_unless_it_is_awaited():
    with pytest.raises(FormatError, match="'gone'"):
        now({"a": OID["a"], "lib": OID["b"]}, awaited=lambda path: path == "a")
    found = now({"a": OID["a"], "lib": OID["b"]}, awaited=lambda path: path == "gone")
    assert [dep.path for dep in found.entry.deps] == ["a", "lib"]


def test_each_reason_has_a_sentence_that_names_both_sides():
    (stage,) = stages_of("one: {cmd: y, deps: [a, new], params: [lr], env: {N: '2'}, outs: [p]}")
    entry = replace(locked(), facts=replace(locked().facts, env={"M": "1", "N": "1"}, capture={"torch": "2"}))
    params = Params({"params.yaml": b"lr: 5\n"}.get)
    found = now_of(stage, Known({"a": OID["b"], "new": OID["c"]}), params, dict)
    assert [sentence(reason, stage, "x.dvlite") for reason in found.differences(entry)] == [
        "its command is 'y', locked with 'x'",
        "a is bbbbbbbb by x.dvlite, locked with aaaaaaaa",
        "gone was a dependency of the recorded run and no longer is",
        "lib was a dependency of the recorded run and no longer is",
        "it depends on new, which the recorded run did not use",
        "params.yaml depth = 2 was a parameter of the recorded run and no longer is",
        "params.yaml lr is 5, locked with 1",
        "the variable M was set in the recorded run and no longer is",
        "the variable N is 2, locked with 1",
        "torch was captured in the recorded run and no longer is",
        "it declares the output p, which the recorded run did not make",
        "o is an output of the recorded run and no longer declared",
    ]
