"""How dvlite finds credentials, region, endpoint and certificates: every way of the AWS tools works, and each failure is one line."""

import hashlib
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import botocore.credentials
import pytest

from dvlite.errors import RemoteError
from dvlite.store.object_store import Transient
from dvlite.store.remote import open_store
from dvlite.store.retry import RetryBudget
from dvlite.store.url import parse_url
from tests.store import company

ONCE = RetryBudget(seconds=0, unreached_seconds=0)
ROLE = "arn:aws:iam::123456789012:role/birds"
PROCESS = '{"Version": 1, "AccessKeyId": "ProcessKey", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": "%s"}'
CONFIG = f"""\
[profile sso]
sso_start_url = https://acme.awsapps.com/start
sso_region = us-east-1
sso_account_id = 123456789012
sso_role_name = birds
[profile role]
role_arn = {ROLE}
source_profile = keys
region = us-east-1
[profile chained]
role_arn = {ROLE}
source_profile = sso
[profile coded]
role_arn = {ROLE}
source_profile = keys
mfa_serial = arn:aws:iam::123456789012:mfa/ann
[profile unsourced]
role_arn = {ROLE}
source_profile = none
[profile none]
[profile keys]
aws_access_key_id = ProfileKey
aws_secret_access_key = s
region = eu-central-9
[profile odd]
aws_access_key_id = A B
aws_secret_access_key = s
[profile process]
credential_process = sh PROGRAM
[profile absent]
credential_process = /no/such/program
[profile unclosed]
credential_process = sh -c 'x
"""


pytestmark = pytest.mark.usefixtures("models_read_once")


@pytest.fixture
def server():
    with company.running_company() as server:
        yield server


@pytest.fixture
def home(isolated, server, monkeypatch):
    """A home with an AWS config; STS and SSO are at the server, too."""
    (isolated / ".aws").mkdir()
    (isolated / ".aws" / "config").write_text(CONFIG.replace("PROGRAM", str(isolated / "program")))
    monkeypatch.setattr(  # which it looked up when it was imported
        botocore.credentials.SSOProvider, "_SSO_TOKEN_CACHE_DIR", str(isolated / ".aws" / "sso" / "cache")
    )
    for name in ("AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_SSO"):
        monkeypatch.setenv(name, server.url)
    return isolated


def opened(url, **options):
    options = {"endpoint_url": url} | options
    return open_store(parse_url("s3://bucket/x", Path()), options, budget=ONCE, connections=2)


def use(url, **options):
    """Lists a store, and closes it."""
    store = opened(url, **options)
    try:
        store.list("packs/")
    finally:
        store.close()


def failure(url, **options):
    with pytest.raises(RemoteError) as caught:
        use(url, **options)
    assert not isinstance(caught.value, Transient)
    assert caught.value.message.isprintable()
    assert "hunter2" not in f"{caught.value.message} {caught.value.hint}"
    return caught.value


def sso_session(home, expires):
    folder = home / ".aws" / "sso" / "cache"
    folder.mkdir(parents=True)
    name = hashlib.sha1(b"https://acme.awsapps.com/start", usedforsecurity=False).hexdigest()
    token = {"startUrl": "https://acme.awsapps.com/start", "region": "us-east-1", "accessToken": "t"}
    (folder / f"{name}.json").write_text(json.dumps(token | {"expiresAt": expires}))


WEB = {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": "HOME/token", "AWS_REGION": "us-east-1"}


def in_environment(home, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value.replace("HOME", str(home)))


@pytest.mark.parametrize(
    ("environment", "key"),
    [
        ({"AWS_PROFILE": "sso"}, "SsoKey"),
        ({"AWS_PROFILE": "role"}, "AssumeRoleKey"),
        (WEB, "AssumeRoleWithWebIdentityKey"),
        ({"AWS_PROFILE": "process"}, "ProcessKey"),
        ({"AWS_PROFILE": "keys"}, "ProfileKey"),
        ({"AWS_ACCESS_KEY_ID": "EnvironmentKey", "AWS_SECRET_ACCESS_KEY": "s"}, "EnvironmentKey"),
    ],
    ids=str,
)
def test_every_way_to_credentials_works(home, server, monkeypatch, environment, key):
    sso_session(home, company.LATER)
    (home / "token").write_text("a.web.identity")
    (home / "program").write_text(f"echo '{PROCESS % company.LATER}'")
    in_environment(home, monkeypatch, environment)
    use(server.url)
    assert server.requests[-1].signed_by[0] == key


@pytest.mark.parametrize(
    ("environment", "words", "hint"),
    [
        ({}, "no credentials", "AWS_ACCESS_KEY_ID"),
        ({"AWS_ACCESS_KEY_ID": "x"}, "missing: AWS_SECRET_ACCESS_KEY", "aws sts get-caller-identity "),
        ({"AWS_PROFILE": "other"}, "your AWS config has no profile 'other'", "aws configure list-profiles"),
        ({"AWS_PROFILE": "sso"}, "the SSO session of profile 'sso' has expired", "aws sso login --profile sso"),
        ({"AWS_PROFILE": "chained"}, "the SSO session of profile 'sso' has expired", "aws sso login --profile sso"),
        ({"AWS_PROFILE": "role"}, "the role of profile 'role': refused (AssumeRole: 403 AccessDenied)", "--profile role "),
        ({"AWS_PROFILE": "unsourced"}, "the role of profile 'unsourced': the source", "--profile unsourced "),
        (WEB, "HOME/token': no such file or directory", "aws sts get-caller-identity "),
        ({"AWS_PROFILE": "process"}, "the credential_process of profile 'process': its program failed", "--profile process "),
        ({"AWS_PROFILE": "absent"}, "'/no/such/program': no such file or directory", "--profile absent "),
        ({"AWS_PROFILE": "unclosed"}, "it cannot be used (ValueError)", "--profile unclosed "),
        ({"AWS_PROFILE": "odd"}, "the access key id has a blank", "profile 'odd' of your AWS config"),
        ({"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x\n"}, "the secret access key has a blank, a line break", "AWS_SECRET_ACCESS_KEY"),
    ],
    ids=str,
)  # fmt: skip
def test_without_credentials_one_line_says_which_way_failed_and_no_store_is_asked(
    home, server, monkeypatch, environment, words, hint
):
    server.rules = [company.refuses("Assume", 403, "AccessDenied")]
    (home / "program").write_text("echo hunter2 >&2; exit 3")
    in_environment(home, monkeypatch, environment)
    error = failure(server.url)
    assert words.replace("HOME", str(home)) in error.message
    assert hint in error.hint
    assert "ListObjectsV2" not in server.operations


@pytest.mark.parametrize(
    ("prints", "words"), [(PROCESS % "2020-01-01T00:00:00Z", "have expired"), ("hello", "is no JSON")]
)
def test_a_program_that_gives_nothing_of_use_is_no_bug_of_dvlite(home, server, monkeypatch, prints, words):
    (home / "program").write_text(f"echo '{prints}'")
    assert words in failure(server.url, profile="process").message


def test_credentials_that_are_about_to_expire_are_renewed_for_the_next_request(home, server):
    soon = (datetime.now(UTC) + timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    count = f"echo x >>{home}/asked; n=$(wc -l <{home}/asked | tr -d ' ')\n"
    (home / "program").write_text(count + f"echo '{PROCESS % soon}' | sed s/ProcessKey/Key$n/\n")
    store = opened(server.url, profile="process")
    for _ in range(2):
        store.list("")
    store.close()
    first, second = (request.signed_by[0] for request in server.requests)
    assert first.startswith("Key")
    assert first != second


def test_a_code_is_never_read_from_standard_input(home, server, monkeypatch):
    def no_terminal(*_):
        raise OSError

    monkeypatch.setattr(os, "open", no_terminal)
    assert "it asks for an MFA code" in failure(server.url, profile="coded").message


@pytest.mark.parametrize(("code", "answered"), [("Throttling", True), (None, False)])
def test_a_server_of_credentials_that_is_busy_or_gone_is_tried_again_and_named(
    home, monkeypatch, server, code, answered
):
    server.rules = [company.refuses("Assume", 503, code or "")]
    if code is None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://sts.example.invalid")
    store = opened(server.url, profile="role")
    with pytest.raises(RemoteError) as caught:
        store.list("")
    assert (
        "AssumeRole: 503 Throttling" if answered else "cannot reach sts.example.invalid: the host name is not known"
    ) in caught.value.message
    assert isinstance(caught.value.__cause__, Transient)
    assert caught.value.__cause__.answered == answered


@pytest.mark.parametrize(
    ("environment", "options"),
    [
        ({"AWS_REGION": "eu-central-9"}, {}),
        ({"AWS_PROFILE": "keys"}, {}),
        ({"AWS_DEFAULT_REGION": "eu-west-1"}, {"region": "eu-central-9"}),
        ({}, {}),  # learnt from the server's refusal
    ],
    ids=str,
)
def test_the_region_is_that_of_the_option_the_environment_the_profile_or_the_server(
    home, server, monkeypatch, environment, options
):
    server.rules = [company.wants_region("eu-central-9", redirects=not environment)]
    in_environment(home, monkeypatch, {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"} | environment)
    use(server.url, **options)
    assert server.requests[-1].signed_by[1] == "eu-central-9"
    assert len(server.requests) == (1 if environment else 2)


def test_an_endpoint_of_the_environment_may_have_a_path_and_is_named_where_it_fails(home, monkeypatch):
    in_environment(home, monkeypatch, {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"})
    with company.running_company(below="/s3") as gateway:
        gateway.rules = [company.times(1, company.refuses("List", 403, "AccessDenied"))]
        monkeypatch.setenv("AWS_ENDPOINT_URL", gateway.url)
        store = open_store(parse_url("s3://bucket/x", Path()), {}, budget=ONCE, connections=1)
        with pytest.raises(RemoteError, match=f"^cannot use s3://bucket/x at {gateway.url}: access denied"):
            store.list("packs/")
        store.close()
        use(gateway.url)
        assert [request.path for request in gateway.requests] == ["/bucket", "/bucket"]


def test_anonymous_requests_are_not_signed_and_look_for_no_credentials(home, server, monkeypatch):
    in_environment(home, monkeypatch, {"AWS_PROFILE": "process"})
    use(server.url, anonymous="true")
    assert server.requests[-1].signed_by == ("", "")


@pytest.fixture(scope="module")
def private():
    with company.running_company(tls=True) as server:
        yield server


@pytest.mark.parametrize(
    "variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "ca_bundle of the profile", "option"]
)
def test_a_company_s_own_certificates_are_taken_from_where_the_aws_tools_take_them(
    private, home, monkeypatch, variable
):
    """In this order: each is set beside a later one that does not know the server."""
    order = ["option", "AWS_CA_BUNDLE", "ca_bundle of the profile", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"]
    for other in order[order.index(variable) :]:
        bundle = str(company.CERTIFICATE if other == variable else home / "other.pem")
        if other == "ca_bundle of the profile":
            (home / ".aws" / "config").write_text(f"[default]\nca_bundle = {bundle}\n")
        elif other != "option":
            monkeypatch.setenv(other, bundle)
    options = {"ca_bundle": str(company.CERTIFICATE)} if variable == "option" else {}
    use(private.url, access_key_id="x", secret_access_key="x", **options)


def test_a_certificate_of_a_stranger_is_refused_and_a_bundle_that_is_not_there_is_named(private, home, monkeypatch):
    assert "is not trusted" in failure(private.url, access_key_id="x", secret_access_key="x").message
    monkeypatch.setenv("AWS_CA_BUNDLE", "/no/such.pem")
    error = failure(private.url, access_key_id="x", secret_access_key="x")
    assert "the CA bundle '/no/such.pem' does not exist" in error.message
    assert "AWS_CA_BUNDLE" in error.hint
