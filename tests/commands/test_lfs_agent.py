"""The agent without git-lfs: the lines of its protocol. What the real client does with it: tests/commands/test_lfs_client.py."""

import hashlib
import json
import shutil

import pytest

from dvlite.errors import FormatError
from dvlite.formats import lfs_transfer
from tests.trees import noise

INIT = {"event": "init", "operation": "upload", "remote": "origin", "concurrent": False, "concurrenttransfers": 8}


class Lfs:
    """What git-lfs does: objects in its folder, requests to the agent."""

    def __init__(self, project, invoke):
        self.project, self._invoke = project, invoke
        self.objects = project.root / ".git" / "lfs" / "objects"

    def clean(self, data):
        """Puts an object into the folder, as `git add` does; returns its name."""
        name = hashlib.sha256(data).hexdigest()
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return name

    def path(self, name):
        return self.objects / name[:2] / name[2:4] / name

    def ask(self, event, *names, size=None, code=0):
        """Returns the answers to a request for each object."""
        sizes = {name: self.path(name).stat().st_size if size is None else size for name in names}
        requests = [INIT, *({"event": event, "oid": n, "size": sizes[n], "action": None} for n in names)]
        for request in requests[1:]:
            if event == "upload":
                request["path"] = str(self.path(request["oid"]))
        lines = "".join(json.dumps(each) + "\n" for each in [*requests, {"event": "terminate"}])
        done = self._invoke("lfs-agent", "serve", cwd=self.project.root, input=lines)
        assert done.returncode == code, done.stderr
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        assert answers.pop(0) == {}
        return [answer for answer in answers if answer["event"] == "complete"]

    def send(self, *names):
        assert self.ask("upload", *names) == [{"event": "complete", "oid": name} for name in names]

    def fetch(self, name, size):
        """Returns the bytes of an object, or the message of the error."""
        (answer,) = self.ask("download", name, size=size)
        if "error" in answer:
            return answer["error"]["message"]
        from pathlib import Path

        path = Path(answer["path"])
        assert path.parent == self.objects.parent / "tmp"
        return path.read_bytes()

    def forget(self):
        """Loses all that this clone has of the objects."""
        for path in (self.objects, self.project.root / ".git" / "dvlite"):
            shutil.rmtree(path)


@pytest.fixture
def lfs(shared, invoke):
    return Lfs(shared, invoke)


def stored(lfs, folder):
    return sorted((lfs.project.root.parent / "store" / folder).iterdir())


def test_objects_come_back_into_a_clone_that_has_nothing(lfs):
    contents = [b"", b"a", noise(3_000_000, seed=1), noise(2_000_000, seed=2)]
    names = [lfs.clean(data) for data in contents]
    lfs.send(*names)
    lfs.send(*names[:1])
    lfs.forget()
    for name, data in zip(names, contents, strict=True):
        assert lfs.fetch(name, len(data)) == data
    assert "is not on" in lfs.fetch("0" * 64, 1)
    assert "is not on" in lfs.fetch(names[1], 2)


def test_what_is_pushed_with_an_object_goes_in_its_round(lfs):
    project = lfs.project
    contents = [b"%d" % number for number in range(8)]
    names = [lfs.clean(data) for data in contents]
    first, second, third, private, lost, damaged, large, later = names

    def commit(*chosen):
        for name in chosen:
            project.write(f"{name}.bin", lfs_transfer.pointer(name, 1))
        project.git("add", "-A")
        project.git("commit", "-qm", "Change")

    commit(first)
    project.git("update-ref", "refs/remotes/origin/main", "HEAD")
    commit(second, lost, damaged)
    lfs.path(lost).unlink()
    lfs.path(damaged).write_bytes(b"?")
    project.git("checkout", "-qb", "private")
    commit(private)
    project.git("checkout", "-q", "-")
    commit(third, large)
    commit(later)
    with pytest.MonkeyPatch.context() as patch:
        rounds = recorded_pushes(patch)
        lfs.send(second, third, large, later)
    assert rounds == [{second}, {third, large, later}]  # one branch goes on from the third
    with pytest.MonkeyPatch.context() as patch:  # what git's remote has is asked for by `git lfs push --all`
        patch.setattr("dvlite.moving.lfs_objects._AT_ONCE", 3)
        rounds = recorded_pushes(patch)
        lfs.send(first, third, second, large, later)
    assert (rounds[0], len(rounds), set().union(*rounds)) == ({first}, 3, {first, second, third, large, later})
    lfs.forget()
    assert [lfs.fetch(name, 1) for name in (second, third)] == contents[1:3]
    assert "is not on" in lfs.fetch(private, 1)


def recorded_pushes(patch):
    """Returns a list that gets the objects of each round of a push."""
    from dvlite.moving.lfs_objects import LfsObjects

    rounds, push = [], LfsObjects._push

    def recorded(objects, chosen):
        rounds.append(set(chosen))
        push(objects, chosen)

    patch.setattr(LfsObjects, "_push", recorded)
    return rounds


def test_bytes_that_are_not_the_object_are_refused_on_both_ways(lfs):
    good, other = lfs.clean(b"good"), lfs.clean(b"othr")
    bad = lfs.clean(b"bad")
    lfs.path(bad).write_bytes(b"dab")
    lfs.send(good, other)
    (answer,) = lfs.ask("upload", bad)
    assert f"'{lfs.path(bad)}' is damaged" in answer["error"]["message"]
    for note in (lfs.project.root / ".git" / "dvlite" / "remote").glob("*/lfs/*"):
        rows = [note.read_bytes()[at : at + 72] for at in range(0, note.stat().st_size, 72)]
        if rows[0].hex().startswith(good):
            wrong = note, rows[0]
        else:
            named = rows[0]
    note, row = wrong
    note.chmod(0o644)
    note.write_bytes(row[:32] + named[32:])  # as a snapshot of a stranger could say
    assert "has another SHA-256" in lfs.fetch(good, 4)
    assert not any((lfs.objects.parent / "tmp").iterdir())
    lfs.forget()
    for pack in stored(lfs, "packs"):
        data = bytearray(pack.read_bytes())
        data[-200:] = bytes(200)
        pack.chmod(0o644)
        pack.write_bytes(data)
    assert lfs.fetch(good, 4) != b"good"


def test_a_collection_keeps_them_and_prune_removes_what_the_remote_has(lfs):
    sent, alone, used = lfs.clean(b"sent"), lfs.clean(b"alone"), lfs.clean(b"used")
    lfs.send(sent, used)
    project = lfs.project
    project.write("used.bin", lfs_transfer.pointer(used, 4))
    project.git("add", "used.bin")
    project.dvlite("gc", "--remote", "--yes", "--grace", "0s")
    project.dvlite("gc", "--remote", "--yes", "--grace", "0s")
    expected = {"objects": 1, "freed_bytes": 4, "in_use": 1, "absent": 1}
    for words in (["-n"], []):
        assert lfs.path(sent).exists()
        result = project.json("lfs-agent", "prune", *words)
        assert {key: result[key] for key in expected} == expected
    assert (lfs.path(sent).exists(), lfs.path(alone).exists(), lfs.path(used).exists()) == (False, True, True)
    shutil.rmtree(project.root / ".git" / "dvlite" / "cache")
    assert lfs.fetch(sent, 4) == b"sent"
    lfs.clean(b"sent")
    for name in ("packs", "index"):
        for each in stored(lfs, name):
            each.unlink()
    assert project.json("lfs-agent", "prune")["objects"] == 0


def test_an_object_that_was_purged_is_nowhere_and_does_not_come_back(lfs):
    data = noise(1000, seed=1)
    secret, other = lfs.clean(data), lfs.clean(b"other")
    lfs.send(secret, other)
    words = "--reason", "request 17", "--grace", "0s"
    project = lfs.project
    assert "is not tracked" in project.dvlite("purge", f"lfs/{'0' * 64}", *words, code=2).stderr
    plan = project.json("purge", f"lfs/{secret}", *words)
    assert [(row["path"], row["size_bytes"], row["asked"]) for row in plan["contents"]] == [
        (f"lfs/{secret}", 1000, True)
    ]
    assert f"rm {lfs.path(secret)}" in plan["warnings"][0]
    assert any(data in pack.read_bytes() for pack in stored(lfs, "packs"))
    project.dvlite("purge", f"lfs/{secret}", *words, "--yes")
    assert not any(data in pack.read_bytes() for pack in stored(lfs, "packs"))
    (answer,) = lfs.ask("upload", secret)
    assert "purged" in answer["error"]["message"]
    lfs.forget()
    assert "request 17" in lfs.fetch(secret, 1000)
    assert lfs.fetch(other, 5) == b"other"


def test_a_remote_that_cannot_be_reached_is_asked_once(lfs):
    names = [lfs.clean(b"%d" % i) for i in range(3)]
    asked = []

    def lost(*_):
        from dvlite.errors import RemoteError

        asked.append(1)
        raise RemoteError("no answer")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dvlite.moving.lfs_objects.LfsObjects._push", lost)
        answers = lfs.ask("upload", *names)
    assert [answer["error"] for answer in answers] == [{"code": 2, "message": "dvlite: no answer"}] * 3
    assert asked == [1]
    lfs.send(*names)


def test_install_sets_what_makes_git_lfs_run_the_agent_and_doctor_knows(lfs):
    project = lfs.project

    def lines():
        return [line for line in project.json("doctor", code=None)["lines"] if line["topic"] == "git-lfs"]

    before = project.git("config", "--local", "--list")
    assert lines() == []
    (warning,) = project.json("lfs-agent", "install")["warnings"]
    assert "git push" in warning
    assert [line["level"] for line in lines()] == ["ok", "warning"]
    project.write(".git/hooks.before-dvlite/pre-push", b'git lfs pre-push "$@"\n')  # as dvlite keeps it
    assert project.json("lfs-agent", "install", "-r", "origin")["warnings"] == []
    assert project.git("config", "lfs.customtransfer.dvlite.args") == "lfs-agent serve -r origin\n"
    assert [line["level"] for line in lines()] == ["ok"]
    project.git("config", "--unset", "lfs.pruneremotetocheck")
    assert [line["level"] for line in lines()] == ["warning"]
    project.dvlite("lfs-agent", "install", "--uninstall")
    assert project.git("config", "--local", "--list") == before


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b'{"event":"verify"}',
        b'{"event":"upload"}',
        b'{"event":"upload","oid":"../../x","size":1,"path":"x"}',
        b'{"event":"upload","oid":"%s","size":-1,"path":"x"}' % (b"0" * 64),
        b'{"event":"upload","oid":"%s","size":true,"path":"x"}' % (b"0" * 64),
        b'{"event":"upload","oid":"%s","size":1,"path":"a\\u0000b"}' % (b"0" * 64),
        b'{"event":"init","path":"%s"}' % (b"x" * lfs_transfer.LINE_BYTES),
    ],
)
def test_lines_that_git_lfs_does_not_send_are_refused(line):
    with pytest.raises(FormatError):
        lfs_transfer.parse_request(line)


@pytest.mark.parametrize("name", [b"a\\u0000b", b"\\ud800", b"x" * 5000])
def test_a_remote_that_no_command_line_can_hold_is_none(name):
    assert lfs_transfer.parse_request(b'{"event":"init","remote":"%s"}' % name).remote == ""
