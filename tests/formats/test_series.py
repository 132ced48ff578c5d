"""Series: points at steps that increase, out of JSON lines, tables and TensorBoard's files; an end that is still written is left out."""

import base64
import math

import pytest

from dvlite.errors import FormatError
from dvlite.formats import parameters, series
from tests.counting import grows_linearly

# Written by tensorboardX 2.6 (the first: two tags, one of them text) and by tensorboard.summary.Writer 2.21.
OLD_WRITER = base64.b64decode(
    "GAAAAAAAAACjf0siCXpbyc9Ow9pBGg1icmFpbi5FdmVudDoy1MMNfR4AAAAAAAAA2dwSMgkAAAAAAECPQCoTChEKCmxvc3MvdHJhaW4VAACAP5FgEIogAAAA"
    "AAAAACntqVAJAAAAAABIj0AQCioTChEKCmxvc3MvdHJhaW4VAAAAP08cf20gAAAAAAAAACntqVAJAAAAAABQj0AQFCoTChEKCmxvc3MvdHJhaW4Vq6qqPk4T"
    "BoI9AAAAAAAAAGBJ8ewJAAAAAAAA8D8QASowCi4KEW5vdGUvdGV4dF9zdW1tYXJ5Qg8IBxIEEgIIAUIFaGVsbG9KCAoGCgR0ZXh0569XfQ=="
)
NEW_WRITER = base64.b64decode(
    "SAAAAAAAAAD+kkidCdVb0M9Ow9pBGg1icmFpbi5FdmVudDoyUi4KLHRlbnNvcmJvYXJkLnN1bW1hcnkud3JpdGVyLmV2ZW50X2ZpbGVfd3JpdGVyPcEvKSwA"
    "AAAAAAAA9K7MRQliYdDPTsPaQSohCh8KAmxyQgoIARIAKgQAAAAASg0KCQoHc2NhbGFycyABNHeS0y4AAAAAAAAAxctX+gnuZNDPTsPaQRABKiEKHwoCbHJC"
    "CggBEgAqBAAAAD9KDQoJCgdzY2FsYXJzIAHByo36"
)


def points(data, name):
    """Returns the points of each series, as (step, value)."""
    found = series.parse(data, name)
    return {key: list(zip(one.steps, one.values, strict=True)) for key, one in found.series.items()}


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        (
            "m.jsonl",
            b'{"step": 3, "a": 1}\n\n{"step": 7, "a": 2, "b": {"c": -1}}\n',
            {"a": [(3, 1), (7, 2)], "b.c": [(7, -1)]},
        ),
        ("m.ndjson", b'{"a": 1}\n{"a": 2}', {"a": [(0, 1), (1, 2)]}),
        (
            "m.jsonl",
            b'{"epoch": 1, "iter": 10, "a": 5, "ok": true, "s": "1", "l": [1]}\n',
            {"a": [(10, 5)], "epoch": [(10, 1)]},
        ),
        ("m.csv", b"\xef\xbb\xbfepoch,loss,name\r\n0,1,x\r\n1,,y\r\n2,.5,z\r\n", {"loss": [(0, 1), (2, 0.5)]}),
        ("m.tsv", b"a\tb\n1\t2\n", {"a": [(0, 1)], "b": [(0, 2)]}),
        ("m.jsonl", b"", {}),
        ("m.csv", b"a,b\n", {}),
        ("events.out.tfevents.1.host", OLD_WRITER, {"loss/train": [(0, 1), (10, 0.5), (20, pytest.approx(1 / 3))]}),
        ("events.out.tfevents.1.host.2.0", NEW_WRITER, {"lr": [(0, 0), (1, 0.5)]}),
    ],
)
def test_points_are_numbers_at_the_steps_that_the_file_has(name, data, expected):
    assert points(data, name) == expected
    assert series.parse(data, name).problems == ()


def test_a_run_that_was_resumed_takes_the_place_of_what_came_after():
    lines = "".join(f'{{"step": {step}, "a": {number}}}\n' for number, step in enumerate([1, 2, 3, 4, 2, 3]))
    assert points(lines.encode(), "m.jsonl") == {"a": [(1, 0), (2, 4), (3, 5)]}


def test_nan_and_infinities_are_points():
    (found,) = series.parse(b'{"a": NaN}\n{"a": -Infinity}\n{"a": 1e999}\n', "m.jsonl").series.values()
    assert math.isnan(found.values[0])
    assert list(found.values[1:]) == [-math.inf, math.inf]


def test_times_are_those_of_all_points_or_none():
    found = series.parse(b'{"time": 5.5, "a": 1, "b": 1}\n{"a": 2, "time": 6}\n{"b": 2}\n', "m.jsonl").series
    assert (list(found["a"].times), list(found["b"].times)) == ([5.5, 6], [])
    assert list(series.parse(OLD_WRITER, "x.tfevents").series["loss/train"].times) == [1000, 1001, 1002]


@pytest.mark.parametrize(
    ("name", "data"), [("m.jsonl", b'{"step": 1, "a": 1}\n{"step": 2, "a": 2}\n'), ("tfevents", NEW_WRITER)]
)
def test_a_file_that_is_still_written_is_read_up_to_its_last_whole_point(name, data):
    whole = points(data, name)
    for stop in range(len(data)):
        found = series.parse(data[:stop], name)
        assert found.problems == ()
        for key, one in found.series.items():
            assert list(zip(one.steps, one.values, strict=True)) == whole[key][: len(one.steps)]


def test_what_cannot_be_read_is_counted_and_the_rest_is_read():
    data = b'{"step": 1, "a": 1}\nno\n[1]\n{"a": 3}\n{"step": 1.5, "a": 1}\n{"a": 4}\n'
    found = series.parse(data, "m.jsonl")
    assert list(found.series["a"].values) == [1]
    assert found.problems == (
        "line 2: it is not JSON",
        "line 3: it is not a JSON object",
        "line 4: it has no step, 2 times",
        "line 5: its step is no whole number",
    )


def test_what_follows_a_damaged_record_is_left_out():
    at = OLD_WRITER.index(b"loss/train") + 40
    damaged = OLD_WRITER[:at] + bytes(byte ^ 255 for byte in OLD_WRITER[at : at + 8]) + OLD_WRITER[at + 8 :]
    found = series.parse(damaged, "x.tfevents")
    assert len(found.series["loss/train"].steps) == 1
    assert len(found.problems) == 1


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("m.jsonl", b"epoch 1: 0.5\n"),
        ("m.csv", b'a\n"' + b"x" * 200_000),
        ("x.tfevents", b"no event file" * 3),
        ("m.jsonl", b"[" * 100_000 + b"\n"),
    ],
)
def test_a_file_of_which_nothing_can_be_read_is_refused(name, data):
    with pytest.raises(FormatError, match=name):
        series.parse(data, name)


def test_a_file_may_not_be_larger_than_its_limit(monkeypatch):
    monkeypatch.setattr(series, "LIMIT_BYTES", 10)
    with pytest.raises(FormatError, match="more than 10 bytes"):
        series.parse(b'{"abc": 1}\n', "m.jsonl")


def test_a_file_has_a_bounded_number_of_series(monkeypatch):
    monkeypatch.setattr(series, "MOST_SERIES", 2)
    found = series.parse(b'{"a": 1, "b": 1, "c": 1}\n', "m.jsonl")
    assert (list(found.series), len(found.problems)) == (["a", "b"], 1)


def test_metrics_are_the_last_value_of_each_series():
    data = b'{"step": 1, "a": 1, "b": 2}\n{"step": 2, "a": NaN}\n'
    assert parameters.load_metrics(data, "m.jsonl") == {"a": "NaN", "b": 2}
    assert parameters.load_metrics(NEW_WRITER, "logs/x.tfevents.1") == {"lr": 0.5}


def test_reading_costs_what_the_file_has():
    def read(points):
        series.parse(b"".join(b'{"step": %d, "a": 1}\n' % (step % 7) for step in range(points)), "m.jsonl")

    assert grows_linearly(read, 100, 1600, times=16)
