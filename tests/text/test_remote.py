"""The words of `remote`."""

from dvlite.commands.remote import (
    RemoteAddResult,
    RemoteChangeResult,
    RemoteCheck,
    RemoteListResult,
    RemoteRow,
    RemoteTestResult,
    RemoteTrustResult,
)
from dvlite.errors import RemoteError
from dvlite.show import Show
from dvlite.text.remote import text
from tests.text.samples import ORIGIN


def said(result, show=None):
    return list(text(result, show or Show()))


def test_remotes():
    assert said(
        RemoteAddResult(remote=ORIGIN, state="empty", writable=True, region="eu-west-1", latency_seconds=0.041)
    ) == [
        "origin = s3://acme-data/birds (default): reachable, empty, writable, region eu-west-1, 41 ms",
        "next: dvlite push",
    ]
    left = RemoteAddResult(remote=ORIGIN, unstaged=("dvlite.toml",))
    assert said(left)[-1] == "next: git add dvlite.toml && git commit; dvlite push"
    assert said(RemoteAddResult(remote=ORIGIN, state="unreachable", problem="no such bucket")) == [
        "origin = s3://acme-data/birds (default): unreachable (no such bucket)",
        "next: dvlite remote test origin",
    ]
    other = RemoteRow(name="b", url="https://x", trusted=False)
    assert said(RemoteListResult(remotes=(ORIGIN, other))) == [
        "origin = s3://acme-data/birds (default)",
        "b = https://x  not trusted: dvlite remote trust b",
    ]
    assert said(RemoteListResult())[0] == "No remote is configured."
    assert said(RemoteChangeResult(action="removed", name="a", defaults=("b",), default_changed=True)) == [
        "Removed remote a (its data is untouched); default is now b"
    ]
    assert said(RemoteTrustResult(place="https://x", config_path="/c")) == ["Trusted: https://x", "written to /c"]


def test_remote_test():
    checks = (
        RemoteCheck(name="write", ok=True, elapsed_seconds=0.01),
        RemoteCheck(name="read back", ok=False, elapsed_seconds=0.2, detail="denied"),
    )
    result = RemoteTestResult(name="origin", url="s3://b", ok=False, checks=checks, upload_bytes_per_second=1e6)
    assert said(result) == [
        "origin = s3://b",
        "  ok      write      10 ms",
        "  failed  read back  200 ms  denied",
        "  976.6 KiB/s up",
    ]
    assert isinstance(result.failure(Show()), RemoteError)
    assert result.failure(Show()).message == "remote 'origin' failed its test: read back: denied"
