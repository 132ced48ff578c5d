"""A clone's committed config names a place; nothing goes there before this user approves it."""

import socket
import threading

import pytest

from tests.clones import Clone, git, start
from tests.trees import put

SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIDPLANTED",
    "AWS_SECRET_ACCESS_KEY": "PLANTEDSECRET",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class Ear:
    """A server that counts connections and hangs up."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.connections = 0
        self.heard = b""
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with client:
                client.settimeout(1)
                try:
                    data = client.recv(4096)
                except OSError:
                    data = b""
                if data == b"stop":
                    return
                self.connections += 1
                self.heard += data

    def close(self) -> None:
        with socket.create_connection(self._socket.getsockname()) as client:
            client.sendall(b"stop")
        self._thread.join()
        self._socket.close()


@pytest.fixture
def ear():
    made = Ear()
    yield made
    made.close()


@pytest.fixture
def stranger(tmp_path, invoke, ear) -> Clone:
    """A clone of somebody's repository whose committed config names an endpoint."""
    theirs = start(tmp_path / "theirs", invoke)
    put(theirs.path / "data" / "file", b"x")
    theirs.dv("add", "data")
    config = theirs.path / ".dvlite" / "config.yaml"
    config.write_text(
        f"{config.read_text()}core:\n  remote: origin\nremotes:\n  origin:\n    url: s3://bucket/prefix\n    endpoint_url: {ear.url}\n"
    )
    theirs.commit()
    return theirs.clone(tmp_path / "clone")


COMMANDS = [
    ["pull"],
    ["fetch"],
    ["push"],
    ["status"],
    ["status", "--remote"],
    ["checkout"],
    ["add", "-u"],
    ["remote", "list"],
    ["remote", "test"],
    ["diff"],
    ["ls"],
    ["doctor"],
    ["config"],
    ["cache", "prune", "--pushed"],
    ["pull", "--json"],
    ["get", ".", "data/file", "-o", "out"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_asks_a_place_that_was_not_approved(stranger, ear, command):
    done = stranger.run(*command, cwd=stranger.path, env=SECRETS)
    assert ear.connections == 0
    assert "Traceback" not in done.stderr
    assert "PLANTED" not in done.stdout + done.stderr


@pytest.mark.parametrize("command", [["pull"], ["fetch"], ["push"], ["status", "--remote"]], ids=" ".join)
def test_the_refusal_names_the_place_and_the_exact_command(stranger, ear, command):
    done = stranger.run(*command, cwd=stranger.path, env=SECRETS)
    assert done.returncode == 1
    place = f"{ear.url}/bucket/prefix" if command == ["push"] else ear.url
    assert f"error: remote 'origin' is at {place}, which this user has not approved" in done.stderr
    assert "; nothing was sent\n" in done.stderr
    assert f"hint: dvlite remote trust {place} " in done.stderr
    assert f"DVLITE_TRUST={place})\n" in done.stderr


def test_after_the_users_yes_the_request_goes_there(stranger, ear):
    stranger.run("remote", "trust", ear.url, cwd=stranger.path)
    assert ear.connections == 0
    done = stranger.run("pull", cwd=stranger.path, env=SECRETS | {"DVLITE_RETRY_SECONDS": "1"})
    assert ear.connections > 0
    assert done.returncode == 1


def test_consent_in_ci_is_an_environment_variable(stranger, ear):
    stranger.run("pull", cwd=stranger.path, env=SECRETS | {"DVLITE_TRUST": "https://elsewhere.invalid"})
    assert ear.connections == 0
    stranger.run("pull", cwd=stranger.path, env=SECRETS | {"DVLITE_TRUST": ear.url, "DVLITE_RETRY_SECONDS": "1"})
    assert ear.connections > 0


def test_consent_is_the_users_not_the_clones(stranger, ear, tmp_path):
    """What a stranger commits or leaves in the clone's own config cannot approve a place."""
    config = stranger.path / ".dvlite" / "config.yaml"
    config.write_text(f"{config.read_text()}trust:\n  - {ear.url}\n")
    done = stranger.run("pull", cwd=stranger.path, env=SECRETS)
    assert ear.connections == 0
    assert done.returncode != 0


def test_clone_asks_nobody_either(stranger, ear, tmp_path):
    done = stranger.run("clone", str(stranger.path), str(tmp_path / "again"), cwd=tmp_path, env=SECRETS)
    assert ear.connections == 0
    assert "has not approved" in done.stderr
    assert (tmp_path / "again" / "data.dvlite").exists()


def test_a_committed_folder_outside_the_repository_is_not_touched(tmp_path, invoke):
    target = tmp_path / "elsewhere"
    theirs = start(tmp_path / "theirs", invoke)
    put(theirs.path / "file", b"x")
    theirs.dv("add", "file")
    config = theirs.path / ".dvlite" / "config.yaml"
    config.write_text(f"{config.read_text()}core:\n  remote: origin\nremotes:\n  origin:\n    url: {target}\n")
    theirs.commit()
    clone = theirs.clone(tmp_path / "clone")
    assert "which this user has not approved" in clone.fails(1, "pull")
    assert "which this user has not approved" in clone.fails(1, "push")
    assert not target.exists()
    git(clone.path, "status")
