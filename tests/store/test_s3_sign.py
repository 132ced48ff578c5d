"""The signature of requests, against botocore's."""

import hashlib

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import example, given
from hypothesis import strategies as st

from dvlite.store.s3_sign import UNSIGNED, Keys, path_text, query_text, signed

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
HEADER = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
KEYS = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "to/ke+n==")


def signature_of_botocore(method, url, headers, keys, region):
    signer = S3SigV4Auth(Credentials(keys.access_key_id, keys.secret_access_key, keys.session_token), "s3", region)
    request = AWSRequest(method, url, headers={"X-Amz-Security-Token": keys.session_token} | headers)
    request.context |= {"timestamp": headers["x-amz-date"], "payload_signing_enabled": False}
    text = signer.string_to_sign(request, signer.canonical_request(request))
    return signer.signature(text, request)


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-2"])
@given(
    path=TEXT,
    query=st.dictionaries(st.sampled_from(["prefix", "continuation-token", "delete", "a b"]), TEXT),
    value=HEADER,
)
@example(
    path="birds & ü/~a+b %2F", query={"prefix": "a/b c", "list-type": "2", "continuation-token": "3rd/+="}, value="x"
)
def test_requests_are_signed_as_botocore_signs_them(region, path, query, value):
    target = path_text(f"/bucket/{path}") + (f"?{query_text(list(query.items()))}" if query else "")
    headers = {
        "host": "bucket.example:9000",
        "range": "bytes=0-4",
        "x-amz-acl": f"{value}  {value}",
        "x-amz-date": "20261130T020304Z",
        "x-amz-content-sha256": hashlib.sha256(value.encode()).hexdigest() if query else UNSIGNED,
    }
    headers_sent = signed("PUT", target, headers, keys=KEYS, region=region)
    expected = signature_of_botocore("PUT", f"http://bucket.example:9000{target}", headers, KEYS, region)
    assert headers_sent["authorization"] == (
        f"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261130/{region}/s3/aws4_request, "
        f"SignedHeaders=host;range;x-amz-acl;x-amz-content-sha256;x-amz-date;x-amz-security-token, Signature={expected}"
    )
    assert headers_sent["x-amz-security-token"] == KEYS.session_token


def test_keys_show_no_secret():
    assert "wJalr" not in repr(KEYS)
    assert "to/ke" not in repr(KEYS)
