"""The promises of conftest.py: no test touches the user's home or leaves this machine."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest


def test_home_is_the_tests_own(isolated):
    assert Path.home() == isolated
    assert not [name for name in os.environ if name.startswith("DVLITE_")]


def test_git_knows_a_user_and_no_system_config(git_repo):
    email = subprocess.run(["git", "config", "user.email"], cwd=git_repo, capture_output=True, text=True, check=True)
    branch = subprocess.run(
        ["git", "branch", "--show-current"], cwd=git_repo, capture_output=True, text=True, check=True
    )
    assert (email.stdout, branch.stdout) == ("test@example.com\n", "main\n")


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_no_connection_leaves_this_machine(host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as client, pytest.raises(RuntimeError, match="tried to connect"):
        client.settimeout(1)
        client.connect((host, 80))


def test_no_name_is_looked_up():
    with pytest.raises(RuntimeError, match=r"tried to look up example\.com"):
        socket.getaddrinfo("example.com", 443)
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("store.invalid", 443)


def test_a_started_python_cannot_leave_this_machine_either():
    done = subprocess.run(
        [sys.executable, "-c", "import socket; socket.create_connection(('192.0.2.1', 80), 1)"],
        capture_output=True,
        text=True,
    )
    assert "NetworkForbidden" in done.stderr


def test_this_machine_can_be_reached():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass
