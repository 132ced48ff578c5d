"""Remote URLs: what they mean, and which are refused (research/reliability: inputs 43, 44)."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import UsageError
from dvlite.formats.config import is_dangerous
from dvlite.store import url
from dvlite.store.url import CONSENT_OPTIONS, SECRET_OPTIONS, Location, address_of, check_options, host_of, parse_url

BASE = Path("/home/ann/project")


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("/data/store", "/data/store"),
        ("/data/store/", "/data/store"),
        ("../store", "/home/ann/store"),
        ("store", "/home/ann/project/store"),
        ("./a:b", "/home/ann/project/a:b"),
        ("/data/a::b", "/data/a::b"),
        ("/data/my store é", "/data/my store é"),
        ("file:///data/store", "/data/store"),
        (".", "/home/ann/project"),
    ],
)
def test_folders(text, folder):
    assert parse_url(text, BASE) == Location("file", folder, folder=Path(folder))


@pytest.mark.parametrize(
    ("text", "bucket", "prefix", "canonical"),
    [
        ("s3://acme-data", "acme-data", "", "s3://acme-data"),
        ("s3://acme-data/", "acme-data", "", "s3://acme-data"),
        ("s3://acme-data/birds/v1/", "acme-data", "birds/v1", "s3://acme-data/birds/v1"),
        ("s3://acme.data/My Birds", "acme.data", "My Birds", "s3://acme.data/My Birds"),
    ],
)
def test_buckets(text, bucket, prefix, canonical):
    assert parse_url(text, BASE) == Location("s3", canonical, bucket=bucket, prefix=prefix)


@pytest.mark.parametrize("scheme", ["gs", "az", "abfs", "sftp", "ssh"])
def test_other_stores_are_experimental(scheme):
    found = parse_url(f"{scheme}://place/prefix", BASE)
    assert found.experimental
    assert (found.scheme, found.bucket, found.prefix) == (scheme, "place", "prefix")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "empty"),
        ("simplecache::s3://bucket/x", "chained"),
        ("dir::file:///etc", "chained"),
        ("s3://bucket::zip://x", "chained"),
        ("reference://x", "not a kind of remote"),
        ("zip://x", "not a kind of remote"),
        ("memory://x", "not a kind of remote"),
        ("github://a:b@c/", "not a kind of remote"),
        ("ftp://127.0.0.1/x", "not a kind of remote"),
        ("http://169.254.169.254/", "http and https are not"),
        ("https://example.com/store", "http and https are not"),
        ("data:text/plain,x", "neither a folder nor a url"),
        ("local:/etc", "neither a folder nor a url"),
        ("git@example.com:x", "address of a git server"),
        ("C:\\store", "neither a folder nor a url"),
        ("\\\\host\\share", "cannot start with"),
        ("-oProxyCommand=x", "cannot start with"),
        ("~root", "starts with ~"),
        ("~/store", "starts with ~"),
        ("S3://bucket", "written s3://"),
        ("File:///etc", "written file://"),
        (" s3://bucket", "spaces around"),
        ("s3://bucket ", "spaces around"),
        ("s3://b\nHost:x", "control characters"),
        ("s3://bucket/a\x1b]0;x", "control characters"),
        ("s3://bucket/a\u202eb", "control characters"),
        ("s3://bucket\x00", "control characters"),
        ("s3://u:p@b/", "user names and passwords"),
        ("s3://key@bucket/x", "user names and passwords"),
        ("ssh://root@host/x", "user names and passwords"),
        ("ssh://-oProxyCommand=x/", "not the name of a host"),
        ("sftp://host:22:33/x", "not the name of a host"),
        ("s3://", "not the name of a bucket"),
        ("s3:///x", "not the name of a bucket"),
        ("s3://ab", "not the name of a bucket"),
        ("s3://Bucket/x", "not the name of a bucket"),
        ("s3://a..b/x", "not the name of a bucket"),
        ("s3://bucket?x=y", "not the name of a bucket"),
        ("s3://bucket/../x", "parts are not allowed"),
        ("s3://bucket//x", "parts are not allowed"),
        ("s3://bucket/./x", "parts are not allowed"),
        ("s3://bucket/x?versionId=1", "not allowed in a url"),
        ("s3://bucket/x#y", "not allowed in a url"),
        ("s3://bucket/%2e%2e/x", "not allowed in a url"),
        ("s3://bucket/a\\b", "not allowed in a url"),
        ("file://host/x", "without a host"),
        ("file://etc", "without a host"),
        ("file:////host/x", "without a host"),
        ("file:///a%20b", "not allowed in a file url"),
    ],
)
def test_refused_with_the_rule(text, rule):
    with pytest.raises(UsageError) as caught:
        parse_url(text, BASE)
    assert rule in caught.value.message
    assert "\n" not in caught.value.message
    assert "\x1b" not in caught.value.message
    assert caught.value.hint


def test_a_password_is_not_repeated():
    with pytest.raises(UsageError) as caught:
        parse_url("s3://AKIA:hunter2@bucket/x", BASE)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(UsageError) as caught:
        check_options("s3", {"endpoint_url": "https://ann:hunter2@minio.example.com"})
    assert "hunter2" not in str(caught.value)


@given(st.text(max_size=60))
def test_no_text_makes_the_parser_fail_otherwise(text):
    try:
        found, message = parse_url(text, BASE), ""
    except UsageError as error:
        found, message = None, error.message
    assert message.isprintable()
    assert found is None or parse_url(found.text, BASE) == found


@given(st.from_regex(r"(s3|gs|az|file|ssh|sftp|S3|http|[a-z:]+)://[a-z0-9.@:%?#/\\ -]{0,40}", fullmatch=True))
def test_urls_have_one_spelling(text):
    try:
        found = parse_url(text, BASE)
    except UsageError:
        return
    assert parse_url(found.text, BASE) == found
    assert "@" not in found.bucket
    assert ".." not in found.prefix.split("/")


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        (None, None),
        ("https://s3.amazonaws.com", None),
        ("https://s3.eu-west-1.amazonaws.com/", None),
        ("https://s3.dualstack.us-gov-east-1.amazonaws.com", None),
        ("https://s3.cn-north-1.amazonaws.com.cn", None),
        ("http://s3.eu-west-1.amazonaws.com", "http://s3.eu-west-1.amazonaws.com"),
        ("https://ec2-203-0-113-7.compute-1.amazonaws.com", "https://ec2-203-0-113-7.compute-1.amazonaws.com"),
        ("https://s3.amazonaws.com.evil.example", "https://s3.amazonaws.com.evil.example"),
        ("https://s3.amazonaws.com:8443", "https://s3.amazonaws.com:8443"),
        ("https://minio.example.com", "https://minio.example.com"),
        ("https://minio.example.com:443/", "https://minio.example.com"),
        ("https://example.com/s3", "https://example.com"),
        ("https://MinIO.example.com:9000", "https://minio.example.com:9000"),
        ("http://127.0.0.1:8333", "http://127.0.0.1:8333"),
        ("http://[::1]:8333", "http://[::1]:8333"),
    ],
)
def test_the_host_to_trust(endpoint, host):
    options = {} if endpoint is None else {"endpoint_url": endpoint}
    assert host_of(parse_url("s3://bucket", BASE), options) == host


def test_an_address_has_the_path_of_the_endpoint():
    """Two stores behind one gateway are two places to push to."""
    bucket = parse_url("s3://bucket", BASE)
    assert address_of(bucket, {"endpoint_url": "https://Example.com/s3/"}) == "https://example.com/s3"
    assert address_of(bucket, {}) is None


def test_other_hosts_to_trust():
    assert host_of(parse_url("sftp://files.example.com/x", BASE), {}) == "sftp://files.example.com"
    assert host_of(parse_url("gs://bucket", BASE), {}) is None
    assert host_of(parse_url("/data", BASE), {}) is None


@pytest.mark.parametrize(
    "endpoint",
    [
        "minio.example.com", "ftp://x", "file:///etc", "HTTP://x", "http://", "https://a b", "https://a\nb", "https://a@b",
        "https://a/../b", "https://a/%2e", "https://a//b", "https://a/.b", "https://a?x", "https://a#x", "https://a\\@b", "https://a:99999", "https://-a", "https://a%40b", "",
    ],
)  # fmt: skip
def test_an_endpoint_is_a_plain_address(endpoint):
    with pytest.raises(UsageError):
        check_options("s3", {"endpoint_url": endpoint})


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"key": "x"}, "is not an option"),
        ({"requester_pays": "yes"}, "is not a value of requester_pays"),
        ({"sse": "kms"}, "is not a value of sse"),
        ({"sse_kms_key_id": "x"}, "goes with sse=aws:kms"),
        ({"acl": "public-read"}, "is not a value of acl"),
        ({"storage_class": "GLACIER"}, "cannot be read until they are restored"),
        ({"storage_class": "cold"}, "is not a storage class"),
        ({"anonymous": "true", "profile": "x"}, "anonymous goes with no"),
        ({"default_cache_type": "x"}, "is not an option"),
        ({"region": "x@evil.example/"}, "is not a region"),
        ({"verify": "no"}, "is not a value of verify"),
        ({"addressing_style": "x"}, "is not a value of addressing_style"),
        ({"profile": "a\nb"}, "control characters"),
        ({"access_key_id": "x"}, "go together"),
    ],
)
def test_options_are_checked(options, reason):
    with pytest.raises(UsageError, match=reason):
        check_options("s3", options)


def test_a_misspelt_option_is_answered_with_the_one_meant():
    with pytest.raises(UsageError) as caught:
        check_options("s3", {"requester-pays": "true"})
    assert caught.value.hint == "did you mean 'requester_pays'?"


def test_every_option_has_its_class():
    public = {
        "region",
        "addressing_style",
        "project",
        "account_name",
        "anonymous",
        "sse",
        "storage_class",
        "acl",
        "checksum",
    }
    known = {name for names in url.OPTIONS.values() for name in names}
    assert known == public | SECRET_OPTIONS | CONSENT_OPTIONS
    assert not public & (SECRET_OPTIONS | CONSENT_OPTIONS)
    assert not SECRET_OPTIONS & CONSENT_OPTIONS
    assert all(
        map(is_dangerous, SECRET_OPTIONS)
    )  # what a committed file may not hold is recognised by name, in formats.config
