"""Run records between clones: nothing is lost, whoever pushes at the same time and wherever a push dies."""

import threading

import pytest
import zstandard

from dvlite.errors import RemoteError
from dvlite.formats import record
from dvlite.oid import digest_bytes, digest_run
from dvlite.runs import records as records_module
from dvlite.runs import sync
from dvlite.runs.index import open_index
from dvlite.runs.records import Records
from dvlite.store import batch
from dvlite.store.cache import Cache
from dvlite.store.folder import FolderStore
from dvlite.store.remote import Remote
from tests.recording import RecordingProgress
from tests.runs.recorded import PROJECT, name, note, run
from tests.store.memory import MemoryStore, RecordingStore
from tests.store.world import HookStore, Interrupted

OTHER = "cd" * 16


@pytest.fixture(params=["memory", "folder"])
def store(request, tmp_path):
    return RecordingStore(MemoryStore() if request.param == "memory" else FolderStore(tmp_path / "remote"))


class Clone:
    """Records, and a way to a store."""

    def __init__(self, folder, store):
        cache = Cache(folder / "cache")
        cache.create()
        self.records = Records(folder / "runs", RecordingProgress())
        self.remote = Remote(store, cache, "origin", jobs=4)

    def put(self, *found):
        return [self.records.put(one) for one in found]

    def send(self):
        return sync.send(self.remote, self.records, PROJECT)

    def receive(self, project=PROJECT):
        return sync.receive(self.remote, self.records, project)

    def names(self):
        return {oid for oid, _ in self.records}

    @property
    def warnings(self):
        return self.records.progress.warnings


@pytest.fixture
def clone(tmp_path, store):
    made = []

    def clone_at(name, *, through=None):
        made.append(Clone(tmp_path / name, through or store))
        return made[-1]

    yield clone_at
    for one in made:
        one.remote.__exit__(None)


def batches(store):
    return sorted(entry.name for entry in store.list("runs/").entries)


def on_remote(store):
    """Returns every record on the remote, by name."""
    found = set()
    for stored in batches(store):
        found |= {record.name(line.data) for line in batch.decode(store.get(stored), "x")}
    return found


def test_records_reach_a_colleague(store, clone):
    mine, yours = clone("mine"), clone("yours")
    sent = mine.put(run(1), run(2), note(run(1), "tag", "best"))
    assert set(mine.send()) == set(sent)
    assert yours.receive() == 3
    assert yours.names() == set(sent)
    assert yours.records.read(sent[0]) == run(1)
    with open_index(yours.records) as index:
        assert index.tags(sent[0]) == ["best"]


def test_a_batch_is_named_by_its_bytes_below_its_project(store, clone):
    mine = clone("mine")
    mine.put(run(1))
    mine.send()
    (stored,) = batches(store)
    assert stored == f"runs/{PROJECT}/{digest_bytes(store.get(stored)).hex()}"


def test_one_push_is_one_batch_and_a_second_push_sends_nothing(store, clone):
    mine = clone("mine")
    mine.put(*(run(number) for number in range(40)))
    store.forget()
    mine.send()
    assert (store.count("list"), store.count("get"), store.count("put"), store.count("delete")) == (1, 0, 1, 0)
    store.forget()
    assert mine.send() == ()
    assert store.calls == [("list", f"runs/{PROJECT}/")]
    assert mine.records.loose() == set()
    assert len(mine.records.batches()) == 1


def test_what_is_here_is_not_fetched_again(store, clone):
    mine, yours = clone("mine"), clone("yours")
    mine.put(run(1))
    mine.send()
    yours.receive()
    store.forget()
    assert yours.receive() == 0
    assert mine.receive() == 0
    assert store.count("get") == 0
    assert store.count("list") == 2


@pytest.mark.parametrize(("many", "gets"), [(100, 2), (1000, 4)])  # small batches are read with their tables
def test_some_records_are_fetched_without_the_others_and_without_an_index(store, clone, many, gets):
    lines = [record.dump(run(number)) for number in range(2 * many)]
    for made in (
        *batch.encode(lines[:many], records_module.nonces()),
        *batch.encode(lines[many:], records_module.nonces()),
    ):
        store.put(f"runs/{PROJECT}/{made.name}", made.data)
    store.forget()
    yours = clone("yours")
    wanted = [record.name(lines[1]), record.name(lines[many]), name(run(10**6))]
    assert sync.receive_some(yours.remote, yours.records, PROJECT, wanted) == 2
    assert yours.names() == set(wanted[:2])
    assert (store.count("list"), store.count("get")) == (1, gets)
    assert yours.receive() == 2 * many - 2
    assert names_on(store) == yours.records.batches()  # the one of two records went
    assert not (yours.records.folder / "index.sqlite").exists()


def test_only_the_records_of_the_project_are_sent_and_all_can_be_fetched(store, clone):
    mine, theirs, all_of_them = clone("mine"), clone("theirs"), clone("all")
    mine.put(run(1), run(2, project=OTHER))
    assert mine.send() == (name(run(1)),)
    theirs.put(run(3, project=OTHER))
    sync.send(theirs.remote, theirs.records, OTHER)
    assert all_of_them.receive(None) == 2
    assert clone("one").receive(OTHER) == 1


def test_records_travel_on_to_another_remote(store, clone, tmp_path):
    mine, yours = clone("mine"), clone("yours")
    mine.put(run(1))
    mine.send()
    yours.receive()
    second = MemoryStore()
    yours.remote = Remote(second, yours.remote.cache, "second", jobs=2)
    assert yours.send() == (name(run(1)),)
    assert on_remote(second) == {name(run(1))}


def test_what_will_be_sent_is_known_before(store, clone):
    mine = clone("mine")
    mine.put(run(1))
    found = sync.compare(mine.remote, mine.records, PROJECT)
    assert found.unsent == (name(run(1)),)
    assert batches(store) == []
    mine.put(run(2))  # it is not among those whose logs were uploaded
    assert sync.send(mine.remote, mine.records, PROJECT, found) == (name(run(1)),)
    assert on_remote(store) == {name(run(1))}
    assert mine.records.read(name(run(2))) == run(2)


def test_records_folded_between_comparing_and_sending_are_sent(store, clone):
    mine = clone("mine")
    mine.put(run(1), run(2))
    found = sync.compare(mine.remote, mine.records, PROJECT)
    mine.records.fold()
    sync.send(mine.remote, mine.records, PROJECT, found)
    assert on_remote(store) == {name(run(1)), name(run(2))}


def test_very_many_records_are_sent_without_looking_each_up(store, clone, monkeypatch):
    monkeypatch.setattr(sync, "_ONE_BY_ONE", 5)
    mine = clone("mine")
    sent = mine.put(*(run(number) for number in range(20)))
    mine.send()
    assert on_remote(store) == set(sent)


def pushed_often(mine, times):
    for number in range(times):
        mine.put(run(number))
        mine.send()
    return {name(run(number)) for number in range(times)}


def test_many_small_batches_are_merged_into_one(store, clone):
    mine, yours = clone("mine"), clone("yours")
    pushed_often(mine, sync.MOST_SMALL - 1)
    yours.receive()
    made = pushed_often(mine, sync.MOST_SMALL)
    assert len(batches(store)) == sync.MOST_SMALL
    made |= set(mine.put(run(100)))
    mine.send()
    assert len(batches(store)) == 1
    assert on_remote(store) == made == mine.names()
    assert yours.receive() == 2
    assert yours.names() == made
    assert len(yours.records.batches()) == len(mine.records.batches()) == 1
    with open_index(yours.records) as index:
        assert index.count() == len(made)


def names_on(store):
    return {stored.rpartition("/")[2] for stored in batches(store)}


def test_what_a_remote_has_under_its_name_is_never_fetched_again(store, clone, monkeypatch):
    """However many batches there are here, and whatever is merged here."""
    monkeypatch.setattr(records_module, "MOST_SMALL", 2)
    mine, yours = clone("mine"), clone("yours")
    made = pushed_often(mine, 6)
    yours.receive()
    for number in range(5):
        made |= set(yours.put(run(100 + number)))
        yours.records.fold()
    assert len(yours.records.batches()) <= 6 + 2
    store.forget()
    assert yours.receive() == 0
    assert mine.send() == ()
    assert store.count("get") == 0
    assert len(yours.send()) == 5
    assert store.count("get") == 0
    assert on_remote(store) == made == yours.names()
    assert yours.records.batches() == names_on(store)


def test_what_was_merged_here_unawares_is_fetched_once(store, clone, monkeypatch):
    """As after a push that died before it noted what the remote has."""
    monkeypatch.setattr(records_module, "MOST_SMALL", 2)
    mine = clone("mine")
    made = pushed_often(mine, 4)
    for path in (mine.records.folder / "listed").iterdir():
        path.unlink()
    mine.records.merge_small()
    assert len(mine.records.batches()) == 1
    store.forget()
    assert mine.send() == ()
    assert store.count("get") == 4
    store.forget()
    assert mine.send() == ()
    assert mine.receive() == 0
    assert store.count("get") == 0
    assert mine.records.batches() == names_on(store)
    assert mine.names() == made


def test_batches_that_a_colleague_merged_go_with_the_next_push(store, clone):
    mine, yours = clone("mine"), clone("yours")
    made = pushed_often(mine, sync.MOST_SMALL)
    made |= set(yours.put(run(100)))
    yours.send()
    assert len(batches(store)) == 1
    made |= set(mine.put(run(101)))
    mine.send()
    assert mine.records.batches() == names_on(store)
    assert mine.names() == made


def test_what_a_remote_lost_is_known_until_it_is_sent_again(store, clone):
    mine, yours = clone("mine"), clone("yours")
    made = set(mine.put(run(100)))
    mine.send()
    pushed_often(yours, sync.MOST_SMALL)  # merged: the batch is gone, and nothing is lost
    assert sync.vanished(mine.remote, mine.records, PROJECT, names_on(store)) == set()
    mine.receive()
    assert mine.records.listed() == names_on(store)
    made = set(mine.put(run(101)))
    mine.send()
    store.delete(sorted(set(batches(store)) - {f"runs/{PROJECT}/{name}" for name in yours.records.batches()}))
    for _ in range(2):
        mine.receive()
        assert sync.vanished(mine.remote, mine.records, PROJECT, names_on(store)) == made
    assert set(mine.send()) == made
    assert sync.vanished(mine.remote, mine.records, PROJECT, names_on(store)) == set()
    assert mine.records.listed() == names_on(store)


def test_two_remotes_take_turns_without_fetching_anything_again(store, clone):
    mine, second = clone("mine"), RecordingStore(MemoryStore())
    other = Remote(second, mine.remote.cache, "second", jobs=2)
    made = set()
    for number in range(sync.MOST_SMALL * 2):
        made |= set(mine.put(run(number)))
        mine.send()
        sync.send(other, mine.records, PROJECT)
    sync.receive(other, mine.records, PROJECT)
    mine.receive()
    assert (store.count("get"), second.count("get")) == (0, 0)
    assert on_remote(store) == on_remote(second) == mine.names() == made
    assert mine.records.batches() == names_on(store) | names_on(second)
    other.__exit__(None)


def test_large_batches_are_not_merged_again(store, clone, monkeypatch):
    monkeypatch.setattr(sync, "_SMALL_RAW_BYTES", 500)
    mine = clone("mine")
    pushed_often(mine, sync.MOST_SMALL + 4)
    assert len(batches(store)) == sync.MOST_SMALL + 4


def test_a_merge_deletes_only_what_it_merged(store, clone, monkeypatch):
    monkeypatch.setattr(sync, "_SMALL_RAW_BYTES", 20_000)
    mine = clone("mine")
    large = run(500, params={f"a:{i}": "x" * 50 for i in range(500)})
    expected = set(mine.put(large))
    mine.send()
    (kept,) = batches(store)
    expected |= pushed_often(mine, sync.MOST_SMALL + 1)
    assert len(batches(store)) == 2
    assert kept in batches(store)
    assert on_remote(store) == mine.names() == expected


def test_a_merge_keeps_records_that_this_dvlite_does_not_know(store, clone):
    strange = record.dump(run(1)).replace(b"dvlite.run/1", b"dvlite.run/7")
    (made,) = batch.encode([strange], records_module.nonces())
    store.put(f"runs/{PROJECT}/{made.name}", made.data)
    mine = clone("mine")
    expected = pushed_often(mine, sync.MOST_SMALL) | {record.name(strange)}
    assert len(batches(store)) == 1
    assert on_remote(store) == expected


@pytest.mark.parametrize("damage", ["flipped", "not named so", "no batch", "newer", "bomb"])
def test_a_hostile_batch_is_named_left_alone_and_not_fatal(store, clone, damage):
    (made,) = batch.encode([record.dump(run(50))], records_module.nonces())
    data = {
        "flipped": made.data[:40] + bytes([made.data[40] ^ 1]) + made.data[41:],
        "not named so": zstandard.compress(b'{"dvlite_runs":1}\n'),
        "no batch": b"rubbish",
        "newer": zstandard.compress(b'{"dvlite_runs":2}\n'),
        "bomb": zstandard.compress(b'{"dvlite_runs":1}\n') + zstandard.compress(b"\n" * (70 << 20)),
    }[damage]
    kept = made.name if damage in {"flipped", "not named so"} else digest_bytes(data).hex()
    store.put(f"runs/{PROJECT}/{kept}", data)
    mine, yours = clone("mine"), clone("yours")
    expected = pushed_often(mine, sync.MOST_SMALL + 1)
    assert yours.receive() == len(expected)
    for one in (mine, yours):
        assert all(kept in warning for warning in one.warnings)
        assert one.names() == expected
    assert yours.warnings
    assert store.get(f"runs/{PROJECT}/{kept}") == data
    assert len(batches(store)) == 2


def test_a_batch_damaged_on_the_remote_is_sent_again_by_who_has_its_records(store, clone):
    mine, yours = clone("mine"), clone("yours")
    mine.put(run(1))
    mine.send()
    (bad,) = batches(store)
    store.delete([bad])
    store.put(bad, b"rubbish")
    yours.put(run(1))
    assert yours.send() == (name(run(1)),)
    assert clone("third").receive() == 1


def damaged_in_the_middle(store):
    """Puts a batch of three frames on the remote whose second one is damaged; returns its name, and its records that are good."""
    lines = [record.dump(run(i)) for i in range(9)]
    header, frames = b'{"dvlite_runs":1,"nonce":"' + b"0" * 32 + b'"}\n', []
    compressor = zstandard.ZstdCompressor(write_checksum=True)
    for i in range(3):
        three = lines[3 * i : 3 * i + 3]
        frames.append((compressor.compress((b"" if i else header) + b"".join(three)), list(map(digest_run, three))))
    sound = batch._finish(frames).data
    at = len(frames[0][0]) + len(frames[1][0]) - 1
    kept = f"runs/{PROJECT}/{batch.name_of(sound)}"
    store.put(kept, sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :])
    return kept, {record.name(line) for line in (*lines[:3], *lines[6:])}, sound


def test_good_records_of_a_damaged_batch_are_saved_and_then_it_is_dropped(store, clone):
    bad, good, sound = damaged_in_the_middle(store)
    mine = clone("mine")
    mine.receive()
    assert mine.names() == good
    assert batches(store) == [bad]
    mine.send()
    assert bad not in batches(store)
    assert on_remote(store) == good
    colleague = clone("colleague")  # who fetched it while it was sound
    colleague.records.adopt(batch.name_of(sound), sound)
    colleague.send()
    assert len(on_remote(store)) == 9


def test_a_damaged_batch_is_dropped_only_once_its_good_records_are_acknowledged(store, clone):
    bad, _, _ = damaged_in_the_middle(store)

    def die():
        raise Interrupted

    mine = clone("mine", through=HookStore(store, 1, die, lambda operation, _: operation == "put"))
    with pytest.raises(Interrupted):
        mine.send()
    assert batches(store) == [bad]


def test_what_is_no_batch_is_set_aside_by_a_repair_once_its_bytes_are_kept_here(store, clone):
    mine = clone("mine")
    mine.put(run(1))
    mine.send()
    whole, stray = batches(store)[0].rpartition("/")[2], "ab" * 32
    store.put(f"runs/{PROJECT}/{stray}", b"no batch")
    sync.send_again(mine.remote, mine.records, PROJECT, [whole, stray])
    assert names_on(store) == {whole}  # that one is sound by now
    assert (mine.records.folder / "damaged" / stray).read_bytes() == b"no batch"


def test_one_bad_answer_is_no_damage_on_the_remote(store, clone):
    bad, _, sound = damaged_in_the_middle(store)
    rotten = store.get(bad)
    store.delete([bad])
    store.put(bad, sound)

    class Once:
        def __init__(self):
            self.answers = [rotten]

        def __getattr__(self, name):
            return getattr(store, name)

        def get(self, name, *, start=None, end=None):
            return self.answers.pop() if self.answers else store.get(name, start=start, end=end)

    mine = clone("mine", through=Once())
    mine.send()
    assert bad in batches(store)
    assert len(mine.names()) == 9
    assert not mine.warnings


def test_a_batch_merged_away_while_it_is_fetched_is_found_in_the_merged_one(store, clone):
    mine = clone("mine")
    expected = pushed_often(mine, sync.MOST_SMALL)

    def merge():
        mine.put(run(100))
        mine.send()

    hooked = HookStore(store, 3, merge, lambda operation, _: operation == "get")
    yours = clone("yours", through=hooked)
    assert yours.receive() == sync.MOST_SMALL + 1
    assert hooked.happened
    assert yours.names() == expected | {name(run(100))}
    assert yours.warnings == []


def test_a_remote_that_never_holds_still_is_an_error(store, clone):
    class Vanishing(HookStore):
        def get(self, name, *, start=None, end=None):
            self.store.delete([name])
            self.store.put(f"runs/{PROJECT}/{digest_bytes(name.encode()).hex()}", b"x")
            return self.store.get(name, start=start, end=end)

    store.put(f"runs/{PROJECT}/{'0' * 64}", b"x")
    with pytest.raises(RemoteError, match="changed each time"):
        clone("mine", through=Vanishing(store, 0, lambda: None)).receive()


def test_two_pushers_at_once_lose_nothing(store, clone):
    clones = [clone(f"clone{number}") for number in range(3)]
    made = {}
    for number in range(len(clones)):
        made[number] = [run(number * 1000 + i) for i in range(12)]

    failures = []

    def pushing(number):
        try:
            for one in made[number]:
                clones[number].put(one)
                clones[number].send()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=pushing, args=(number,)) for number in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    expected = {name(one) for found in made.values() for one in found}
    assert on_remote(store) == expected
    late = clone("late")
    late.receive()
    assert late.names() == expected


@pytest.mark.parametrize("operation", ["list", "get", "put", "delete"])
@pytest.mark.parametrize("at", [1, 2])
def test_any_request_of_a_merging_push_may_be_its_last(store, clone, operation, at):
    other, mine_before = clone("other"), clone("mine")
    expected = pushed_often(other, sync.MOST_SMALL)
    if operation != "get":
        mine_before.receive()
    expected |= set(mine_before.put(run(100)))

    def die():
        raise Interrupted

    hooked = HookStore(store, at, die, lambda made, _: made == operation)
    mine = clone("mine", through=hooked)
    if (operation, at) in {("list", 2), ("delete", 2)}:
        mine.send()  # there is one of each only
    else:
        with pytest.raises(Interrupted):
            mine.send()
    clone("mine").send()
    assert on_remote(store) == expected
    late = clone("late")
    late.receive()
    assert late.names() == expected
