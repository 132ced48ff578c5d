"""The log of a Delta table: versions, live files, what commits did, and logs that are no good. The real client is asked in test_delta_client.py."""

import json

import pytest

from dvlite.errors import FormatError
from dvlite.formats import delta_log
from dvlite.formats.delta_log import SchemaChange, Table, log_files, needed, parse_actions, read_table, schema_changes
from tests.delta import add_action, schema_text


def name(version, kind="json"):
    return f"{version:020}.{kind}".encode()


def lines(*actions):
    return "".join(json.dumps(action) + "\n" for action in actions).encode()


def table(*commits):
    """Returns the newest version and what the commits did, of a log with these actions in each."""
    files = {name(number): lines(*actions) for number, actions in enumerate(commits)}
    return read_table(log_files(files), files.__getitem__)


def removed(path, **more):
    return {"remove": {"path": path, "dataChange": True, **more}}


def test_a_version_is_what_was_added_and_not_removed():
    found, done = table(
        [add_action("a", 3, 10), add_action("p=x%2520y/b", 4, 10)], [removed("a"), add_action("c", 1, 5)]
    )
    assert {file.name for file in found.live.values()} == {b"p=x%20y/b", b"c"}
    assert found.named == {b"a", b"p=x%20y/b", b"c"}
    assert [(c.rows_added, c.rows_removed, c.files_added, c.files_removed) for c in done] == [
        (7, 0, 2, 0),
        (1, 3, 1, 1),
    ]


INFORMATION = {"timestamp": 1790000000000, "operation": "DELETE"}
DONE = {  # actions of a commit after `a` with 100 rows: rows added, rows removed
    "rows that were copied stay": (
        [removed("a"), add_action("b", 97, 9), {"commitInfo": {"operationMetrics": {"num_copied_rows": 97}}}],
        (0, 3),
    ),
    "as Spark counts, in text": (
        [removed("a"), add_action("b", 100, 9), {"commitInfo": {"operationMetrics": {"numTargetRowsCopied": "99"}}}],
        (1, 1),
    ),
    "a deletion vector": (
        [
            removed("a"),
            add_action("a", 100, 9, deletionVector={"storageType": "i", "pathOrInlineDv": "x", "cardinality": 2}),
        ],
        (0, 2),
    ),
    "files that were only rewritten": (
        [removed("a", dataChange=False), {"add": {"path": "b", "size": 1, "dataChange": False}}],
        (0, 0),
    ),
    "rows that are not counted": ([add_action("b", None, 9)], (None, 0)),
    "a metric that lies": (
        [add_action("b", 1, 9), {"commitInfo": {"operationMetrics": {"num_copied_rows": 1 << 60}}}],
        (1, 0),
    ),
}


@pytest.mark.parametrize("case", DONE)
def test_rows_that_a_commit_only_carried_are_neither_added_nor_removed(case):
    actions, expected = DONE[case]
    _, done = table([add_action("a", 100, 9)], actions)
    assert (done[1].rows_added, done[1].rows_removed) == expected


def test_a_commit_says_when_and_what():
    _, done = table([{"commitInfo": INFORMATION | {"operationParameters": {"mode": "Append"}}}])
    assert (done[0].operation, done[0].time) == ("DELETE (Append)", "2026-09-21T14:13:20Z")


def test_columns_that_differ_have_names():
    before = schema_text([("id", "long"), ("x", "double"), ("old", "string")])
    after = schema_text([("id", "string"), ("x", "double"), ("tags", {"type": "array", "elementType": "string"})])
    assert schema_changes(before, after) == (
        SchemaChange(change="retyped", column="id", type="string", old_type="long"),
        SchemaChange(change="added", column="tags", type="array<string>"),
        SchemaChange(change="removed", column="old", type="string"),
    )
    mapped = [
        json.dumps({"fields": [{"name": n, "type": "long", "metadata": {"delta.columnMapping.id": 1}}]}) for n in "ab"
    ]
    assert schema_changes(*mapped) == (SchemaChange(change="renamed", column="b", old_column="a", type="long"),)


def test_a_deletion_vector_is_named_as_the_specification_writes_it():
    vector = {"storageType": "u", "pathOrInlineDv": "ab^-aqEH.-t@S}K{vb[*k^", "cardinality": 1}
    found, _ = table([add_action("a", 3, 10, deletionVector=vector)])
    assert b"ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin" in found.named


@pytest.mark.parametrize(
    "path", ["../x", "/etc/passwd", "s3://bucket/x", "a/../../x", "a//b", "", "%2e%2e/x", "a%00b", "file:x"]
)
def test_a_path_that_leaves_the_folder_names_no_file(path):
    found, _ = table([add_action(path, 1, 1)])
    assert [file.name for file in found.live.values()] == [None]
    assert not found.named


def test_commits_that_are_gone_are_read_from_a_checkpoint():
    files = {
        name(3, "checkpoint.0f9a1d3c-0000-4000-8000-000000000000.json"): lines(
            add_action("a", 5, 1), {"metaData": {"schemaString": schema_text()}}, {"sidecar": {"path": "s.json"}}
        ),
        b"_sidecars/s.json": lines(add_action("b", 7, 1)),
        name(3): lines(add_action("b", 7, 1)),
        name(4): lines(removed("a")),
        b"_last_checkpoint": b"{}",
    }
    found, done = read_table(log_files(files), files.__getitem__)
    assert {file.name for file in found.live.values()} == {b"b"}
    assert [(c.version, c.rows_added, c.rows_removed) for c in done] == [(3, 7, 0), (4, 0, 5)]
    with pytest.raises(FormatError, match="version 2 cannot be read: its log begins at version 3"):
        needed(log_files(files), 2)


def test_a_checkpoint_counts_with_all_of_its_parts():
    parts = [name(9, f"checkpoint.{n:010}.{2:010}.parquet") for n in (1, 2)]
    assert log_files(parts).checkpoints == {9: parts}
    assert not log_files(parts[:1])


def test_a_gap_has_a_number():
    files = log_files([name(0), name(1), name(3)])
    with pytest.raises(FormatError, match="version 2 is missing"):
        needed(files)
    assert needed(files, 1) == (None, range(2))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"add": {"path": "a"',
        b"[1]\n",
        b"null\n",
        b"\xff\n",
        b"[" * 100_000,
        b"1" * 10_000,
        b'{"add": 1}\n',
        b'{"add": {"path": 7}}\n',
        b'{"metaData": {"schemaString": 1}}',
    ],
)
def test_what_is_no_commit_is_refused(data):
    with pytest.raises(FormatError):
        Table().commit(0, parse_actions(data, "commit 0"))


def test_odd_fields_that_are_not_used_do_no_harm():
    odd = {"path": "a", "size": -1, "stats": "{", "partitionValues": 7, "deletionVector": 5}
    information = {"timestamp": 1 << 80, "operation": ["x"], "operationMetrics": 3, "operationParameters": "mode"}
    found, done = table([{"add": odd}, {"commitInfo": information}, {"unheard": {"of": 1}}])
    assert [file.size_bytes for file in found.live.values()] == [None]
    assert done[0].time is None
    assert len(done[0].operation) <= 40


def test_a_path_is_a_commit_by_folder_and_name():
    assert delta_log.commit_number(b"lake/t/_delta_log/" + name(7)) == (b"lake/t", 7)
    assert delta_log.commit_number(b"_delta_log/" + name(7)) == (b"", 7)
    for path in (b"_delta_log/7.json", b"x_delta_log/" + name(7), b"t/_delta_log/x/" + name(7), name(7)):
        assert delta_log.commit_number(path) is None


def test_two_logs_in_one_are_seen_by_what_comes_after_the_difference():
    assert delta_log.mixed_at({1: "a", 2: "mine", 3: "c"}, {1: "a", 2: "b", 3: "c"}) == 2
    assert delta_log.mixed_at({1: "a", 2: "mine", 3: "mine"}, {1: "a", 2: "b", 3: "c"}) is None
    assert delta_log.mixed_at({1: "a", 2: "b", 3: "c"}, {1: "a", 2: "b"}) is None


def test_the_hint_of_the_last_checkpoint_may_be_anything():
    assert delta_log.hinted_version(b'{"version": 4}') == 4
    assert [delta_log.hinted_version(data) for data in (b"", b"[]", b'{"version": "4"}', b"{" * 9)] == [None] * 4
