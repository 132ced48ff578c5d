"""Names of runs and stages, and what users type to choose runs."""

import posixpath
from functools import partial

import pytest

from dvlite.errors import UsageError
from dvlite.repo.stage_names import address
from dvlite.runs.index import open_index
from dvlite.runs.names import find_run, find_stage, name_of, parse_time_ms, suggestion
from dvlite.runs.records import Records
from tests.runs.recorded import name, namesakes, note, run

ROOT = posixpath.normpath  # the current folder is no folder of a pipeline
DAY_MS = 86_400_000
NOON_MS = 1_795_348_800_000  # 2026-11-22T12:00:00Z


@pytest.fixture
def index_of(tmp_path):
    def index_of(*contents):
        records = Records(tmp_path / "runs")
        for content in contents:
            records.put(content, durable=False)
        return open_index(records)

    return index_of


def test_runs_and_stages_have_names():
    assert name_of("train", "run:7f3a9c" + "0" * 58) == "train-7f3a9c"
    assert address("dvlite.yaml", "train") == "train"
    assert address("sub/ml/dvlite.yaml", "train") == "sub/ml:train"


@pytest.mark.parametrize(
    ("text", "options", "found"),
    [
        ("3d", {}, NOON_MS - 3 * DAY_MS),
        ("2 h", {}, NOON_MS - 7_200_000),
        ("5min", {"end": True}, NOON_MS - 300_000),
        ("2026-11-22", {}, NOON_MS - DAY_MS // 2),
        ("2026-11-22", {"end": True}, NOON_MS + DAY_MS // 2),
        ("2026-11-22 12:00", {"end": True}, NOON_MS),
    ],
)
def test_times_are_parsed(text, options, found):
    assert parse_time_ms(text, NOON_MS, **options) == found


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "99999999d", "3 weeks"])
def test_what_is_not_a_time_is_refused(text):
    with pytest.raises(UsageError, match="is not a date"):
        parse_time_ms(text, NOON_MS)


def test_a_run_is_found_by_name_digits_id_tag_and_last(index_of):
    one, other = run(1, stage="prepare"), run(2)
    with index_of(one, other, note(one, "tag", "best")) as index:
        digits = name(one)[4:]
        for text in (f"prepare-{digits[:6]}", digits[:8], name(one), one.id, "best", "last:prepare"):
            assert find_run(index, text, ROOT) == name(one), text
        assert find_run(index, "last", ROOT) == find_run(index, "last:train", ROOT) == name(other)
        for text in ("train-ffffff", "nothing", "last:nothing", "last:"):
            with pytest.raises(UsageError):
                find_run(index, text, ROOT)


def test_without_a_run_there_is_no_last_one(index_of):
    with index_of() as index, pytest.raises(UsageError, match="there is no run yet"):
        find_run(index, "last", ROOT)


def test_an_ambiguous_tag_lists_its_runs(index_of):
    runs = [run(number) for number in range(7)]
    with index_of(*runs, *(note(one, "tag", "best") for one in runs)) as index:
        with pytest.raises(UsageError, match="may be any of 7 runs") as error:
            find_run(index, "best", ROOT)
        assert error.value.hint.startswith(f"one of: train-{name(runs[6])[4:16]} (ok, ")
        assert error.value.hint.endswith("and 2 more")


def test_ambiguous_digits_list_the_runs_with_more_of_them(index_of):
    older, newer, digits = namesakes()
    with index_of(older, newer) as index, pytest.raises(UsageError, match="may be any of 2 runs") as error:
        find_run(index, digits, ROOT)
    assert error.value.hint.startswith("give more digits: train-")
    for one in (older, newer):
        assert f"train-{name(one)[4:16]} (ok, {one.start[:10]}" in error.value.hint


def test_a_bare_stage_is_that_of_the_folder_the_one_at_the_root_or_the_only_one(index_of):
    with index_of(run(1, file="ml/dvlite.yaml"), run(2, file="report/dvlite.yaml"), run(3, stage="a")) as index:
        assert find_stage(index, "a", ROOT) == ":a"
        assert find_stage(index, "ml:train", ROOT) == "ml:train"
        in_ml = partial(posixpath.join, "ml")
        assert find_stage(index, "train", lambda path: posixpath.normpath(in_ml(path))) == "ml:train"
        with pytest.raises(UsageError, match="several pipeline files") as error:
            find_stage(index, "train", ROOT)
        assert error.value.hint == "one of: ml:train, report:train"
        with pytest.raises(UsageError, match="no run of 'trian'"):
            find_stage(index, "trian", ROOT)
    with index_of(run(4)) as index:
        assert find_stage(index, "train", ROOT) == ":train"


def test_a_tag_of_several_stages_is_given_with_one_of_them(index_of):
    trained, evaluated = run(1), run(2, stage="evaluate")
    with index_of(trained, evaluated, *(note(one, "tag", "best") for one in (trained, evaluated))) as index:
        with pytest.raises(UsageError, match="may be any of 2 runs") as error:
            find_run(index, "best", ROOT)
        assert error.value.hint == "one of: best:evaluate, best:train"
        assert find_run(index, "best:train", ROOT) == name(trained)
        with pytest.raises(UsageError, match="no run of 'model'"):
            find_run(index, "best:model", ROOT)


def test_a_suggestion_is_the_closest_word_else_some_of_them():
    assert suggestion("trian", ["prepare", "train"], "stages") == "did you mean train?"
    assert suggestion("x", ["a", "b"], "stages") == "stages: a, b"
    assert suggestion("x", [], "stages") == "there are no stages yet"
