"""Remotes of the configuration, and which of them wait for the user's consent."""

import pytest

from dvlite.errors import FormatError, Untrusted, UsageError
from tests.repo.repositories import opened, write_config, write_user_config


def test_without_a_remote_the_hint_is_how_to_add_one(work):
    with pytest.raises(UsageError, match="no remote is configured") as caught:
        opened(work).remote()
    assert "dvlite remote add" in caught.value.hint


def test_an_unknown_remote_names_those_there_are(work):
    write_config(work, "remotes: {b: {url: s3://bucket}, a: {url: s3://bucket/a}}\n")
    with pytest.raises(UsageError, match="there is no remote 'c'") as caught:
        opened(work).remote("c")
    assert caught.value.hint == "the remotes are: a, b"
    with pytest.raises(UsageError, match="no remote is the default one"):
        opened(work).remote()
    assert opened(work).remote("a").location.prefix == "a"


@pytest.mark.parametrize(
    ("remote", "place"),
    [
        ("url: s3://bucket, endpoint_url: 'https://Minio.example.com/'", "https://minio.example.com"),
        ("url: s3://bucket, endpoint_url: 'http://127.0.0.1:9000'", "http://127.0.0.1:9000"),
        ("url: /srv/store", "/srv/store"),
        ("url: ../store", "{parent}/store"),
        ("url: s3://bucket/x, profile: admin", "s3://bucket/x"),
        ("url: sftp://host/x", "sftp://host"),
        ("url: .git/hooks", "{parent}/repo/.git/hooks"),
    ],
)
def test_a_place_from_a_committed_file_waits_for_consent(work, tmp_path, remote, place):
    write_config(work, f"remotes: {{origin: {{{remote}}}}}\n")
    place = place.format(parent=tmp_path)
    with pytest.raises(Untrusted, match="has not approved; nothing was sent") as caught:
        opened(work).remote()
    assert caught.value.place == place
    assert caught.value.hint.startswith(f"dvlite remote trust {place} ")
    assert opened(work, DVLITE_TRUST=f"https://other.example,{place}").remote().name == "origin"
    write_user_config(f"trust: ['{place}']\n")
    assert opened(work).remote().name == "origin"


@pytest.mark.parametrize("remote", ["url: s3://bucket/x, region: eu-west-1", "url: gs://bucket", "url: ./store",
                                    "url: s3://bucket, endpoint_url: 'https://s3.eu-west-1.amazonaws.com'"])  # fmt: skip
def test_the_providers_own_and_folders_inside_need_none(work, remote):
    write_config(work, f"remotes: {{origin: {{{remote}}}}}\n")
    assert opened(work).remote().name == "origin"


def test_a_link_in_the_repository_leads_to_no_place_outside(work, tmp_path):
    (work / "store").symlink_to(tmp_path / "outside")
    write_config(work, "remotes: {origin: {url: ./store}}\n")
    with pytest.raises(Untrusted) as caught:
        opened(work).remote()
    assert caught.value.place == str(tmp_path / "outside")


def test_what_the_user_wrote_needs_no_consent(work):
    write_config(
        work,
        "remotes: {origin: {url: s3://b-1, endpoint_url: 'https://x.example', access_key_id: a, secret_access_key: b}}\n",
        "config.local.yaml",
    )
    remote = opened(work).remote()
    assert remote.options["secret_access_key"] == "b"


def test_a_committed_endpoint_below_a_local_url_still_waits(work):
    write_config(work, "remotes: {origin: {endpoint_url: 'https://evil.example'}}\n")
    write_user_config("remotes: {origin: {url: s3://mine}}\n")
    with pytest.raises(Untrusted):
        opened(work).remote()


@pytest.mark.parametrize(
    "url",
    [
        "simplecache::s3://b/x",
        "reference://x",
        "~root",
        "ssh://-oProxyCommand=x/",
        "http://169.254.169.254/",
        "s3://u:p@b/",
        "S3://bucket",
        " s3://bucket",
    ],
)
def test_a_hostile_url_is_refused_naming_the_file_and_line(work, url):
    write_config(work, f'remotes:\n  origin:\n    url: "{url}"\n')
    with pytest.raises(UsageError, match=r"\.dvlite/config\.yaml:4: remote 'origin'"):
        opened(work).remote()


def test_the_key_of_a_remote_depends_on_its_place_only(work):
    write_config(
        work, "remotes: {a: {url: s3://bucket, region: eu-west-1}, b: {url: s3://bucket/}, c: {url: s3://bucket/c}}\n"
    )
    repo = opened(work)
    assert repo.remote("a").key == repo.remote("b").key != repo.remote("c").key


PROJECT = "0" * 32


@pytest.mark.parametrize(
    ("remote", "place"),
    [
        ("url: s3://bucket/x", "s3://bucket/x"),
        ("url: s3://bucket/x, endpoint_url: 'https://s3.eu-west-1.amazonaws.com'", "s3://bucket/x"),
        ("url: s3://bucket/x, endpoint_url: 'https://Minio.example.com/'", "https://minio.example.com/bucket/x"),
        ("url: s3://bucket, endpoint_url: 'https://minio.example.com'", "https://minio.example.com/bucket"),
        ("url: gs://bucket/x", "gs://bucket/x"),
        ("url: az://box/x, account_name: acme", "https://acme.blob.core.windows.net/box/x"),
        ("url: sftp://host/x", "sftp://host/x"),
        ("url: /srv/store", "/srv/store"),
    ],
)
def test_data_goes_where_the_user_approved_it_for_this_project(work, remote, place):
    write_config(work, f"remotes: {{origin: {{{remote}}}}}\n")
    with pytest.raises(Untrusted, match="for this project's data") as caught:
        opened(work).remote(to_push=True)
    assert (caught.value.place, caught.value.project, caught.value.to_push) == (place, PROJECT, True)
    assert opened(work, DVLITE_TRUST=f"{place},sftp://host").remote(to_push=True).name == "origin"
    others = f"trust: ['{place}', 'https://minio.example.com', 'sftp://host']\n"
    write_user_config(f"{others}push_to: {{project-{'6' * 32}: ['{place}']}}\n")
    with pytest.raises(Untrusted):
        opened(work).remote(to_push=True)
    write_user_config(f"{others}push_to: {{project-{PROJECT}: ['s3://else', '{place}']}}\n")
    assert opened(work).remote(to_push=True).name == "origin"


@pytest.mark.parametrize("where", ["config.yaml", "config.local.yaml"])
def test_a_clone_cannot_approve_where_its_data_goes(work, where):
    write_config(work, f"push_to: {{project-{PROJECT}: [s3://bucket]}}\n", where)
    with pytest.raises(FormatError, match="only allowed in the user's own config"):
        opened(work)


@pytest.mark.parametrize("remote", ["url: ./store", "url: store"])
def test_a_folder_inside_the_repository_may_be_pushed_to(work, remote):
    write_config(work, f"remotes: {{origin: {{{remote}}}}}\n")
    assert opened(work).remote(to_push=True).name == "origin"


def test_what_the_user_wrote_may_be_pushed_to(work):
    write_config(work, "remotes: {origin: {url: s3://bucket}}\n", "config.local.yaml")
    assert opened(work).remote(to_push=True).name == "origin"


def test_one_bucket_s_approval_reads_its_host(work):
    write_config(work, "remotes: {origin: {url: s3://bucket/x, endpoint_url: 'https://minio.example.com'}}\n")
    assert opened(work, DVLITE_TRUST="https://minio.example.com/bucket/x").remote().name == "origin"
    with pytest.raises(Untrusted):
        opened(work, DVLITE_TRUST="https://minio.example.com.evil.example/bucket/x").remote()
