import os
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from dvlite.commands import remote
from dvlite.errors import Untrusted, UsageError
from dvlite.formats import store_config
from dvlite.progress import NullProgress
from dvlite.repo import config_files
from dvlite.repo.repository import open_repo
from tests.copies import copy_of, initialised
from tests.store.company import refuses, running_company

QUIET = NullProgress()


@pytest.fixture
def work(tmp_path, monkeypatch):
    folder = copy_of("init", initialised, tmp_path / "repo")
    monkeypatch.chdir(folder)
    return folder


def opened(folder=None):
    return open_repo(folder or Path(), os.environ)


def added(name="origin", url="../store", *, options=None, **flags):
    return remote.remote_add(opened(), name, url, options=options or {}, progress=QUIET, **flags)


def committed(work):
    return (work / ".dvlite" / "config.yaml").read_text()


def user_config():
    return config_files.path_of(config_files.USER, None, os.environ)


def test_the_first_remote_is_the_default_and_staged(work):
    result = added()
    assert (result.state, result.writable, result.problem) == ("empty", True, None)
    assert (result.remote.default, result.remote.trusted, result.staged) == (True, True, (".dvlite/config.yaml",))
    assert not added("backup", "../backup").remote.default
    assert added("third", "../third", default=True).remote.default
    rows = remote.remote_list(opened(), progress=QUIET).remotes
    assert [(row.name, row.url, row.default) for row in rows] == [
        ("backup", "../backup", False),
        ("origin", "../store", False),
        ("third", "../third", True),
    ]


def test_a_relative_folder_is_relative_to_each_clone(work, tmp_path):
    (work / "sub").mkdir()
    repo = opened(work / "sub")
    remote.remote_add(repo, "origin", "../../store", options={}, progress=QUIET)
    assert "url: ../store\n" in committed(work)
    subprocess.run(["git", "commit", "--quiet", "-m", "Remote"], check=True)
    (tmp_path / "else").mkdir()
    subprocess.run(["git", "clone", "--quiet", str(work), str(tmp_path / "else" / "copy")], check=True)
    with pytest.raises(Untrusted) as caught:
        opened(tmp_path / "else" / "copy").remote()
    assert caught.value.place == str(tmp_path / "else" / "store")


def test_adding_is_consent_kept_with_the_user(work):
    result = added(url="s3://bucket/x", options={"endpoint_url": "http://127.0.0.1:1"})
    assert (result.state, result.remote.trusted) == ("unreachable", True)
    assert "127.0.0.1" in result.problem
    assert "http://127.0.0.1:1" in user_config().read_text()
    assert stat.S_IMODE(user_config().stat().st_mode) == 0o600
    assert "trust" not in committed(work)
    user_config().unlink()
    with pytest.raises(Untrusted):
        opened().remote()


def test_adding_approves_pushing_there_and_nowhere_else(work):
    added(url="s3://acme-data/birds")
    assert opened().remote(to_push=True).name == "origin"
    text = committed(work)
    for other in ("s3://stranger/birds", "s3://acme-data", "s3://acme-data/other", "../store"):
        (work / ".dvlite" / "config.yaml").write_text(text.replace("s3://acme-data/birds", other))
        with pytest.raises(Untrusted, match=r"\(approved: s3://acme-data/birds\)"):
            opened().remote(to_push=True)


def test_an_existing_store_is_recognised(work, tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "config").write_bytes(store_config.dump(store_config.DEFAULT))
    assert added().state == "existing"


def test_a_folder_whose_parent_is_missing_is_unreachable(work):
    assert added(url="/nonexistent/deep/store").state == "unreachable"


def test_secrets_go_only_into_the_local_file(work):
    before = committed(work)
    with running_company() as server:
        secrets = {"access_key_id": "AK", "secret_access_key": "SK", "endpoint_url": server.url}
        with pytest.raises(UsageError, match="not allowed in a committed file") as caught:
            added(url="s3://bucket", options=secrets)
        assert "--local" in caught.value.hint
        assert committed(work) == before
        result = added(url="s3://bucket", options=secrets, local=True)
    assert committed(work) == before
    assert result.staged == ()
    assert result.remote.options == {"endpoint_url": server.url}
    assert opened().remote().options["secret_access_key"] == "SK"


@pytest.mark.parametrize(
    ("name", "url", "options", "words"),
    [
        ("a b", "s3://bucket", {}, "cannot be the name"),
        ("origin", "ftp://x", {}, "not a kind of remote"),
        ("origin", "s3://bucket", {"colour": "red"}, "not an option"),
        ("origin", "s3://bucket", {"region": "evil.com/"}, "not a region"),
        ("origin", "simplecache::s3://b", {}, "chained"),
        ("origin", ".", {}, "has other files"),
        ("origin", ".git/store", {}, "has other files"),
    ],
)
def test_what_cannot_be_a_remote_writes_nothing(work, name, url, options, words):
    before = committed(work)
    with pytest.raises(UsageError, match=words):
        added(name, url, options=options)
    assert committed(work) == before
    assert not user_config().exists()


def test_a_name_is_given_once(work):
    added()
    with pytest.raises(UsageError, match="there is a remote 'origin' already"):
        added(url="../other")


def test_adding_a_remote_again_does_what_a_stopped_run_left(work):
    added(options={"region": "eu-west-1"}, url="s3://bucket")
    approved = user_config().read_bytes()
    user_config().unlink()
    with pytest.raises(UsageError, match="there is a remote 'origin' already"):
        added(url="s3://bucket")
    assert not user_config().exists()
    added(options={"region": "eu-west-1"}, url="s3://bucket")
    assert user_config().read_bytes() == approved


def test_a_folder_in_the_work_tree_is_warned_of(work):
    assert "keep git from adding it" in added(url="store").warnings[0]


def test_removing_takes_the_remote_out_of_all_files(work):
    added(options=None)
    added("backup", "../backup")
    added(url="../store2", local=True)
    result = remote.remote_remove(opened(), "origin", progress=QUIET)
    assert (result.default, result.staged) == ("backup", (".dvlite/config.yaml",))
    assert opened().config.remote_names == ("backup",)
    assert "origin" not in committed(work)
    with pytest.raises(UsageError, match="there is no remote 'origin'"):
        remote.remote_remove(opened(), "origin", progress=QUIET)


def test_a_removal_that_was_stopped_is_staged_by_the_same_command(work):
    added()
    subprocess.run(["git", "commit", "-qm", "Remote"], cwd=work, check=True)
    remote.remote_remove(opened(), "origin", stage=False, progress=QUIET)
    assert remote.remote_remove(opened(), "origin", progress=QUIET).staged == (".dvlite/config.yaml",)
    with pytest.raises(UsageError, match="there is no remote 'origin'"):
        remote.remote_remove(opened(), "origin", progress=QUIET)


def test_a_remote_is_changed_in_the_file_that_names_it(work):
    added(url="s3://bucket/data", options={"region": "eu-west-1"})
    done = remote.remote_set(
        opened(), "origin", options={"region": "", "endpoint_url": "http://127.0.0.1:1"}, progress=QUIET
    )
    assert (done.remote.options, done.staged) == ({"endpoint_url": "http://127.0.0.1:1"}, (".dvlite/config.yaml",))
    opened().remote(to_push=True)  # what the user typed is approved
    with pytest.raises(UsageError, match="not an option of a file remote"):
        remote.remote_set(opened(), "origin", "../store", options={}, progress=QUIET)
    remote.remote_set(opened(), "origin", "../store", options={"endpoint_url": ""}, progress=QUIET)
    assert "url: ../store" in committed(work)


def test_a_remote_keeps_all_but_its_name(work):
    added()
    added("backup", "../backup")
    remote.remote_default(opened(), ["origin", "backup"], progress=QUIET)
    with pytest.raises(UsageError, match="there is a remote 'backup' already"):
        remote.remote_rename(opened(), "origin", "backup", progress=QUIET)
    assert remote.remote_rename(opened(), "origin", "main", progress=QUIET).defaults == ("main", "backup")
    assert opened().remote("main").location.folder == (work / "../store").resolve()


def test_the_default_changes(work):
    added()
    added("backup", "../backup")
    assert remote.remote_default(opened(), ["backup"], progress=QUIET).default == "backup"
    assert opened().remote().name == "backup"
    with pytest.raises(UsageError, match="there is no remote 'none'"):
        remote.remote_default(opened(), ["none"], progress=QUIET)


@pytest.mark.parametrize(
    ("given", "place"),
    [("https://Minio.Example.com/", "https://minio.example.com"), ("https://x.example:443", "https://x.example"),
     ("/srv/store/", "/srv/store"), ("s3://bucket/x/", "s3://bucket/x")],
)  # fmt: skip
def test_trust_is_kept_once_in_one_spelling(work, given, place):
    first = remote.remote_trust(os.environ, given)
    assert (first.place, first.already, first.config_path) == (place, False, str(user_config()))
    assert remote.remote_trust(os.environ, place).already
    trusted = opened().config
    assert trusted.trust == (place,)
    assert trusted.trust_to_push == (() if place.startswith("https") else (place,))


def test_a_remote_can_be_trusted_by_its_name(work):
    added(url="s3://bucket", options={"endpoint_url": "http://127.0.0.1:1"})
    user_config().unlink()
    assert not remote.remote_list(opened(), progress=QUIET).remotes[0].trusted
    assert remote.remote_trust(os.environ, "origin").place == "http://127.0.0.1:1/bucket"
    assert opened().remote().name == opened().remote(to_push=True).name == "origin"


def test_a_bucket_is_approved_for_the_project_it_is_typed_in(work):
    remote.remote_trust(os.environ, "s3://bucket/x")
    place = committed(work)
    (work / ".dvlite" / "config.yaml").write_text(f"{place}remotes: {{origin: {{url: s3://bucket/x}}}}\n")
    assert opened().remote(to_push=True).name == "origin"
    (work / ".dvlite" / "config.yaml").write_text(f"project: {'1' * 32}\nremotes: {{origin: {{url: s3://bucket/x}}}}\n")
    with pytest.raises(Untrusted):
        opened().remote(to_push=True)


def test_nothing_is_sent_before_trust(work):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.3)
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        (work / ".dvlite" / "config.yaml").write_text(
            f"project: {'0' * 32}\nremotes:\n  origin:\n    url: s3://bucket\n    endpoint_url: {endpoint}\n"
        )
        with pytest.raises(Untrusted):
            remote.remote_test(opened(), None, progress=QUIET)
        remote.remote_list(opened(), progress=QUIET)
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_folder_passes_the_test_and_is_left_as_it_was(work, tmp_path):
    added()
    result = remote.remote_test(opened(), None, progress=QUIET)
    assert result.ok
    assert [check.name for check in result.checks] == [
        "write",
        "read back",
        "read a part",
        "list fresh",
        "create only once",
        "remove",
    ]
    assert result.upload_bytes_per_second > 0
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []


def test_a_store_that_cannot_be_written_fails_the_test(work):
    added(url="/nonexistent/deep/store")
    result = remote.remote_test(opened(), None, progress=QUIET)
    assert not result.ok
    assert [check.ok for check in result.checks] == [False]
    assert "/nonexistent" in result.checks[0].detail


def test_a_bucket_passes_the_test(work, weed, s3_url):
    result = added(url=s3_url, options={"endpoint_url": weed.endpoint_url})
    assert (result.state, result.writable, result.problem) == ("empty", True, None)
    tested = remote.remote_test(opened(), None, progress=QUIET)
    assert tested.ok, tested.checks


def test_a_missing_bucket_is_said_when_it_is_added(work, weed, s3_url):
    result = added(url="s3://no-such-bucket-here/x", options={"endpoint_url": weed.endpoint_url})
    assert result.state == "unreachable" or not result.writable
    assert "no-such-bucket-here" in result.problem


def test_credentials_that_fail_are_one_error_and_its_hint_with_no_line_of_the_libraries(work, run_cli):
    """They log a traceback for each request, and Python prints what no handler takes."""
    with running_company() as server:
        server.rules = [refuses("Assume", 403, "AccessDenied")]
        run_cli("remote", "add", "s3://bucket/x", "-o", f"endpoint_url={server.url}", cwd=work)
        role = {
            "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/birds",
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(work / "token"),
        }
        (work / "token").write_text("a.web.identity")
        done = run_cli(
            "push", "--all-commits", cwd=work, env=role | {"AWS_REGION": "x", "AWS_ENDPOINT_URL_STS": server.url}
        )
    assert done.returncode == 1
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["error", "hint"]
    assert "AssumeRoleWithWebIdentity: 403 AccessDenied" in done.stderr


@pytest.mark.parametrize(
    ("rules", "writable", "words"),
    [
        ([refuses("DeleteObjects", 501, "NotImplemented")], True, None),
        ([refuses("Delete", 403, "AccessDenied")], True, "nothing can be deleted, so gc --remote will fail"),
        ([refuses("Put", 403, "AccessDenied")], False, "access denied (PutObject "),
        ([refuses("List", 403, "AccessDenied")], None, "access denied (ListObjectsV2 "),
    ],
)
def test_adding_says_what_the_bucket_does_not_let_one_do(work, monkeypatch, rules, writable, words):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with running_company() as server:
        server.rules = rules
        result = added(url="s3://bucket/x", options={"endpoint_url": server.url})
    assert result.writable == writable
    assert words is None if result.problem is None else words in result.problem


def test_what_makes_the_user_pay_or_encrypts_for_another_key_needs_approval(work, monkeypatch):
    for name, value in (("requester_pays", "true"), ("sse_kms_key_id", "alias/x")):
        text = f"remotes:\n  origin:\n    url: s3://bucket/x\n    sse: aws:kms\n    {name}: {value!r}\n"
        (work / ".dvlite" / "config.yaml").write_text(text)
        with pytest.raises(Untrusted) as caught:
            opened().remote()
        assert caught.value.place == "s3://bucket/x"
    remote.remote_trust(os.environ, "origin")
    assert opened().remote().options["sse_kms_key_id"] == "alias/x"
