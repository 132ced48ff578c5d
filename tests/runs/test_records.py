"""Where run records are kept: found again whatever was folded, damaged or killed."""

import os
import subprocess
import sys
import threading
import zlib
from functools import partial

import pytest

from dvlite.errors import DvliteError, FormatError
from dvlite.formats import record
from dvlite.runs import records as module
from dvlite.runs.filters import Filters
from dvlite.runs.index import open_index
from dvlite.runs.records import Records
from dvlite.store import batch
from tests.recording import RecordingProgress
from tests.runs import recorded
from tests.runs.recorded import name, note, run


@pytest.fixture
def records(tmp_path):
    return Records(tmp_path / "runs", RecordingProgress())


def everything(records):
    return {oid: record.parse(data, "x") for oid, data in records}


def test_what_was_put_is_read_and_listed(records):
    first, second = run(1), note(run(1), "tag", "best")
    names = [records.put(first), records.put(second)]
    assert names == [name(first), name(second)]
    assert [records.read(oid) for oid in names] == [first, second]
    assert everything(records) == {names[0]: first, names[1]: second}


def test_a_record_that_is_not_there_is_none(records):
    assert records.read(name(run(1))) is None
    assert list(records) == []
    assert not records.folder.exists()


def test_only_runs_are_looked_for(records):
    with pytest.raises(DvliteError, match="not the id of a run record"):
        records.read(recorded.oid("x"))


def test_putting_again_changes_nothing(records):
    records.put(run(1))
    records.put(run(1))
    assert len(records.loose()) == 1


def test_an_invalid_record_is_not_stored(records):
    with pytest.raises(FormatError):
        records.put(run(1, stage="a/b"))
    assert list(records) == []


def test_records_are_durable_when_put_or_when_synced(records, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd)))
    first = records.put(run(1))
    assert any("/new" in path for path in synced)
    synced.clear()
    later = [records.put(run(2), durable=False), records.put(run(3), durable=False)]
    assert synced == []
    records.sync()
    assert [path.rpartition("/")[2] for path in synced] == [*(oid[4:] for oid in later), "new"]
    synced.clear()
    records.sync()
    assert synced == []
    assert records.read(first) == run(1)


def test_many_loose_records_are_folded_into_a_batch(records):
    made = [run(number) for number in range(module.MOST_LOOSE + 5)]
    for number, one in enumerate(made):
        records.put(one, durable=number % 2 == 0)
    records.sync()
    assert len(records.loose()) == 4
    assert len(records.batches()) == 1
    assert everything(records) == {name(one): one for one in made}
    assert records.read(name(made[0])) == made[0]


def test_a_record_is_in_one_of_the_places_at_every_moment_of_a_fold(records, monkeypatch):
    """The fold is stopped before each of its system calls that change the folder; everything is there each time."""
    made = {records.put(run(number)): run(number) for number in range(6)}
    calls = 0
    with monkeypatch.context() as patched:
        for operation in ("replace", "unlink"):
            real = getattr(os, operation)

            def checked(*args, real=real):
                nonlocal calls
                calls += 1
                assert everything(Records(records.folder)) == made
                return real(*args)

            patched.setattr(os, operation, checked)
        records.fold()
    assert calls == 7
    assert records.loose() == set()
    assert everything(records) == made


def test_a_fold_that_dies_loses_nothing(records, monkeypatch):
    for at in range(1, 8):
        made = {records.put(run(number)): run(number) for number in range(6)}
        calls = 0

        def dying(*args, real):
            nonlocal calls
            calls += 1
            if calls == at:  # noqa: B023  # each round has its own
                raise KeyboardInterrupt
            return real(*args)

        with monkeypatch.context() as patch:
            for operation in ("replace", "unlink"):
                real = getattr(os, operation)
                patch.setattr(os, operation, lambda *args, real=real: dying(*args, real=real))
            with pytest.raises(KeyboardInterrupt):
                records.fold()
        assert everything(Records(records.folder)) == made
    records.fold()
    assert everything(Records(records.folder)) == made


def test_a_fold_that_cannot_write_leaves_the_records_where_they_are(records, monkeypatch):
    def full(self, name, data):
        raise DvliteError("no space")

    monkeypatch.setattr(Records, "adopt", full)
    made = {records.put(run(number)): run(number) for number in range(module.MOST_LOOSE + 2)}
    assert everything(records) == made


def test_a_reader_sees_every_record_while_another_process_folds(records):
    made = {records.put(run(number)) for number in range(200)}
    code = "import sys; from pathlib import Path; from dvlite.runs.records import Records; Records(Path(sys.argv[1])).fold()"
    folding = subprocess.Popen([sys.executable, "-c", code, str(records.folder)])
    while folding.poll() is None:
        assert {oid for oid, _ in Records(records.folder)} == made
    assert folding.returncode == 0
    assert records.loose() == set()


def test_writers_and_folds_at_the_same_time_lose_nothing(records, monkeypatch):
    monkeypatch.setattr(module, "MOST_LOOSE", 5)
    threads = [
        threading.Thread(target=lambda first=first: [Records(records.folder).put(run(first + i)) for i in range(25)])
        for first in (0, 100, 200)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(everything(records)) == 75


def folded(records, times, *, first=0):
    """Puts and folds so many records, each into a batch of its own."""
    made = {}
    for number in range(first, first + times):
        made[records.put(run(number))] = run(number)
        records.fold()
    return made


def test_many_small_batches_that_were_made_here_become_one(records):
    made = folded(records, module.MOST_SMALL)
    assert len(records.batches()) == module.MOST_SMALL
    made |= folded(records, 1, first=1000)
    assert len(records.batches()) == 1
    assert everything(records) == made


def test_large_batches_are_left_alone(records, monkeypatch):
    monkeypatch.setattr(module, "MOST_SMALL", 3)
    monkeypatch.setattr(module, "SMALL_BYTES", 2000)
    large = run(500, params={f"a:{i}": f"{i * i:x}" for i in range(1000)})
    records.put(large)
    records.fold()
    (kept,) = records.batches()
    made = folded(records, 4)
    assert len(records.batches()) == 2
    assert kept in records.batches()
    assert everything(records) == made | {name(large): large}


def test_batches_that_a_remote_has_stay(records, monkeypatch):
    monkeypatch.setattr(module, "MOST_SMALL", 3)
    made = folded(records, 3)
    first = records.batches()
    records.note_listed("one-all", sorted(first)[:2])
    records.note_listed("two-all", sorted(first)[2:])
    made |= folded(records, 3, first=10)
    assert len(records.batches()) == 6
    made |= folded(records, 1, first=20)
    assert len(records.batches()) == 4
    assert first < records.batches()
    assert everything(records) == made


def test_what_cannot_be_read_is_not_merged(records, monkeypatch):
    monkeypatch.setattr(module, "MOST_SMALL", 3)
    import zstandard

    made = folded(records, 2)
    newer = zstandard.compress(b'{"dvlite_runs":2}\n')
    records.adopt(batch.name_of(newer), newer)
    strange = record.dump(run(50)).replace(b"dvlite.run/1", b"dvlite.run/7")
    (unknown,) = batch.encode([strange], module.nonces())
    records.adopt(unknown.name, unknown.data)
    made |= folded(records, 1, first=10)
    assert len(records.batches()) == 2
    assert batch.name_of(newer) in records.batches()
    found = dict(records)
    assert found.pop(record.name(strange)) == strange
    assert found.keys() == made.keys()


def adopted(records, numbers):
    """Adopts a batch for each of these runs."""
    for number in numbers:
        (one,) = batch.encode([record.dump(run(number))], module.nonces())
        records.adopt(one.name, one.data)
    return {name(run(number)) for number in numbers}


@pytest.mark.parametrize("at", range(1, 7))
def test_a_merge_of_batches_may_die_at_any_moment(records, monkeypatch, at):
    """Before each of its system calls that change the folder, everything is there."""
    monkeypatch.setattr(module, "MOST_SMALL", 4)
    made = adopted(records, range(5))
    calls = 0

    def dying(*args, real):
        nonlocal calls
        calls += 1
        assert everything(Records(records.folder)).keys() == made
        if calls == at:
            raise KeyboardInterrupt
        return real(*args)

    with monkeypatch.context() as patch:
        for operation in ("replace", "unlink"):
            patch.setattr(os, operation, partial(dying, real=getattr(os, operation)))
        with pytest.raises(KeyboardInterrupt):
            records.merge_small()
    assert everything(Records(records.folder)).keys() == made
    made |= adopted(records, range(100, 105))
    records.merge_small()
    assert len(records.batches()) == 1
    assert everything(records).keys() == made


def test_a_reader_sees_every_record_while_another_process_merges(records):
    made = adopted(records, range(module.MOST_SMALL + 30))
    code = "import sys; from pathlib import Path; from dvlite.runs.records import Records; Records(Path(sys.argv[1])).merge_small()"
    merging = subprocess.Popen([sys.executable, "-c", code, str(records.folder)])
    while merging.poll() is None:
        assert {oid for oid, _ in Records(records.folder)} == made
    assert merging.returncode == 0
    assert len(records.batches()) == 1


def test_the_index_follows_a_merge(records, monkeypatch):
    monkeypatch.setattr(module, "MOST_SMALL", 4)
    made = adopted(records, range(5))
    with open_index(records) as before:
        records.merge_small()
        with open_index(records) as after:
            for index in (before, after):
                assert {row.oid for row in index.find(Filters())} == made
                assert all(index.run(oid) is not None for oid in made)
            assert after.count() == 5
    assert records.progress.warnings == []


def test_a_damaged_loose_file_is_named_set_aside_and_never_fatal(records):
    bad, good = records.put(run(1)), records.put(run(2))
    path = records.folder / "new" / bad[4:]
    os.chmod(path, 0o644)
    path.write_bytes(path.read_bytes()[:-5])
    assert list(everything(records)) == [good]
    assert records.read(bad) is None
    (warning,) = records.progress.warnings
    assert bad[4:] in warning
    assert (records.folder / "damaged" / bad[4:]).exists()
    records.put(run(1))
    assert records.read(bad) == run(1)


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_a_damaged_batch_is_named_set_aside_and_never_fatal(records, damage):
    for number in range(3):
        records.put(run(number))
    records.fold()
    (bad,) = records.batches()
    good = records.put(run(9))
    records.fold()
    path = records.folder / "batches" / bad
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    os.chmod(path, 0o644)
    path.write_bytes({"flipped": data, "cut": data[:-9], "empty": b""}[damage])
    assert list(everything(records)) == [good]
    (warning,) = records.progress.warnings
    assert bad in warning
    assert len(records.batches()) == 1


def test_a_batch_of_a_newer_version_is_passed_over_and_kept(records):
    import zstandard

    data = zstandard.compress(b'{"dvlite_runs":2}\n')
    records.adopt(batch.name_of(data), data)
    good = records.put(run(1))
    assert list(everything(records)) == [good]
    assert "later dvlite" in records.progress.warnings[0]
    assert records.batches() == {batch.name_of(data)}


def test_a_record_in_two_batches_is_listed_once(records):
    lines = [record.dump(run(number)) for number in range(3)]
    for _ in range(2):
        for made in batch.encode(lines, module.nonces()):
            records.adopt(made.name, made.data)
    assert len(records.batches()) == 2
    assert len(list(records)) == 3


def test_what_is_not_a_record_in_the_folder_is_left_alone(records):
    records.put(run(1))
    for stranger in (".dvl-0123456789abcdef", "README", "A" * 64):
        (records.folder / "new" / stranger).write_text("x")
    records.fold()
    assert len(os.listdir(records.folder / "new")) == 3
    assert records.progress.warnings == []


def test_a_line_is_read_from_where_it_lies_and_damage_is_noticed(records):
    for number in range(300):
        records.put(run(number))
    records.fold()
    (first,) = [found for found in records.batches() if len(list(records.lines(found))) > 200]
    line = list(records.lines(first))[100]
    place = (first, (line.frame, line.frame_bytes), line.start, len(line.data))
    assert records.read_line(*place) == line.data
    path = records.folder / "batches" / first
    os.chmod(path, 0o644)
    path.write_bytes(zlib.compress(b"x"))
    assert records.read_line(*place) is None
    os.unlink(path)
    assert records.read_line(*place) is None
