"""`checks:` of a pipeline file: each demand in one form, each mistake with its line."""

import pytest

from dvlite.errors import FormatError
from dvlite.formats.checks import EVENTS
from dvlite.formats.pipeline import Dep, parse
from dvlite.formats.strict_yaml import load
from tests.formats.test_pipeline import SCHEMA, allows

FULL = """\
checks:
  sales:
    path: data/sales.csv
    columns: {id: integer, day: date}
    exact: true
    rows: 1..5000
    unique: [id, [shop, day]]
    not_null: [id, price]
    ranges: {price: {min: 0, max: 9.5}, day: {min: 2020-01-01}}
    allowed: {state: [new, 2, true]}
    references: {shop: {path: ./shops.csv, column: id}}
    fresh: {column: day, within: 7d}
    drift: {against: v1.0, changed: 5%, mean: 0.1, columns: price}
    cmd: [python look.py, echo done]
    deps: [look.py, "lib/*.py"]
    timeout: 10m
    on: {push: block, ci: warn}
    desc: what the shop sold
"""


def check(body):
    text = "checks:\n  c:\n    path: a.csv\n" + "".join(f"    {line}\n" for line in body.splitlines())
    (found,) = parse(text.encode(), "dvlite.yaml").checks
    return found.check


def test_everything_that_a_check_can_say():
    (found,) = parse(FULL.encode(), "dvlite.yaml").checks
    assert (found.name, found.line, found.cmd) == ("sales", 2, "python look.py\necho done")
    assert found.deps == (Dep("data/sales.csv", 3), Dep("shops.csv", 3), Dep("look.py", 15), Dep("lib/*.py", 15))
    assert (found.outs, found.limits.timeout_seconds, found.desc) == ((), 600, "what the shop sold")
    assert (found.check.path, found.check.references, found.check.against) == ("data/sales.csv", ("shops.csv",), "v1.0")
    assert found.check.on == {"push": "block", "ci": "warn"}
    assert found.check.terms() == [
        ["columns", {"types": {"id": "integer", "day": "date"}, "exact": True}],
        ["rows", {"min": 1, "max": 5000}],
        ["unique", {"columns": ["id"]}],
        ["unique", {"columns": ["shop", "day"]}],
        ["not_null", {"column": "id"}],
        ["not_null", {"column": "price"}],
        ["ranges", {"column": "price", "min": 0, "max": 9.5}],
        ["ranges", {"column": "day", "min": "2020-01-01"}],
        ["allowed", {"column": "state", "values": ["new", 2, True]}],
        ["references", {"column": "shop", "path": "shops.csv", "other": "id"}],
        ["fresh", {"column": "day", "seconds": 604_800}],
        ["drift", {"against": "v1.0", "changed": 0.05, "mean": 0.1, "columns": ["price"]}],
    ]
    assert allows(SCHEMA, load(FULL.encode(), "x").value)


def test_where_a_check_counts_has_three_forms():
    assert check("rows: 1..").on == dict.fromkeys(EVENTS, "block")
    assert check("rows: 1..\non: [push, ci]").on == {"push": "block", "ci": "block"}
    assert check("rows: 1..\non: ci").on == {"ci": "block"}


def test_forms_of_one_demand_are_the_same_demand():
    assert check("rows: 12").terms() == check("rows: 12..12").terms() == check("rows: {min: 12, max: 12}").terms()
    assert check("unique: id").terms() == check("unique: [id]").terms() == check("unique: [[id]]").terms()
    assert check("columns: [a, b]").terms() == check("columns: {a: any, b: any}").terms()


@pytest.mark.parametrize(
    ("body", "line", "words"),
    [
        ("row: 1..", 4, "'row' is not known in a check; did you mean 'rows'?"),
        ("on: push", 2, "a check that demands nothing"),
        ("columns: {a: int}", 4, "'int' is not a type"),
        ("exact: true\nrows: 1..", 4, "'exact' is true or false, beside 'columns'"),
        ("rows: 5..1", 4, "the 'min' of a range is above its 'max'"),
        ("rows: -1", 4, "'rows' are whole numbers of at least 0"),
        ("rows: ..", 4, "'rows' must be a mapping"),
        ("unique: [[]]", 4, "names 1 to 1,000 columns"),
        ("not_null: [1]", 4, "a column is named by text"),
        ("ranges: {a: {}}", 4, "'a' must be a mapping"),
        ("ranges: {a: {min: x, max: 1}}", 4, "the ends of a range are of two types"),
        ("ranges: {a: {least: 1}}", 4, "'least' is not known in a range"),
        ("allowed: {a: []}", 4, "'allowed' needs a list of 1 to 10,000 values"),
        ("references: {a: {path: b.csv}}", 4, "a reference names the 'path' and the 'column'"),
        ("references: {a: {path: /etc/passwd, column: b}}", 4, "it is absolute"),
        ("fresh: {column: a, within: soon}", 4, "'fresh' names a 'column'"),
        ("drift: {against: v1}", 4, "'drift' sets no limit"),
        ("drift: {against: --output=x, mean: 1}", 4, "'drift' names the revision"),
        ("drift: {against: v1, mean: -5%}", 4, "'mean' is a share like 5% or 0.05"),
        ("rows: 1..\non: {deploy: block}", 5, "'on' names push, merge or ci"),
        ("rows: 1..\non: {push: stop}", 5, "'on' names push, merge or ci"),
        ("cmd: ' '", 4, "has no cmd"),
        ("rows: 1..\ndeps: x", 5, "'deps' must be a list"),
    ],
)
def test_a_mistake_is_named_with_its_line(body, line, words):
    with pytest.raises(FormatError) as caught:
        check(body)
    assert words in caught.value.message
    assert caught.value.line == line


def test_a_check_has_a_path_and_a_name():
    for text, words in (
        ("checks: {c: {rows: 1..}}", "a check without a path"),
        ("checks: {'a b': {path: x, rows: 1..}}", "'a b' cannot be the name of a check"),
        ("checks: {c: 5}", "'c' must be a mapping"),
        ("checks: {c: {path: ../../x/../.git/config, cmd: x}}", "could be taken for '.git'"),
    ):
        with pytest.raises(FormatError) as caught:
            parse(f"{text}\n".encode(), "dvlite.yaml")
        assert words in caught.value.message
