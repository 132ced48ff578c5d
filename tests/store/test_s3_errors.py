"""What went wrong in S3: what may pass is tried again, all else has one line and a hint, and nothing that a server says is quoted."""

import errno
import socket
import ssl

import pytest
from botocore import exceptions as boto

from dvlite.errors import RemoteError
from dvlite.store.object_store import ObjectAbsent, Transient
from dvlite.store.s3_errors import (
    Asked,
    CredentialsFailed,
    Redirected,
    explain,
    explain_refusal,
    is_name_taken,
    is_past_the_end,
)

LABEL = "s3://bucket"
PUT, LIST = Asked(LABEL, "bucket", "PutObject", "packs/a"), Asked(LABEL, "bucket", "ListObjectsV2", "packs/")


def answer(status, code="", message="hunter2\nsignature"):
    """Returns botocore's error for an answer of a server."""
    response = {"ResponseMetadata": {"HTTPStatusCode": status}, "Error": {"Code": code, "Message": message}}
    return boto.ClientError(response, "PutObject")


def caused(error, by):
    error.__cause__ = by
    return error


def failed(cause):
    """Returns the failure of a profile to give credentials."""
    return caused(CredentialsFailed("SSO session", "p", "p"), cause)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (503, "SlowDown"),
        (500, "InternalError"),
        (429, ""),
        (408, "RequestTimeout"),
        (400, "BadDigest"),
        (409, "OperationAborted"),
    ],
)
def test_what_may_pass(status, code):
    assert isinstance(explain(answer(status, code), PUT), Transient)


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (403, "AccessDenied", "access denied"),
        (403, "", "access denied"),
        (403, "SignatureDoesNotMatch", "the secret key is wrong"),
        (403, "RequestTimeTooSkewed", "the clock of this computer is wrong"),
        (400, "ExpiredToken", "the credentials have expired"),
        (404, "NoSuchBucket", "there is no bucket 'bucket'"),
        (501, "NotImplemented", "cannot do what was asked"),
        (307, "TemporaryRedirect", "redirects elsewhere"),
        (418, "Teapot", "the request was refused (PutObject 'packs/a': 418 Teapot)"),
        (403, "InvalidObjectState", "the object is archived"),
        (403, "QuotaExceeded", "the quota is used up"),
        (507, "XMinioStorageFull", "the store is full"),
        (507, "", "the store is full"),
        (403, "Odd", "refused (PutObject 'packs/a': 403 Odd)"),
        (400, "KMS.DisabledException", "the KMS key cannot be used"),
    ],
)
def test_what_does_not_pass_has_a_reason_and_a_hint(status, code, words):
    error = explain(answer(status, code), PUT)
    assert not isinstance(error, Transient)
    assert words in error.message
    assert error.hint
    assert "hunter2" not in error.message
    assert error.message.isprintable()


@pytest.mark.parametrize(
    ("operation", "right"),
    [("ListObjectsV2", "s3:ListBucket"), ("GetObject", "s3:GetObject"), ("PutObject", "s3:PutObject"),
     ("DeleteObject", "s3:DeleteObject"), ("DeleteObjects", "s3:DeleteObject")],
)  # fmt: skip
def test_what_is_denied_names_the_operation_the_object_and_the_right(operation, right):
    denied = explain(answer(403, "AccessDenied"), Asked(LABEL, "bucket", operation, "packs/a"))
    assert denied.message == f"cannot use {LABEL}: access denied ({operation} 'packs/a': 403 AccessDenied)"
    assert right in denied.hint


def test_only_an_answer_with_an_error_code_is_one_of_s3():
    """A gateway in front of nothing says 503 too; a wrong endpoint should fail soon."""
    assert explain(answer(503, "SlowDown"), PUT).answered
    assert not explain(answer(503, "503"), PUT).answered
    assert not explain(OSError(errno.ECONNREFUSED, "x"), PUT).answered


def test_an_object_is_absent_only_where_one_was_asked_for():
    get = Asked(LABEL, "bucket", "GetObject", "packs/a")
    assert isinstance(explain(answer(404, "NoSuchKey"), get), ObjectAbsent)
    assert not isinstance(explain(answer(404, "NoSuchKey"), LIST), ObjectAbsent)


@pytest.mark.parametrize("code", ["<script>", "a\nb", "x" * 100, "\x1b[31m"])
def test_a_code_that_is_none_is_not_shown(code):
    error = explain_refusal(code, 418, PUT)
    assert error.message == f"cannot use {LABEL}: the request was refused (PutObject 'packs/a': 418)"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ECONNREFUSED, "x"), "connection refused"),
        (caused(OSError(), socket.gaierror()), "the host name is not known"),
        (TimeoutError(), "no answer in time"),
        (
            boto.EndpointConnectionError(endpoint_url="http://x", error=OSError(errno.ENETUNREACH, "x")),
            "network is unreachable",
        ),
        (boto.ConnectionClosedError(endpoint_url="http://x"), "the connection broke off"),
        (OSError(), "the connection failed"),
    ],
)
def test_a_connection_that_fails_may_come_back(error, words):
    known = explain(error, LIST)
    assert isinstance(known, Transient)
    assert words in known.message


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (boto.NoCredentialsError(), "no credentials"),
        (boto.ProfileNotFound(profile="x"), "your AWS config has no profile 'x'"),
        (
            failed(boto.TokenRetrievalError(provider="x", error_msg="hunter2")),
            "the SSO session of profile 'p' has expired",
        ),
        (failed(boto.CredentialRetrievalError(provider="custom-process", error_msg="hunter2")), "its program failed"),
        (failed(RuntimeError("still expired")), "those that it gave have expired"),
        (boto.HTTPClientError(error=ssl.SSLCertVerificationError("x")), "its certificate is not trusted"),
        (boto.SSLError(endpoint_url="https://x", error=ssl.SSLError("x")), "no TLS there"),
        (caused(boto.BotoCoreError(), Redirected()), "redirects elsewhere"),
    ],
)
def test_settings_that_are_wrong_are_not_tried_again(error, words):
    known = explain(error, LIST)
    assert words in known.message
    assert not isinstance(known, Transient)
    assert "hunter2" not in known.message


def test_ours_stays_and_a_bug_is_none():
    ours = RemoteError("x")
    assert explain(ours, LIST) is ours
    assert explain(ValueError("a bug"), LIST) is None


def test_conditions_that_did_not_hold_are_recognised():
    assert is_name_taken(answer(412, "PreconditionFailed"))
    assert is_past_the_end(answer(416, "InvalidRange"))
    for error in (None, ValueError(), answer(403)):
        assert not is_name_taken(error)
        assert not is_past_the_end(error)
