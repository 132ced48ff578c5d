"""Whatever bytes a parser of ours gets: a value, or an error that it documents."""

import pytest

from tests.faults.parsers import fuzz, mutations, parsers


def outcomes(folder, inputs):
    found = {parser.name: fuzz(parser, list(mutations(parser.examples, inputs, 7))) for parser in parsers(folder)}
    return {name: outcome.example for name, outcome in found.items() if outcome.odd}


def test_only_documented_errors_come_out_of_parsers(tmp_path):
    assert outcomes(tmp_path, 60) == {}


@pytest.mark.long
def test_only_documented_errors_come_out_of_parsers_whatever_they_read(tmp_path):
    assert outcomes(tmp_path, 1500) == {}


def test_examples_are_read_and_most_changes_are_refused(tmp_path):
    for parser in parsers(tmp_path):
        inputs = list(mutations(parser.examples, 60, 7))
        assert inputs != list(mutations(parser.examples, 60, 8))
        assert len(set(inputs) - set(parser.examples)) > 30, parser.name
