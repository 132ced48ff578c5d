"""The terms of `lineage find`."""

import pytest

from dvlite.errors import UsageError
from dvlite.lineage.find_query import parse_query
from dvlite.runs.filters import Condition


class Index:
    """An index in which runs have parameters `lr` and metrics `acc`."""

    def find(self, filters):
        ((space, key),) = [(condition.space, condition.key) for condition in filters.conditions]
        return [key] if (space, key) in {("param", "lr"), ("metric", "acc")} else []


def parsed(*terms):
    return parse_query(terms, Index())


def test_a_bare_name_is_a_parameter_else_a_metric():
    query = parsed("lr=0.01", "acc>0.9", "neither=1", "metric.lr<2", "env.python=3.11")
    assert query.filters.conditions == (
        Condition("param", "lr", "=", "0.01"),
        Condition("metric", "acc", ">", "0.9"),
        Condition("param", "neither", "=", "1"),
        Condition("metric", "lr", "<", "2"),
        Condition("env", "python", "=", "3.11"),
    )
    assert query.keys == (("param", "lr"), ("metric", "acc"), ("param", "neither"), ("metric", "lr"), ("env", "python"))


def test_words_are_filters_of_runs_and_paths():
    query = parsed("tag=best", "tag!=old", "stage=train", "status=ok", "status=cached", "commit=ab12", "path=*.pt")
    assert (query.filters.tags, query.filters.stage) == (("best", "!old"), "train")
    assert (query.filters.statuses, query.filters.commit) == (("ok", "cached"), "ab12")
    assert [path for path in ("a/model.pt", "model.json") if query.matches(path)] == ["a/model.pt"]
    assert parsed().matches("anything")


def test_a_path_inside_a_directory_asks_for_the_directory():
    assert [path for path in ("model", "models", "model/part") if parsed("path=model/part/a.pkl").matches(path)] == [
        "model",
        "model/part",
    ]
    assert parsed("path=model/").matches("model")


def test_a_path_with_a_bracket_matches_itself():
    assert parsed("path=a[1].txt").matches("a[1].txt")


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ("lr", "compares nothing"),
        ("acc>high", "is not a number"),
        ("status=fine", "is not a status"),
        ("stage!=train", "can only be compared with ="),
        ("tag>1", "can only be compared with ="),
    ],
)
def test_malformed_terms_are_refused_without_naming_an_option(term, message):
    with pytest.raises(UsageError, match=message) as error:
        parsed(term)
    assert "--" not in error.value.hint


def test_values_are_shown_under_the_word_unless_it_means_several_keys():
    query = parsed("lr=1", "metric.acc>0")
    values = {"param": {"run": {"a.yaml:lr": 1, "b.yaml:lr": 2, "a.yaml:seed": 3}}, "metric": {"run": {"m:acc": 0.5}}}
    assert query.values_of("run", values) == {"a.yaml:lr": 1, "b.yaml:lr": 2, "acc": 0.5}
    assert query.values_of("other", values) == {}
