"""The parts of the benchmarks that do not measure: the data is the same everywhere, and the table says what was measured."""

import hashlib
import importlib
import re
import shlex
from pathlib import Path

import pytest

from benchmarks import data, draw, faults, run, table, tampering
from benchmarks.table import CP, DVC, DVLITE, RESTIC, Goal, Row

PROJECT = Path(__file__).parent.parent
ROW = Row("small-push", "small files: push", table.SECONDS, (Goal(0.8, RESTIC), table.faster(10, DVC)))


def digest(folder: Path) -> str:
    content = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return content.hexdigest()


SCRIPTS = sorted(path.stem for path in (PROJECT / "benchmarks").glob("*.py"))
# Command lines of benchmarks that a page or a script names: `python benchmarks/X.py ...` and `make bench ARGS="..."`.
NAMED = [
    (page, script or "run", words or more)
    for page in sorted([PROJECT / "README.md", *PROJECT.glob("docs/**/*.md"), *PROJECT.glob("benchmarks/*.py")])
    for script, words, more in re.findall(
        r"python benchmarks/(\w+)\.py([^`\n]*)|make bench ARGS=\"([^\"]*)\"", page.read_text(encoding="utf-8")
    )
]


def loaded(name):
    try:
        return importlib.import_module(f"benchmarks.{name}")
    except ModuleNotFoundError as error:
        if name == "table_formats" and error.name == "pyarrow":
            pytest.skip("it needs pyarrow, which is not installed: make test-long installs it")
        raise


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_loads(name):
    loaded(name)


@pytest.mark.parametrize(("page", "script", "words"), NAMED, ids=lambda part: getattr(part, "name", part))
def test_every_command_line_that_a_page_names_is_one(page, script, words):
    asked = loaded(script).read_options(shlex.split(words, comments=True))
    if script == "run":
        assert run.wanted_rows(asked)


def test_the_same_tree_is_written_every_time(tmp_path):
    for name in ("first", "second"):
        data.write_tree(tmp_path / name, files=30, folders=3, least_bytes=10, most_bytes=90)
    assert digest(tmp_path / "first") == digest(tmp_path / "second")


def test_a_tree_has_the_files_folders_and_sizes_asked_for(tmp_path):
    data.write_tree(tmp_path / "tree", files=30, folders=3, least_bytes=10, most_bytes=90)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 30
    assert len({path.parent for path in files}) == 3
    assert all(10 <= path.stat().st_size <= 90 for path in files)


@pytest.mark.parametrize("size_bytes", [0, 1, data.MIB, 2 * data.MIB + 7])
def test_an_insertion_moves_the_second_half_and_changes_nothing_else(tmp_path, size_bytes):
    data.write_random(tmp_path / "before", size_bytes)
    data.write_inserted(tmp_path / "before", tmp_path / "after", extra_bytes=1_000)
    before, after = ((tmp_path / name).read_bytes() for name in ("before", "after"))
    middle = size_bytes // 2
    assert len(after) == size_bytes + 1_000
    assert after[:middle] == before[:middle]
    assert after[middle + 1_000 :] == before[middle:]


def test_the_versions_of_the_table_are_the_same_every_time():
    assert list(data.csv_versions(2_000, 3)) == list(data.csv_versions(2_000, 3))


def test_a_version_of_the_table_keeps_nearly_all_rows():
    first, second = (set(version.split(b"\n")) for version in data.csv_versions(20_000, 2))
    assert 500 + 250 <= len(second - first) <= 500 + 300
    assert 200 + 250 <= len(first - second) <= 200 + 300


def test_a_tool_without_a_sample_is_a_dash():
    text = table.markdown({ROW.key: {DVLITE: [1.0], RESTIC: [2.0]}, "small-add": {CP: [1.0]}}, table.ROWS)
    cells = [line.split(" | ") for line in text.splitlines()]
    assert cells[0] == ["| step", "dvlite", "restic", "cp -r", "goal of dvlite", "met |"]
    assert cells[2][1:4] == ["-", "-", "1.00 s"]
    assert cells[3][1:4] == ["1.00 s", "2.00 s (2.0x)", "-"]


def test_rows_that_nobody_measured_are_left_out():
    assert table.markdown({ROW.key: {DVLITE: [1.0]}}, table.ROWS).count("\n") == 2


def test_the_median_counts_and_not_the_mean():
    assert table.medians({ROW.key: {DVLITE: [1.0, 9.0, 1.5]}}, ROW) == {DVLITE: 1.5}


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        ({DVLITE: 0.8, RESTIC: 1.0, DVC: 8.0}, "yes"),
        ({DVLITE: 0.81, RESTIC: 1.0, DVC: 80.0}, "no"),
        ({DVLITE: 0.8, RESTIC: 1.0, DVC: 7.9}, "no"),
        ({DVLITE: 0.8, RESTIC: 1.0}, "?"),
        ({DVLITE: 0.81, RESTIC: 1.0}, "no"),
        ({RESTIC: 1.0, DVC: 8.0}, "?"),
    ],
)
def test_a_goal_is_met_only_if_every_peer_says_so(taken, expected):
    assert table.verdict(ROW, taken) == expected


def test_a_goal_without_a_peer_is_a_limit():
    row = Row("small-again", "", table.SECONDS, (Goal(0.7),))
    assert [table.verdict(row, {DVLITE: seconds}) for seconds in (0.7, 0.71)] == ["yes", "no"]


def test_sharing_blocks_makes_the_goal_of_large_files_stricter():
    goals = {row.key: row.goals for row in table.with_reflinks(table.ROWS)}
    assert goals.pop("large-add") == (Goal(0.65, table.CP_SYNC),)
    assert goals == {row.key: row.goals for row in table.ROWS if row.key != "large-add"}


def test_goals_read_as_sentences():
    assert table.goal_text(ROW) == "<= 0.8 x restic, 10x faster than dvc"
    assert {row.key: table.goal_text(row) for row in table.ROWS}["edit-upload"] == "<= 1 MiB"
    assert {row.key: table.goal_text(row) for row in table.ROWS}["small-status"] == "5x faster than dvc"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0413, table.SECONDS, "0.041 s"),
        (0.999, table.SECONDS, "1.00 s"),
        (12.34, table.SECONDS, "12.3 s"),
        (900, table.BYTES, "900 B"),
        (86_425, table.BYTES, "84.4 KiB"),
        (1 << 30, table.BYTES, "1 GiB"),
        (1023 << 20, table.BYTES, "1023 MiB"),
        (2.907, table.TIMES, "2.91 x"),
    ],
)
def test_quantities_have_three_digits(value, unit, text):
    assert table.quantity(value, unit) == text


def test_json_keeps_every_sample():
    samples = {ROW.key: {DVLITE: [1.0, 3.0, 2.0], RESTIC: [4.0, 4.0, 4.0]}}
    content = table.as_json(samples, [ROW], {"small": {DVLITE: (5, 100)}}, {"cpus": 2})
    assert content["schema"] == "dvlite.benchmarks/1"
    assert content["rows"][0]["samples"] == samples[ROW.key]
    assert content["rows"][0]["medians"] == {DVLITE: 2.0, RESTIC: 4.0}
    assert content["remote"] == {"small": {DVLITE: {"objects": 5, "bytes": 100}}}


def test_the_page_and_the_charts_are_those_of_the_results():
    kept = draw.load()
    drawn = draw.drawn(kept, {page: page.read_text(encoding="utf-8") for page in draw.PAGES})
    assert [path.name for path, text in drawn.items() if path.read_text(encoding="utf-8") != text] == []
    assert {path.name for path in draw.CHARTS.iterdir()} == {path.name for path in drawn if path not in draw.PAGES}


def measured(step, tool, seconds, **more):
    return {
        "step": step,
        "tool": tool,
        "seconds": seconds,
        "cpu_seconds": seconds,
        "peak_bytes": 0,
        "requests": {},
    } | more


def scenario(*rows, **more):
    return {"what": "10 files", "rounds": 1, "taken": "2026-11-30", "rows": rows, "stored": {}, "failed": []} | more


def test_a_scenario_shows_medians_and_multiples_and_why_a_tool_is_left_out():
    rows = (measured("push", RESTIC, [4.0, 2.0, 9.0]), measured("push", DVLITE, [2.0], requests={"GET": 2, "LIST": 1}))
    text = draw.text_of("pushes", scenario(*rows, failed=["dvc, push: too slow"]))
    assert (
        "| push | dvlite | 2.00 s | 2.00 s | - | 3: GET 2, LIST 1 |\n|  | restic | 4.00 s (2.0x) | 4.00 s (2.0x) | - |  |"
        in text
    )
    assert text.endswith("Left out: dvc, push: too slow.")


def test_growth_is_the_exponent_between_the_two_largest_sizes():
    rows = [measured("status", size, [seconds]) for size, seconds in (("10", 1.0), ("100", 2.0), ("1,000", 20.0))]
    assert draw.text_of("growth-files", scenario(*rows, sizes=[10, 100, 1000])).endswith(" | 1.00 |")


def test_round_trips_are_what_a_millisecond_more_adds():
    rows = [measured("pull", f"dvlite, {ms} ms", [0.5 + 4 * ms / 1000, 9.0]) for ms in (0, 5, 30)]
    assert draw.text_of("latency", scenario(*rows)).endswith(" | 4 |")


def test_the_longest_bar_of_a_step_is_as_wide_as_that_of_any_other():
    rows = [
        measured(step, tool, [seconds])
        for step, tool, seconds in (("a", DVLITE, 1.0), ("a", DVC, 9.0), ("b", DVC, 0.1))
    ]
    widths = re.findall(r'<rect [^>]*width="([\d.]+)"', draw.svg("x", scenario(*rows)))
    assert widths[1] == widths[2] == max(widths, key=float)


def test_the_readme_shows_rows_of_the_table():
    versions = {"versions": {DVC: "3.67.1"}}
    content = table.as_json({"small-pull": {DVLITE: [2.2], DVC: [30.0]}}, table.ROWS, {}, versions)
    assert "| pull them into an empty clone | **2.20 s** | 30.0 s | one request a file | - |" in table.short_text_of(
        content
    )


def test_a_row_without_a_goal_is_not_judged():
    row = Row("edit-download", "", table.BYTES, ())
    assert (table.goal_text(row), table.verdict(row, {DVLITE: 1.0})) == ("", "")


CASE = tampering.Case("a parameter is edited", (r"\blr\b",), "train", str)


def said(code, *lines):
    return tampering.Said(code, lines, 0.1)


@pytest.mark.parametrize(
    ("untouched", "tampered", "names", "fails"),
    [
        (said(0, "train: ok"), said(1, "train: ok", "lr is 2"), 2, True),
        (said(0, "train: ok"), said(0, "train: ok", "train: changed"), 1, False),
        (said(1, "lr is 2"), said(1, "lr is 2"), 0, False),
        (said(0), said(0, "all lrs are fine"), 0, False),
    ],
)
def test_only_what_is_not_said_of_the_untouched_clone_counts(untouched, tampered, names, fails):
    found = tampering.judge(CASE, "status", untouched, tampered)
    assert (found.names, found.fails) == (names, fails)


def test_of_several_commands_the_one_that_names_most_is_told_and_one_that_fails():
    quiet = tampering.judge(CASE, "status -c", said(0), said(0))
    naming = tampering.judge(CASE, "status", said(0), said(0, "lr is 2"))
    failing = tampering.judge(CASE, "repro", said(0), said(255, "train"))
    assert tampering.best([quiet, naming, failing]) == "`status`: exit 0, names it; `repro`: exit 255, names the stage"
    assert tampering.best([quiet, quiet]) == "exit 0, does not name it"


def test_a_tampering_that_changes_nothing_ends_the_program(tmp_path):
    world = tampering.World("dvlite", tmp_path, tampering.environment(tmp_path, {}))
    for path, text in {
        "dvlite.yaml": tampering.PIPELINE,
        "params.yaml": "rows: 3\nlr: 0.2\n",
        **tampering.SCRIPTS,
    }.items():
        tampering._write(world.clone / path, text)
    changes = [
        case for case in tampering.CASES if case.name.startswith(("a parameter", "a script", "a stage", "a dep"))
    ]
    assert len(changes) == 4
    for case in changes:
        case.tamper(world)
    for case in changes[:1] + changes[3:]:
        with pytest.raises(SystemExit, match="nothing of"):
            case.tamper(world)


def test_a_flip_changes_one_bit_and_no_time(tmp_path):
    for name in ("small", "large"):
        (tmp_path / name).write_bytes(bytes(10 if name == "small" else 1000))
    name, at = next(faults.flips(tmp_path, 1))
    before = (tmp_path / name).stat()
    faults.flip(tmp_path / name, at)
    assert sum(byte.bit_count() for path in tmp_path.iterdir() for byte in path.read_bytes()) == 1
    after = (tmp_path / name).stat()
    assert (after.st_mtime_ns, after.st_mode, after.st_size) == (before.st_mtime_ns, before.st_mode, before.st_size)
    assert {str(place) for place, _ in faults.flips(tmp_path, 9)} >= {"large"}


def test_other_bytes_with_exit_0_are_the_worst_verdict():
    done = [faults.Done(["dvc", "pull"], code, "", "") for code in (0, 1)]
    assert faults.verdict({"a": b"1"}, {"a": b"1"}, done[:1]) == "right"
    assert faults.verdict({}, {"a": b"1"}, done[:1]) == "wrong"
    assert faults.verdict({}, {"a": b"1"}, done) == "refused"
