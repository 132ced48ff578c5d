"""Which runs a user asks for: words that stand for one key, for several, and for far too many."""

import pytest

from dvlite.errors import UsageError
from dvlite.runs import options
from dvlite.runs.filters import Filters, parse_condition
from dvlite.runs.index import open_index
from dvlite.runs.records import Records
from tests.runs.recorded import run


def test_a_word_that_stands_for_very_many_keys_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(options, "_MOST_KEYS", 30)
    records = Records(tmp_path / "runs")
    records.put(run(1, params={f"file-{number}.yaml:lr": 1 for number in range(40)}), durable=False)
    with open_index(records) as index:
        wanted = Filters(conditions=(parse_condition("param", "lr=1"),))
        with pytest.raises(UsageError, match="'lr' may be any of 40 parameters"):
            options.resolved(None, index, wanted)
        with pytest.raises(UsageError) as refused:
            options.order_of("lr", index)
        assert len(refused.value.hint) < 400
        whole = Filters(conditions=(parse_condition("param", "file-3.yaml:lr=1"),))
        assert options.resolved(None, index, whole) == whole
