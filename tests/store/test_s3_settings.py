"""Which server is asked for a bucket: as botocore does, and without it where options and environment say all."""

import subprocess
import sys
from types import SimpleNamespace

import botocore.session
import pytest
from botocore import UNSIGNED
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from dvlite.store.s3_errors import SettingWrong
from dvlite.store.s3_http import Server
from dvlite.store.s3_settings import proxy_of, read_settings
from dvlite.store.s3_sign import Keys

pytestmark = pytest.mark.usefixtures("models_read_once")

GIVEN = {"access_key_id": "A", "secret_access_key": "s", "region": "eu-west-1"}


def url(bucket, region=None, **options):
    settings = read_settings(bucket, GIVEN | {"region": region or "us-east-1"} | options)
    server, path = settings.address(settings.region)
    return f"{server.scheme}://{server.address}{path}"


def url_of_botocore(bucket, region, endpoint_url=None, style="auto"):
    asked = []

    def answer(request, **_):
        asked.append(request.url)
        return AWSResponse(request.url, 200, {}, SimpleNamespace(stream=lambda: [b""]))

    config = Config(signature_version=UNSIGNED, s3={"addressing_style": style})
    client = botocore.session.Session().create_client("s3", region, endpoint_url=endpoint_url, config=config)
    client.meta.events.register("before-send", answer)
    try:
        client.head_bucket(Bucket=bucket)
    finally:
        client.close()
    return asked[0].rstrip("/")


@pytest.mark.parametrize(
    ("bucket", "region", "endpoint_url", "style"),
    [
        ("birds", "us-east-1", None, "auto"),
        ("birds", None, None, "auto"),
        ("birds", "eu-west-1", None, "auto"),
        ("a.dotted.name", "eu-west-1", None, "auto"),
        ("birds", "cn-north-1", None, "path"),
        ("birds", "us-gov-west-1", None, "virtual"),
        ("birds", "us-iso-east-1", None, "auto"),
        ("birds", "eu-west-1", "https://s3.eu-west-1.amazonaws.com", "auto"),
        ("birds", "eu-west-1", "http://127.0.0.1:9000", "virtual"),
        ("birds", "eu-west-1", "https://example.com/s3", "virtual"),
        ("birds", "auto", "http://[::1]:9000", "path"),
    ],
)
def test_the_address_of_a_bucket_is_that_of_botocore(bucket, region, endpoint_url, style):
    options = {"addressing_style": style} | ({"endpoint_url": endpoint_url} if endpoint_url else {})
    assert url(bucket, region, **options) == url_of_botocore(bucket, region, endpoint_url, style)


@pytest.mark.parametrize("variable", ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"])
def test_the_environment_chooses_among_amazons_addresses(monkeypatch, variable):
    monkeypatch.setenv(variable, "true")
    for region in ("us-east-1", "eu-west-1"):
        assert url("birds", region) == url_of_botocore("birds", region)


OWN = "birds.s3.eu-west-1.amazonaws.com"


@pytest.mark.parametrize(
    ("config", "reads", "words"),
    [
        (None, False, OWN),
        ("[default]\noutput = json\nregion = eu-north-1\n", False, OWN),  # the region is given
        ("[default]\nendpoint_url = http://127.0.0.1:1\n", True, "127.0.0.1:1"),
        ("[default]\ns3 =\n  use_accelerate_endpoint = true\n", True, "birds.s3-accelerate.amazonaws.com"),
        ("[default]\nca_bundle = /a.pem\n", True, "the CA bundle '/a.pem' does not exist"),
    ],
)
def test_botocore_is_loaded_only_where_the_config_may_say_what_is_open(isolated, monkeypatch, config, reads, words):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "A")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    if config is not None:
        (isolated / ".aws").mkdir()
        (isolated / ".aws" / "config").write_text(config)
    code = (
        "import sys; from dvlite.store.s3_errors import SettingWrong; from dvlite.store.s3_settings import *\n"
        "try: print(read_settings('birds', {'region': 'eu-west-1'}).address('eu-west-1')[0].address)\n"
        "except SettingWrong as error: print(error)\n"
        "print('botocore' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{words}\n{reads}\n"


def test_keys_of_the_environment_have_a_token_by_either_name(monkeypatch):
    for name, value in (("ACCESS_KEY_ID", "A"), ("SECRET_ACCESS_KEY", "s"), ("SECURITY_TOKEN", "t")):
        monkeypatch.setenv(f"AWS_{name}", value)
    assert read_settings("birds", {}).keys() == Keys("A", "s", "t")


@pytest.mark.parametrize(
    "endpoint", ["store:9000", "ftp://store", "http://", "http://store:x", "http://a/?b=c", "http://a\n"]
)
def test_an_endpoint_of_the_environment_is_checked(monkeypatch, endpoint):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    with pytest.raises(SettingWrong, match=r"^invalid endpoint"):
        read_settings("birds", GIVEN)


def test_proxies_are_those_of_the_environment(monkeypatch):
    inside, outside = Server("https", "store.corp.example", 443), Server("https", "s3.example", 443)
    assert proxy_of(outside) is None
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", ".corp.example")
    assert proxy_of(inside) is None
    assert proxy_of(outside) == "http://proxy.example:3128"
    assert proxy_of(Server("http", "s3.example", 80)) is None
    monkeypatch.setenv("https_proxy", "socks5://proxy.example")
    with pytest.raises(SettingWrong, match="not an http"):
        proxy_of(outside)


def test_a_directory_bucket_is_refused():
    with pytest.raises(SettingWrong, match="directory buckets"):
        read_settings("birds--use1-az4--x-s3", GIVEN)
