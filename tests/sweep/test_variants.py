"""The variants of a sweep: values between commas, files of rows, the grid and the sample."""

import pytest

from dvlite.errors import DvliteError, UsageError
from dvlite.sweep.variants import MOST, VariantSpace, choose, grid_of, rows_of


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.1,0.01", ["0.1", "0.01"]),
        ("svm", ["svm"]),
        ("[1, 2],[3]", ["[1, 2]", "[3]"]),
        ("{a: 1, b: 2},{a: 3}", ["{a: 1, b: 2}", "{a: 3}"]),
        ("'a,b',\"c]\", d", ["'a,b'", '"c]"', "d"]),
        ("it's,b", ["it's", "b"]),
        ("['x,]', 2],3", ["['x,]', 2]", "3"]),
    ],
)
def test_values_are_what_stands_between_commas_outside_of_brackets_and_quotes(text, values):
    assert grid_of([("lr", text)]) == [("lr", values)]


@pytest.mark.parametrize("settings", [[("lr", "1,")], [("lr", "")], [("lr", "[1")], [("lr", "1"), ("lr", "2")]])
def test_a_value_that_is_none_and_a_key_given_twice_are_refused(settings):
    with pytest.raises(UsageError):
        grid_of(settings)


def test_a_grid_has_every_combination_and_the_last_key_changes_first():
    space = VariantSpace([("lr", ["1", "2"]), ("model", ["a", "b"])])
    assert choose(space, sample=None, seed=0) == [
        (("lr", lr), ("model", model)) for lr in ("1", "2") for model in ("a", "b")
    ]


def test_rows_go_with_the_grid_whose_values_win_and_equal_variants_are_one():
    rows = [(("lr", "1"), ("depth", "3")), (("lr", "2"), ("depth", "3"))]
    assert choose(VariantSpace([("lr", ["7"])], rows), sample=None, seed=0) == [(("depth", "3"), ("lr", "7"))]
    assert choose(VariantSpace([("model", ["a"])], rows), sample=None, seed=0) == [
        (*row, ("model", "a")) for row in rows
    ]


def test_a_sample_is_of_the_whole_space_repeats_itself_and_needs_no_list_of_it():
    space = VariantSpace([(f"k{number}", list("0123456789")) for number in range(12)])
    some = choose(space, sample=20, seed=1)
    assert len(set(some)) == 20
    assert some == choose(space, sample=20, seed=1) != choose(space, sample=20, seed=2)
    with pytest.raises(UsageError, match="variants"):
        choose(space, sample=None, seed=0)
    assert space.size > MOST


def test_files_of_variants_are_lists_of_mappings_or_tables():
    rows = [(("lr", "0.1"), ("net.layers", "[8, 8]")), (("lr", "0.01"),)]
    assert rows_of(b"- {lr: 0.1, net.layers: [8, 8]}\n- lr: 0.01\n", "v.yaml") == rows
    assert rows_of(b'[{"lr": 0.1, "net.layers": [8, 8]}, {"lr": 0.01}]', "v.json") == rows
    assert rows_of(b"lr,model\n0.1,svm\n0.01,forest\n", "v.csv") == [
        (("lr", "0.1"), ("model", "svm")),
        (("lr", "0.01"), ("model", "forest")),
    ]
    assert rows_of(b"- {code: '01'}\n", "v.yaml") == [(("code", '"01"'),)]


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"lr: 1\n", "v.yaml"),
        (b"- 1\n", "v.yaml"),
        (b"[]", "v.json"),
        (b"- {}\n", "v.yaml"),
        (b"lr\n", "v.csv"),
        (b"a,b\n1\n", "v.csv"),
    ],
)
def test_a_file_that_is_no_list_of_variants_is_refused(data, name):
    with pytest.raises(DvliteError):
        rows_of(data, name)
