"""What push and pull transfer of runs."""

import os

import pytest

from dvlite.formats import record
from dvlite.formats.record import Input, Note, Output
from dvlite.oid import FILE, digest_bytes, format_oid
from dvlite.progress import NullProgress
from dvlite.repo.open_stores import open_remote
from dvlite.repo.repository import open_cache, open_repo
from dvlite.runs import share
from dvlite.runs.records import open_records
from tests.runs.recorded import name, oid, run


class Clone:
    """A repository, the run records in it, and its remote."""

    def __init__(self, project, store):
        project.dvlite("remote", "add", store)
        self.project, self.repo = project, open_repo(project.root, os.environ)
        self.records, self.cache = open_records(self.repo, NullProgress()), open_cache(self.repo)

    def put(self, number, **fields):
        one = run(number, project=self.repo.config.project, **fields)
        self.records.put(one)
        return one

    def outgoing(self):
        _, remote = open_remote(self.repo, self.cache, None, None)
        with remote:
            return share.outgoing(self.repo, remote, self.cache, "ada@example.com", NullProgress())

    def notes(self):
        parsed = [record.parse(data, "x") for _, data in self.records]
        return [note for note in parsed if isinstance(note, Note)]


@pytest.fixture
def clone(project, tmp_path):
    return Clone(project, tmp_path / "store")


def test_where_nothing_ran_nothing_is_sent_or_received(clone):
    assert clone.outgoing() is None
    _, remote = open_remote(clone.repo, clone.cache, None, None)
    with remote:
        assert share.receive(clone.repo, remote, NullProgress()) == 0


def test_logs_and_small_outputs_in_git_are_sent_if_the_cache_has_them(clone):
    texts = {word: word.encode() * 20 for word in ("log", "small", "data")}
    for word, data in texts.items():
        clone.project.write(word, data)
        clone.project.dvlite("add", word)
    oids = {word: format_oid(FILE, digest_bytes(data)) for word, data in texts.items()}
    outputs = (
        Output(path="small.json", oid=oids["small"], size_bytes=100, cached=False),
        Output(path="large.json", oid=oids["data"], size_bytes=2 << 20, cached=False),
        Output(path="data.bin", oid=oids["data"], size_bytes=100),
        Output(path="missing.json", oid=oid("missing"), size_bytes=100, cached=False),
    )
    one = clone.put(1, log=oids["log"], outputs=outputs)
    outgoing = clone.outgoing()
    assert outgoing.remote_runs.unsent == (name(one),)
    assert {digest for digest, _ in outgoing.contents} == {digest_bytes(texts[word]) for word in ("log", "small")}


def test_the_first_commits_of_runs_and_of_their_data_are_noted_once(clone):
    project = clone.project
    project.write("data/a", "a" * 100)
    project.dvlite("add", "data")
    project.commit("Add data")
    data = clone.repo.work_tree.tracked(broken=[])[0].pointer
    one = clone.put(1, inputs=(Input(path="data", oid=data.oid, size_bytes=100),))
    clone.put(2)  # in no lockfile
    project.write("dvlite.lock", f"    run: {name(one)}\n")
    project.commit("Lock")
    project.write("dvlite.lock", f"    run: {name(one)}\n# later\n")
    project.commit("Lock again")
    for _ in range(2):
        clone.outgoing()
        notes = {note.op: note for note in clone.notes()}
        assert len(clone.notes()) == len(notes) == 2
        assert (notes["commit"].run, notes["commit"].subject) == (name(one), "Lock")
        assert (notes["source"].content, notes["source"].subject) == (data.oid, "Add data")
        assert {note.user for note in notes.values()} == {"ada@example.com"}
