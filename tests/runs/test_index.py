"""What is asked of the records, and that the index behind it is only ever a shadow of them."""

import dataclasses
import os
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from dvlite import files
from dvlite.formats import record
from dvlite.formats.record import Code, Input, MapRun
from dvlite.oid import digest_run
from dvlite.runs import index_update, schema
from dvlite.runs import records as records_module
from dvlite.runs.filters import Filters, parse_condition
from dvlite.runs.index import NAME, open_index
from dvlite.runs.queries import RunQueries
from dvlite.runs.records import Records
from dvlite.store import batch
from tests.recording import RecordingProgress
from tests.runs import recorded
from tests.runs.recorded import START_NS, name, note, oid, run


@pytest.fixture
def records(tmp_path):
    return Records(tmp_path / "runs", RecordingProgress())


def filled(records, *found):
    for one in found:
        records.put(one)
    return open_index(records)


def numbers(index, made, **filters):
    """Returns the numbers of the runs found: positions in `made`."""
    names = [name(one) for one in made]
    return [names.index(row.oid) for row in index.find(Filters(**filters))]


# --- questions ---


def test_runs_of_a_key_are_the_ok_ones_newest_first(records):
    key = recorded.key("same")
    made = [run(number, key=key) for number in (1, 3, 2)]
    with filled(records, *made, run(4, key=key, status="failed"), run(5, key=key, status="tainted"), run(6)) as index:
        assert index.ok_runs(key) == [name(made[1]), name(made[2]), name(made[0])]
        assert index.ok_runs("0" * 64) == []


def test_runs_of_a_map_stage_with_one_base_are_there_whatever_their_status(records):
    one, other = (MapRun(base=base * 32, datums=3) for base in ("ab", "cd"))
    made = [run(number, mapped=one, status=status) for number, status in ((1, "ok"), (3, "failed"), (2, "canceled"))]
    with filled(records, *made, run(4, mapped=other), run(5)) as index:
        assert index.map_runs("ab" * 32) == [name(made[1]), name(made[2]), name(made[0])]
        assert index.map_runs("0" * 64) == []


def test_a_run_is_read_from_loose_files_and_from_batches(records):
    made = [run(number) for number in range(5)]
    with filled(records, *made) as index:
        assert index.run(name(made[2])) == made[2]
    records.fold()
    with open_index(records) as index:
        assert [index.run(name(one)) for one in made] == made
        assert index.run(name(run(99))) is None
        assert index.is_known(name(made[0]))
        assert not index.is_known(name(run(99)))


def test_a_run_that_moved_after_the_index_was_opened_is_found(records):
    one = run(1)
    with filled(records, one) as index:
        records.fold()
        assert index.run(name(one)) == one


def test_a_note_is_known_and_is_no_run(records):
    tag = note(run(1), "tag", "best")
    with filled(records, tag) as index:
        assert index.is_known(name(tag))
        assert index.run(name(tag)) is None


def test_a_row_says_what_a_listing_shows(records):
    cached = run(2, status="cached", of=name(run(1)), code=Code(commit="cd" * 20, dirty=("a.py",)), exit_code=None)
    with filled(records, run(1), cached) as index:
        row = index.row(name(cached))
        assert (row.id, row.stage, row.file, row.status) == (cached.id, "train", "dvlite.yaml", "cached")
        assert (row.start, row.seconds, row.code, row.dirty) == (cached.start, 30.0, "cd" * 20, True)
        assert (row.origin, row.user, row.host, row.exit_code) == (name(run(1)), "you@example.com", "gpu-3", None)
        assert index.row(name(run(7))) is None


def test_a_run_is_named_by_stage_and_digits_by_its_id_and_by_digits(records):
    one, other = run(1), run(2, stage="fit-2", file="sub/dir/dvlite.yaml")
    with filled(records, one, other) as index:
        digits = name(one)[4:]
        for text in (
            f"train-{digits[:6]}",
            f"train-{digits}",
            digits[:4],
            digits,
            name(one),
            f"run:{digits[:10]}",
            one.id,
        ):
            assert index.named(text) == [name(one)]
        digits = name(other)[4:]
        assert index.named(f"fit-2-{digits[:6]}") == [name(other)]
        assert index.named(f"sub/dir:fit-2-{digits[:6]}") == [name(other)]
        for text in (
            "",
            "train",
            "train-",
            f"fit-{digits[:6]}",
            f"other:fit-2-{digits[:6]}",
            digits[:3],
            "xyzw",
            "run:",
            "-",
        ):
            assert index.named(text) == []


def test_a_name_that_several_runs_have_gives_all_of_them(records):
    older, newer, digits = recorded.namesakes()
    with filled(records, older, newer, run(1_000_000)) as index:
        assert index.named(digits) == [name(newer), name(older)]


def test_content_is_found_by_digits_by_sha256_and_by_being_a_directory(records):
    with filled(records, run(1), run(2)) as index:
        model = oid("model 1")
        assert index.objects(model[7:15]) == [model]
        assert index.objects(model[7:16]) == [model]
        assert index.objects("0" * 8) == []
        assert index.by_sha256(oid("sha 1")[7:]) == [model]
        assert index.by_sha256(oid("sha 1")[7:16]) == [model]


def test_tags_take_effect_in_order_of_time_and_notes_and_commits_add_up(records):
    one = run(1)
    found = [
        note(one, "tag", "best", minute=1),
        note(one, "untag", "best", minute=2),
        note(one, "tag", "best", minute=3),
        note(one, "tag", "late", minute=2),
        note(one, "untag", "late", minute=9),
        note(one, "untag", "never", minute=9),
        note(one, "note", "second", minute=5),
        note(one, "note", "first", minute=4),
        note(one, "commit", "ab" * 20, minute=6),
        note(one, "commit", "ab" * 20, minute=7),
        note(one, "commit", "cd" * 20, minute=5),
    ]
    with filled(records, one, *reversed(found)) as index:
        assert index.tags(name(one)) == ["best"]
        assert [(row.text, row.user) for row in index.notes(name(one))] == [
            ("first", "you@example.com"),
            ("second", "you@example.com"),
        ]
        assert index.commits([name(one), name(run(2))]) == {name(one): ["cd" * 20, "ab" * 20]}
        assert index.tags(name(run(2))) == []


def test_notes_may_come_before_their_run(records):
    one = run(1)
    filled(records, note(one, "tag", "best")).close()
    with filled(records, one) as index:
        assert index.tags(name(one)) == ["best"]
        assert [row.oid for row in index.find(Filters(tags=["best"]))] == [name(one)]


def test_values_come_back_as_they_were(records):
    odd = {"a:int": 3, "a:float": 3.0, "a:text": "3", "a:true": True, "a:null": None, "a:list": [1, "x"], "é": "ü"}
    one, other = run(1, params=odd, metrics={}), run(2)
    with filled(records, one, other) as index:
        found = index.values([name(one), name(other)], "param")
        assert found[name(one)] == odd
        assert [type(found[name(one)][f"a:{kind}"]) for kind in ("int", "float", "true")] == [int, float, bool]
        assert found[name(other)] == {"params.yaml:lr": 0.01, "params.yaml:seed": 2}
        assert index.values([name(one)], "metric") == {name(one): {}}
        assert index.values([name(one)], "env") == {name(one): {"python": "3.11.9"}}


def test_names_that_are_not_utf8_come_back(records):
    one = run(
        1,
        inputs=(Input(path="caf\udce9", oid=oid("x"), size_bytes=1),),
        params={"caf\udce9": 1},
        user="caf\udce9",
    )
    with filled(records, one) as index:
        assert RunQueries(index).users([oid("x")]) == {oid("x"): [(name(one), "caf\udce9")]}
        assert index.values([name(one)], "param") == {name(one): {"caf\udce9": 1}}
        assert index.row(name(one)).user == "caf\udce9"


def test_two_records_of_the_same_moment_are_both_there(records):
    one, other = run(1), run(1, stage="other")
    assert schema.number(one.id) == schema.number(other.id)
    with filled(records, one, other) as index:
        assert {row.oid for row in index.find(Filters())} == {name(one), name(other)}


def test_numbers_sort_as_ids_do_and_bounds_lie_between():
    ids = [record.new_id(START_NS + i * 700, bytes([255 - i % 256] * 8)) for i in range(3000)]
    found = [schema.number(one) for one in ids]
    assert found == sorted(found)
    assert schema.number_at(START_NS // 10**6) <= found[0] < schema.number_at(START_NS // 10**6 + 1)
    assert schema.number("ffffffff-ffff-7fff-bfff-ffffffffffff") < 1 << 63


def test_hostile_values_do_no_harm(records):
    huge = {f"k{i}": "x" for i in range(2000)}
    one = run(1, params={**huge, "'; DROP TABLE run; --": 1, "n": 10**17}, metrics={"big": 1e308, "e": -1e308})
    with filled(records, one, run(2)) as index:
        assert numbers(index, [run(2), one], conditions=[parse_condition("param", "'; DROP TABLE run; --=1")]) == [1]
        assert len(index.find(Filters(tags=["' OR 1=1 --"]))) == 0
        assert len(index.find(Filters())) == 2


# --- a shadow of the records ---


def test_the_index_follows_the_folder(records):
    filled(records, run(1)).close()
    with filled(records, run(2)) as index:
        assert len(index.find(Filters())) == 2
    records.fold()
    records.put(run(3))
    with open_index(records) as index:
        assert len(index.find(Filters())) == 3
        assert [index.run(row.oid) is not None for row in index.find(Filters())] == [True] * 3


def test_records_folded_while_they_are_being_read_are_not_missed(records, monkeypatch):
    for number in range(5):
        records.put(run(number))
    real = Records.read_loose

    def folding(self, name):
        monkeypatch.setattr(Records, "read_loose", real)
        records.fold()
        return real(self, name)

    monkeypatch.setattr(Records, "read_loose", folding)
    with open_index(records) as index:
        assert len(index.find(Filters())) == 5


def test_what_is_gone_from_the_folder_is_gone_from_the_index(records):
    kept, lost = run(1), run(2)
    filled(records, kept, lost, note(lost, "tag", "best")).close()
    os.unlink(records.folder / "new" / name(lost)[4:])
    with open_index(records) as index:
        assert [row.oid for row in index.find(Filters())] == [name(kept)]
        assert RunQueries(index).makers([oid("model 2")]) == {}
        assert index.values([name(lost)], "param") == {name(lost): {}}
        assert not index.is_known(name(lost))
        assert index.tags(name(lost)) == ["best"]  # the note is still here


def test_nothing_is_written_when_nothing_is_new(records):
    filled(records, run(1)).close()
    before = (records.folder / NAME).stat()
    with open_index(records) as index:
        assert index.count() == 1
    after = (records.folder / NAME).stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)


def test_only_what_is_new_is_read(records, monkeypatch):
    for number in range(3):
        records.put(run(number))
    records.fold()
    open_index(records).close()
    records.put(run(9))
    read = []
    real = Records.read_batch
    monkeypatch.setattr(Records, "read_batch", lambda self, name: read.append(name) or real(self, name))
    with open_index(records) as index:
        assert index.count() == 4
    assert read == []


@pytest.mark.parametrize("damage", ["deleted", "empty", "rubbish", "cut", "other version", "no tables", "a folder"])
def test_an_index_that_cannot_be_used_is_made_anew(records, damage):
    filled(records, *(run(number) for number in range(40))).close()
    path = records.folder / NAME
    data = path.read_bytes()
    os.unlink(path)
    if damage == "other version":
        path.write_bytes(data)
        with sqlite3.connect(path) as connection:
            connection.execute("DELETE FROM run")
            connection.execute("PRAGMA user_version = 999")
        connection.close()
    elif damage == "no tables":
        with sqlite3.connect(path) as connection:
            connection.execute(f"PRAGMA user_version = {schema.VERSION}")
        connection.close()
    elif damage == "a folder":
        path.mkdir()
    elif damage != "deleted":
        path.write_bytes({"empty": b"", "rubbish": b"rubbish" * 5000, "cut": data[: len(data) // 3]}[damage])
    with open_index(records) as index:
        assert len(index.find(Filters())) == 40
        assert index.values([name(run(3))], "param")[name(run(3))]["params.yaml:seed"] == 3
    if damage != "a folder":
        with open_index(records) as index:
            assert len(index.find(Filters())) == 40


def test_damage_that_shows_only_in_a_query_is_mended_too(records):
    filled(records, *(run(number) for number in range(300))).close()
    path = records.folder / NAME
    data = bytearray(path.read_bytes())
    connection = sqlite3.connect(path)
    (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'kv'").fetchone()
    size = connection.execute("PRAGMA page_size").fetchone()[0]
    connection.close()
    data[(page - 1) * size : page * size] = b"\x07" * size
    path.write_bytes(data)
    with open_index(records) as index:
        assert index.values([name(run(3))], "param")[name(run(3))]["params.yaml:seed"] == 3
    with open_index(records) as index:
        assert index.values([name(run(4))], "param")[name(run(4))]["params.yaml:seed"] == 4


def test_a_journal_left_of_the_old_index_is_not_applied_to_the_new_one(records):
    filled(records, run(1)).close()
    path = records.folder / NAME
    old = sqlite3.connect(path, isolation_level=None)
    old.execute("PRAGMA cache_spill = 1")
    old.execute("PRAGMA cache_size = 1")
    old.execute("BEGIN")
    old.execute("DELETE FROM run")
    old.executemany("INSERT INTO path(path) VALUES(?)", [("x" * 900 + str(i),) for i in range(200)])
    journal = (records.folder / f"{NAME}-journal").read_bytes()
    assert journal
    path.unlink()
    (records.folder / f"{NAME}-journal").write_bytes(journal)
    old.close()
    later = [run(number) for number in range(2, 60)]
    with filled(records, *later) as index:
        assert {row.oid for row in index.find(Filters())} == {name(one) for one in (run(1), *later)}
    with open_index(records) as index:
        assert index.count() == 59


def test_on_a_disk_that_cannot_be_written_the_index_is_in_memory(reachable):
    records = Records(reachable / "runs", RecordingProgress())
    filled(records, run(1)).close()
    records.put(run(2))
    code = (
        "import fcntl, os, sys; from pathlib import Path; from dvlite.runs.index import open_index\n"
        "from dvlite.runs.records import Records; from dvlite.runs.filters import Filters\n"
        "os.geteuid() or os.setresuid(65534, 65534, 65534)\n"
        "with open_index(Records(Path(sys.argv[1]))) as index: print(len(index.find(Filters())))"
    )
    os.chmod(records.folder, 0o555)  # root may write anything: another user asks in its place
    try:
        done = subprocess.run([sys.executable, "-c", code, str(records.folder)], capture_output=True, text=True)
    finally:
        os.chmod(records.folder, 0o755)
    assert done.stdout == "2\n", done.stderr


class FailingConnection:
    def execute(self, *_):
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    def close(self):
        pass


def test_where_the_index_cannot_be_read_the_records_answer(records):
    with filled(records, run(1)) as index:
        index._connection.close()
        index._connection = FailingConnection()
        assert index.count() == 1
    assert (records.folder / NAME).exists()


def test_no_folder_is_made_by_asking(records):
    with open_index(records) as index:
        assert index.find(Filters()) == []
    assert not records.folder.exists()


def test_who_cannot_write_the_index_now_uses_what_is_there(records, monkeypatch):
    monkeypatch.setattr(index_update, "_PATIENCE_SECONDS", 0.1)
    filled(records, run(1)).close()
    records.put(run(2))
    with files.lock(records.folder / "index.lock"), open_index(records) as index:
        assert len(index.find(Filters())) == 1
    with open_index(records) as index:
        assert len(index.find(Filters())) == 2


def test_who_waits_for_the_first_index_gets_it_whole(records):
    records.put(run(1))
    found = []

    def ask():
        with open_index(records) as index:
            found.append(len(index.find(Filters())))

    with files.lock(records.folder / "index.lock"):
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(0.2)
        assert found == []
    thread.join(60)
    assert found == [1]


def test_many_processes_open_it_at_once(records):
    for number in range(300):
        records.put(run(number))
    code = (
        "import sys; from pathlib import Path; from dvlite.runs.index import open_index\n"
        "from dvlite.runs.records import Records; from dvlite.runs.filters import Filters\n"
        "with open_index(Records(Path(sys.argv[1]))) as index: print(len(index.find(Filters())))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(records.folder)], stdout=subprocess.PIPE) for _ in range(5)
    ]
    assert [process.communicate()[0] for process in started] == [b"300\n"] * 5


def test_a_process_killed_while_it_makes_the_index_leaves_a_sound_one(records):
    for number in range(600):
        records.put(run(number))
    code = "import sys; from pathlib import Path; from dvlite.runs import index, records; index.open_index(records.Records(Path(sys.argv[1])))"
    for wait in (0.05, 0.1, 0.15, 0.2, 0.3):
        process = subprocess.Popen([sys.executable, "-c", code, str(records.folder)])
        time.sleep(wait)
        process.kill()
        process.wait()
    with open_index(records) as index:
        assert len(index.find(Filters())) == 600


def test_threads_may_ask_at_the_same_time(records):
    with filled(records, *(run(number) for number in range(20))) as index:
        failures = []

        def asking():
            try:
                for number in range(20):
                    assert index.run(name(run(number))) is not None
                    assert len(index.find(Filters())) == 20
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=asking) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []


def test_records_of_a_newer_dvlite_are_counted_and_never_fatal(records):
    strange = record.dump(run(1)).replace(b"dvlite.run/1", b"dvlite.run/7")
    for made in batch.encode([strange, record.dump(run(2)), b"rubbish\n"], records_module.nonces()):
        records.adopt(made.name, made.data)
    with open_index(records) as index:
        assert [row.oid for row in index.find(Filters())] == [name(run(2))]
    (warning,) = records.progress.warnings
    assert "2 of 3 records" in warning
    assert "dvlite.run/7" in warning
    with open_index(records):
        assert len(records.progress.warnings) == 1


def test_a_batch_that_is_damaged_is_left_out_of_the_index(records):
    records.put(run(1))
    records.fold()
    (bad,) = records.batches()
    records.put(run(2))
    path = records.folder / "batches" / bad
    os.chmod(path, 0o644)
    path.write_bytes(b"x")
    with open_index(records) as index:
        assert [row.oid for row in index.find(Filters())] == [name(run(2))]
    assert len(records.progress.warnings) == 1


def test_a_batch_damaged_after_it_was_indexed_gives_no_wrong_record(records):
    made = [run(number) for number in range(3)]
    for one in made:
        records.put(one)
    records.fold()
    (bad,) = records.batches()
    with open_index(records) as index:
        path = records.folder / "batches" / bad
        (other,) = batch.encode(
            [record.dump(dataclasses.replace(one, seconds=1.0)) for one in made], records_module.nonces()
        )
        os.chmod(path, 0o644)
        path.write_bytes(other.data)
        assert index.run(name(made[0])) is None


def test_which_records_batches_have(records):
    lines = [record.dump(run(number)) for number in range(4)]

    def adopted(*wanted):
        (made,) = batch.encode([lines[number] for number in wanted], records_module.nonces())
        records.adopt(made.name, made.data)
        return made.name

    a, b, c = adopted(0, 1), adopted(1, 2), adopted(0, 1, 2)
    records.put(run(3))
    records.put(run(4, project="cd" * 16))
    with open_index(records) as index:
        assert index.not_in([a], recorded.PROJECT) == [name(run(2)), name(run(3))]
        assert index.not_in([a, b], recorded.PROJECT) == [name(run(3))]
        assert index.not_in([], "cd" * 16) == [name(run(4, project="cd" * 16))]
    assert records.redundant({a, b}, {c}) == {a, b}
    assert records.redundant({c}, {a, b}) == {c}
    assert records.redundant({b, c}, {a}) == set()
    assert records.only_in({a, b, c}) == 3
    assert records.only_in({a, b}) == 0
    assert {data for _, data in records.find(set(map(digest_run, lines)), within={a})} == {lines[0], lines[1]}


def test_records_whose_ids_begin_alike_are_indexed_in_few_looks(records):
    same = run(1).id
    for number in range(300):
        records.put(run(number, id=same), durable=False)
    looks = []
    first = sqlite3.connect(":memory:")
    first.execute("CREATE TABLE record(id INTEGER PRIMARY KEY)")
    first.set_trace_callback(looks.append)
    writer = index_update._Writer(first, records)
    for number in range(300):
        free = writer._free((1 << 63) - 2, bytes.fromhex(oid(number)[7:]), ())
        first.execute("INSERT INTO record VALUES(?)", (free,))
    first.close()
    assert len(looks) < 300 * 16
    with open_index(records) as index:
        assert index.count_runs() == 300
