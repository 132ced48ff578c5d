"""The signature of a request to S3: AWS Signature Version 4, for what dvlite asks. Knows no connection and no settings.

Source: Amazon S3 API Reference, "Authenticating Requests (AWS Signature Version 4)". Tested against botocore's signer.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

UNSIGNED = "UNSIGNED-PAYLOAD"
ENVIRONMENT = "the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN)"  # where keys may stand
_PLAIN = "-_.~"


@dataclass(frozen=True, slots=True)
class Keys:
    """Credentials, as they are valid now."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


def path_text(path: str) -> str:
    """Returns a path as it is sent and signed."""
    return quote(path, safe="/" + _PLAIN)


def query_text(query: Sequence[tuple[str, str]]) -> str:
    """Returns a query as it is sent and signed: sorted."""
    return "&".join(f"{quote(name, safe=_PLAIN)}={quote(value, safe=_PLAIN)}" for name, value in sorted(query))


def signed(method: str, target: str, headers: Mapping[str, str], *, keys: Keys, region: str) -> dict[str, str]:
    """Returns the headers of a request and those of its signature.

    `target` is path and query as they are sent; the names in `headers` are in lower case, and have `host`, `x-amz-date` and `x-amz-content-sha256`.
    """
    path, _, query = target.partition("?")
    token = {"x-amz-security-token": keys.session_token} if keys.session_token else {}
    headers = {**headers, **token}
    names = ";".join(sorted(headers))
    lines = [f"{name}:{' '.join(headers[name].split())}" for name in sorted(headers)]
    canonical = "\n".join([method, path, query, *lines, "", names, headers["x-amz-content-sha256"]])
    moment = headers["x-amz-date"]
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode("utf-8")).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}"
    signature = hmac.digest(_key_of_day(keys, moment[:8], region), text.encode("utf-8"), "sha256").hex()
    credential = f"Credential={keys.access_key_id}/{scope}"
    return headers | {"authorization": f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={names}, Signature={signature}"}


@functools.lru_cache(maxsize=8)
def _key_of_day(keys: Keys, day: str, region: str) -> bytes:
    key = f"AWS4{keys.secret_access_key}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode("utf-8"), "sha256")
    return key
