import re

import pytest

from dvlite.errors import FormatError, UsageError
from dvlite.formats import config
from dvlite.formats.config import COMMITTED, ENVIRONMENT, LOCAL, SYSTEM, USER, merge, parse
from tests.formats.documents import CONFIG, PROJECT


def test_settings_have_their_types_and_know_their_line():
    made = merge([parse(CONFIG.encode(), ".dvlite/config.yaml", COMMITTED)])
    assert made.project == PROJECT
    assert made.pack_below_bytes == 65536
    assert made.retry_seconds == 5
    assert made.default_remote == "origin"
    assert made.remote_names == ("backup", "origin")
    assert made.remote("origin").url.value == "s3://acme-data/birds"
    assert made.settings["remotes.origin.region"].source == ".dvlite/config.yaml:8"
    assert made.remote("none") is None


def test_the_defaults_hold_where_nothing_is_said():
    made = merge([])
    assert (made.autostage, made.pack_below_bytes, made.links, made.retry_seconds) == (
        True,
        65536,
        ("reflink", "copy"),
        30,
    )
    assert (made.project, made.default_remote, made.cache_dir, made.jobs, made.trust) == (None, None, None, 8, ())


def test_later_layers_win_and_trust_adds_up():
    layers = [
        parse(b"transfer: {jobs: 1}\ntrust: [https://a.example]\n", "s", SYSTEM),
        parse(b"transfer: {jobs: 2}\ntrust:\n  - https://b.example\n", "u", USER),
        parse(b"transfer: {jobs: 3}\n", "c", COMMITTED),
        parse(b"transfer: {jobs: 4}\n", "l", LOCAL),
    ]
    assert merge(layers).jobs == 4
    assert (
        merge([*layers, config.from_environment({"DVLITE_JOBS": "5", "DVLITE_TRUST": "/data, https://c.example"})]).jobs
        == 5
    )
    assert merge(layers).trust == ("https://a.example", "https://b.example")


def test_a_new_url_does_not_inherit_the_options_of_the_old_one():
    mine = parse(b"remotes: {origin: {url: 's3://mine', secret_access_key: s}}\n", "u", USER)
    theirs = parse(b"remotes: {origin: {url: 's3://theirs'}}\n", "c", COMMITTED)
    more = parse(b"remotes: {origin: {region: eu-west-1}}\n", "l", LOCAL)
    remote = merge([mine, theirs, more]).remote("origin")
    assert {name: setting.value for name, setting in remote.options.items()} == {"region": "eu-west-1"}
    assert remote.committed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("core: {autostge: true}", "c.yaml:1: there is no setting 'core.autostge'"),
        ("cache:\n  dir: /x\n", "c.yaml:2: 'cache.dir' is not allowed in a committed file"),
        ("cache: {link: symlink}", "'cache.link' is not allowed"),
        ("cache: {shared: group}", "'cache.shared' is not allowed"),
        ("trust: [https://x]", "'trust' is not allowed"),
        ("remotes: {o: {url: s3://b, secret_access_key: x}}", "'secret_access_key' of remote 'o' is not allowed"),
        ("remotes: {o: {url: s3://b, verify: false}}", "'verify' of remote 'o' is not allowed"),
        ("remotes: {o: {url: s3://b, ca_bundle: /x}}", "'ca_bundle' of remote 'o' is not allowed"),
        ("remotes: {o: {url: s3://b, key_filename: /x}}", "'key_filename' of remote 'o' is not allowed"),
        ("remotes: {o: {url: sftp://b, password: x}}", "'password' of remote 'o' is not allowed"),
        ("remotes: {'a b': {url: x}}", "cannot be the name of a remote"),
        ("remotes: {o: x}", "there is no setting 'remotes.o'"),
        ("remotes: {o: {url: [a]}}", "must be one line of text"),
        ("core.remote: x", "written with a dot"),
        ("core: {autostage: maybe}", "must be true or false"),
        ("core: 1", "there is no setting 'core'"),
        ("project: abc", "must be 32 hex digits"),
        ("transfer: {jobs: 0}", "must be a number from 1 to 256"),
        ("transfer: {jobs: true}", "must be a number from 1 to 256"),
        ("transfer: {retry_seconds: -1}", "must be a number of seconds"),
        ("cache: {pack_below: 1TiB}", "must be a size"),
    ],
)
def test_what_a_committed_file_may_not_say_is_an_error_naming_the_line(text, words):
    with pytest.raises(FormatError, match=re.escape(words)) as caught:
        parse(text.encode(), "c.yaml", COMMITTED)
    assert caught.value.message.startswith("c.yaml:")
    assert caught.value.hint


def test_an_unknown_key_names_the_nearest_and_a_secret_names_local():
    with pytest.raises(FormatError) as caught:
        parse(b"core: {autostge: true}", "c", COMMITTED)
    assert "core.autostage" in caught.value.hint
    with pytest.raises(FormatError) as caught:
        parse(b"remotes: {o: {session_token: x}}", "c", COMMITTED)
    assert "--local" in caught.value.hint


@pytest.mark.parametrize("layer", [COMMITTED, LOCAL])
def test_consent_cannot_come_with_a_clone(layer):
    with pytest.raises(FormatError, match="'trust'"):
        parse(b"trust: [https://x.example]", "c", layer)


def test_an_endpoint_and_a_profile_may_be_committed():
    assert (
        len(parse(b"remotes: {o: {url: s3://b, endpoint_url: 'https://x.example', profile: p}}", "c", COMMITTED)) == 3
    )


@pytest.mark.parametrize(
    ("text", "size"), [("65536", 65536), ("64KiB", 65536), ("64 kib", 65536), ("1MB", 10**6), ("0", 0)]
)
def test_sizes(text, size):
    assert config.from_text("cache.pack_below", text, USER) == size


def test_environment_values_that_cannot_be_used_name_the_variable():
    with pytest.raises(UsageError, match=r"DVLITE_JOBS: 'transfer\.jobs' must be"):
        config.from_environment({"DVLITE_JOBS": "many"})
    found = config.from_environment({"DVLITE_CACHE_DIR": "123", "DVLITE_RETRY_SECONDS": "0.5", "DVLITE_JOBS": ""})
    assert {key: setting.value for key, setting in found.items()} == {"cache.dir": "123", "transfer.retry_seconds": 0.5}
    assert found["cache.dir"].layer == ENVIRONMENT


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("hooks.pre_commit", "block", "block"),
        ("hooks.pre_commit", "off", "off"),
        ("hooks.follow", "false", "off"),
        ("hooks.pre_push", "true", "on"),
        ("hooks.large_file", "10MiB", 10 << 20),
        ("hooks.fetch_limit", "0", 0),
        ("hooks.push_limit", "2 TB", 2 * 10**12),
    ],
)
def test_settings_of_hooks_have_types(key, text, value):
    word = key.removeprefix("hooks.")
    assert config.parse(f"hooks:\n  {word}: {text}\n".encode(), "x", config.LOCAL)[key].value == value


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("hooks.pre_commit", "off"),
        ("hooks.pre_push", "false"),
        ("hooks.follow", "off"),
        ("hooks.large_file", "0"),
        ("hooks.fetch_limit", "101MiB"),
        ("hooks.push_limit", "100TiB"),
    ],
)
def test_a_committed_file_cannot_take_a_guard_away_from_everyone(key, text):
    line = f"hooks:\n  {key.removeprefix('hooks.')}: {text}\n".encode()
    with pytest.raises(FormatError, match=f"'{key}' may not be (off|{text}) in a committed file") as caught:
        config.parse(line, "c.yaml", COMMITTED)
    assert caught.value.message.startswith("c.yaml:2: ")
    assert "dvlite config --user hooks." in caught.value.hint
    for layer in (USER, LOCAL):
        assert config.parse(line, "c.yaml", layer)


@pytest.mark.parametrize(
    "line",
    ["pre_commit: block", "pre_push: on", "large_file: 5GiB", "fetch_limit: 0", "push_limit: 0", "push_limit: 1GiB"],
)
def test_a_committed_file_may_guard_more_and_may_allow_larger_files(line):
    assert config.parse(f"hooks:\n  {line}\n".encode(), "c.yaml", COMMITTED)


@pytest.mark.parametrize(
    "line", ["pre_commit: loud", "pre_push: note", "large_file: -1", "push_limit: much", "other: x"]
)
def test_wrong_settings_of_hooks_are_refused(line):
    with pytest.raises(FormatError, match=line.split(":")[0]):
        config.parse(f"hooks:\n  {line}\n".encode(), "x", config.COMMITTED)


# --- keep rules


@pytest.mark.parametrize("text", ["keep_last: 3", "keep_tags: true", "keep_within: 90d", "keep_within: 36 h"])
def test_a_keep_rule_stands_in_the_committed_file_alone(text):
    data = f"gc:\n  {text}\n".encode()
    assert len(parse(data, "config", COMMITTED)) == 1
    for layer in (SYSTEM, USER, LOCAL):
        with pytest.raises(FormatError, match="only allowed in"):
            parse(data, "config", layer)


@pytest.mark.parametrize(
    "text",
    ["keep_last: 0", "keep_last: -1", "keep_last: 1.5", "keep_last: many", "keep_tags: 1", "keep_within: 90", "keep_within: 0d",
     "keep_within: -1d", "keep_within: 90days", "keep: 3"],
)  # fmt: skip
def test_a_keep_rule_that_is_not_clear_is_refused(text):
    with pytest.raises(FormatError, match="config:2"):
        parse(f"gc:\n  {text}\n".encode(), "config", COMMITTED)


def test_a_rule_on_the_command_line_means_what_it_does_in_the_file():
    rules = {"gc.keep_last": "3", "gc.keep_tags": "true", "gc.keep_within": "90d"}
    assert [config.from_text(key, text, COMMITTED) for key, text in rules.items()] == [3, True, "90d"]
    assert [config.duration_seconds(text) for text in ("0s", "5m", "2h", "90d", "1w", "5", "")] == [
        *(0, 300, 7200, 90 * 86400, 7 * 86400, None, None)
    ]
