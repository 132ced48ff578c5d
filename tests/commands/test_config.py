import os
import subprocess

import pytest

from dvlite.commands.config import config
from dvlite.errors import UsageError
from dvlite.progress import NullProgress
from dvlite.repo import config_files
from dvlite.repo.repository import open_repo
from tests.copies import copy_of, initialised

QUIET = NullProgress()


@pytest.fixture
def work(tmp_path):
    return copy_of("init", initialised, tmp_path / "repo")


def call(work, key=None, value=None, **options):
    return config(open_repo(work, os.environ), key, value, environ=os.environ, progress=QUIET, **options)


def test_a_committed_setting_is_staged(work):
    subprocess.run(["git", "commit", "--quiet", "-m", "Init"], cwd=work, check=True)
    result = call(work, "transfer.jobs", "8")
    assert (result.action, result.staged, result.values[0].value) == ("set", (".dvlite/config.yaml",), 8)
    assert call(work, "transfer.jobs").values[0].value == 8
    assert call(work, "transfer.jobs").values[0].source.startswith(".dvlite/config.yaml:")
    assert call(work, "transfer.jobs", unset=True).action == "unset"
    assert call(work, "transfer.jobs").values[0].source == "default"
    with pytest.raises(UsageError, match="is not set"):
        call(work, "gc.keep_last")


def test_a_size_is_written_with_a_unit_and_what_overrides_is_named(work):
    call(work, "hooks.push_limit", "3072 MiB", place="local")
    assert "push_limit: 3GiB\n" in (work / ".dvlite/config.local.yaml").read_text()
    result = call(work, "hooks.push_limit", "1000000", place="user")
    assert (result.values[0].value, result.in_force.value) == (1_000_000, 3 << 30)
    assert result.in_force.source.startswith(".dvlite/config.local.yaml:")


def test_each_place_has_its_file(work):
    call(work, "cache.dir", "/big", place="user")
    call(work, "cache.link", "hardlink,copy", place="local")
    assert config_files.path_of(config_files.USER, None, os.environ).read_text() == "cache:\n  dir: /big\n"
    assert call(work, "cache.link").values[0].value == ["hardlink", "copy"]
    assert [value.key for value in call(work, place="local").values] == ["cache.link"]


def test_the_list_has_every_setting_with_its_source_and_no_secret(work):
    call(work, "remotes.o.url", "s3://bucket", place="local")
    call(work, "remotes.o.secret_access_key", "hidden", place="local")
    values = {value.key: value for value in call(work).values}
    assert values["core.autostage"].source == "default"
    assert values["remotes.o.url"].value == "s3://bucket"
    assert "hidden" not in str(values)
    assert "hidden" not in str(call(work, "remotes.o.secret_access_key"))


@pytest.mark.parametrize(
    ("key", "value", "options", "words"),
    [
        ("core.autostge", None, {}, "there is no setting"),
        ("core.autostge", "true", {}, "there is no setting"),
        ("core.autostage", "maybe", {}, "must be true or false"),
        ("cache.dir", "/x", {}, "not allowed in a committed file"),
        ("project", "0" * 32, {"place": "user"}, "only allowed in .dvlite/config.yaml"),
        ("trust", "https://x", {"place": "local"}, "only allowed in the user's own"),
        ("core.remote", None, {"unset": True}, "is not set in the committed config"),
        ("core.remote", "x", {"unset": True}, "--unset takes no value"),
    ],
)
def test_what_cannot_be_set_changes_nothing(work, key, value, options, words):
    before = (work / ".dvlite" / "config.yaml").read_bytes()
    with pytest.raises(UsageError, match=words):
        call(work, key, value, **options)
    assert (work / ".dvlite" / "config.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("remotes.o.requester-pays", "true", "cannot be an option"),
        ("remotes.o.reqester_pays", "true", "is not an option of a s3 remote"),
        ("remotes.o.sse", "kms", "is not a value of sse"),
        ("remotes.o.url", "ftp://x", "not a kind of remote"),
        ("remotes.other.url", "s3://x", "not the name of a bucket"),
    ],
)
def test_what_the_next_command_would_refuse_of_a_remote_is_not_set(work, key, value, words):
    call(work, "remotes.o.url", "s3://bucket", place="local")
    call(work, "remotes.o.access_key_id", "first of two", place="local")
    with pytest.raises(UsageError, match=words):
        call(work, key, value, place="local")


def test_names_of_remotes_that_are_none_are_refused_where_they_count(work):
    for key, value in (("core.remote", "nope"), ("remotes.typo.region", "eu-west-1")):
        with pytest.raises(UsageError, match=r"no remote"):
            call(work, key, value)
    call(work, "remotes.typo.region", "eu-west-1", place="user")


def test_defaults_are_shown_and_ones_own_file_needs_no_repository(work):
    assert call(work, "transfer.jobs").values[0].value == 8
    assert call(work, "cache.dir").values[0].value == str(work / ".git/dvlite/cache")
    config(None, "cache.dir", "/elsewhere", place="user", environ=os.environ, progress=QUIET)
    assert call(work, "cache.dir").values[0].value == "/elsewhere"
    shown = config(None, "cache.dir", None, environ=os.environ, progress=QUIET)
    assert shown.values[0].value == "/elsewhere"
    config(None, "cache.dir", None, unset=True, place="user", environ=os.environ, progress=QUIET)
    assert "cache.dir" not in {row.key for row in config(None, None, None, environ=os.environ, progress=QUIET).values}
