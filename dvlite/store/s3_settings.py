"""Where and how a remote in a bucket is reached: from its options, the AWS variables of the environment and, only where those leave
something open that it may answer, the AWS config, which botocore reads (0.2 s of CPU).

Makes no request. Raises SettingWrong, and CredentialsFailed where there is no such profile.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from dvlite import files
from dvlite.show import printable, quote
from dvlite.store.s3_errors import SettingWrong
from dvlite.store.s3_http import Connections, Server, Trust
from dvlite.store.s3_sign import ENVIRONMENT, Keys

_DEFAULT_REGION = "us-east-1"
_REGION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_IP = re.compile(r"[0-9.]+|.*:.*")
_HOSTED_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9-]{1,61}[a-z0-9])")
_PARTITIONS = (  # the start of a region, and the domain that is there; the first that fits
    ("cn-", "amazonaws.com.cn"),
    ("eusc-", "amazonaws.eu"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("us-iso-", "c2s.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("", "amazonaws.com"),
)
_KEYS = ("access_key_id", "secret_access_key", "session_token")
_VARIANTS = (  # of Amazon's addresses, as the AWS tools call them
    "use_fips_endpoint",
    "use_dualstack_endpoint",
    "s3_us_east_1_regional_endpoint",
    "s3_use_accelerate_endpoint",
)
_CONFIG_BYTES = 1 << 20
_CONFIG_FILES = {"AWS_CONFIG_FILE": "~/.aws/config", "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials"}
_CA_HINT = (
    "correct the option ca_bundle of this remote, AWS_CA_BUNDLE, ca_bundle of your AWS profile, or REQUESTS_CA_BUNDLE"
)


class Profile(Protocol):
    """What the AWS config and the environment say, for the profile in use; empty for what they do not."""

    def variable(self, name: str) -> str: ...

    def endpoint_url(self) -> str: ...

    def of_s3(self) -> dict[str, str]: ...

    def keys(self) -> Keys:
        """Returns the credentials that are valid now; fetches or renews them if that is due. Raises CredentialsFailed."""

    @property
    def place(self) -> str:
        """Where the credentials come from, for who corrects them."""


@dataclass(frozen=True, slots=True)
class S3Settings:
    """How requests go to one bucket."""

    bucket: str
    endpoint_url: str
    """Empty for Amazon's own."""
    region: str
    is_virtual: bool
    """The bucket is a part of the host name, if it can be."""
    variants: frozenset[str]
    """Which of Amazon's addresses: `use_fips_endpoint`, `use_dualstack_endpoint`, ..."""
    trust: Trust
    keys: Callable[[], Keys] | None
    """None: requests are not signed."""

    def address(self, region: str) -> tuple[Server, str]:
        """Returns the server for the bucket in a region, and the path of the bucket there."""
        if self.endpoint_url:
            parts = urlsplit(self.endpoint_url)
            scheme, host, path = parts.scheme, parts.hostname or "", parts.path.rstrip("/")
            port = parts.port or {"http": 80, "https": 443}[scheme]
        else:
            scheme, port, path, host = "https", 443, "", _host_of_amazon(region, self.variants)
        if self.is_virtual and _HOSTED_BUCKET.fullmatch(self.bucket) and _IP.fullmatch(host) is None:
            return Server(scheme, f"{self.bucket}.{host}", port), path
        return Server(scheme, host, port), f"{path}/{self.bucket}"


def is_region(text: str) -> bool:
    """Returns whether a text may be a region: it becomes a part of a host name."""
    return _REGION.fullmatch(text) is not None


def read_settings(bucket: str, options: Mapping[str, str]) -> S3Settings:
    """Returns the settings of a bucket; the first place that has one counts: options, environment, AWS config."""
    environ = os.environ
    is_anonymous = options.get("anonymous") == "true"
    keys = None if is_anonymous else _plain_keys(options, environ)
    endpoint = options.get("endpoint_url") or _endpoint_of_environment(environ)
    region = options.get("region") or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""
    bundle = options.get("ca_bundle") or environ.get("AWS_CA_BUNDLE") or ""
    variants = {name: environ.get(f"AWS_{name.upper()}", "") for name in _VARIANTS}
    profile: Profile | None = None
    is_open = {"region": not region, "ca_bundle": not bundle and _may_verify(endpoint, options)}
    is_open |= dict.fromkeys(("endpoint_url", "services", "s3", *_VARIANTS), not endpoint)
    if (keys is None and not is_anonymous) or _may_say([name for name in is_open if is_open[name]], options, environ):
        from dvlite.store import s3_aws

        profile = s3_aws.AwsProfile(options.get("profile"), connections_to_others)
        endpoint = endpoint or profile.endpoint_url()
        region = region or profile.variable("region")
        bundle = bundle or profile.variable("ca_bundle")
        of_s3 = profile.of_s3()
        variants = {name: of_s3.get(name.removeprefix("s3_")) or profile.variable(name) for name in _VARIANTS}
    if not endpoint and bucket.endswith("--x-s3"):
        raise SettingWrong(
            "directory buckets (S3 Express One Zone) are not supported", hint="use a general purpose bucket"
        )
    style = options.get("addressing_style", "auto")
    verify = _may_verify(endpoint, options)
    return S3Settings(
        bucket=bucket,
        endpoint_url=_endpoint(endpoint),
        region=_region(region),
        is_virtual=style == "virtual" if endpoint else style != "path",
        variants=frozenset(name for name, value in variants.items() if value.lower() in ("true", "regional")),
        trust=trust_of(bundle or environ.get("REQUESTS_CA_BUNDLE") or "") if verify else Trust(verify=False),
        keys=None if is_anonymous else _source(keys, profile),
    )


def proxy_of(server: Server) -> str | None:
    """Returns the URL of the proxy for a server, by HTTP_PROXY, HTTPS_PROXY, NO_PROXY and what the system has set."""
    if sys.platform == "linux" and not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies, proxy_bypass  # 15 ms

    proxy = getproxies().get(server.scheme)
    if not proxy or proxy_bypass(server.address):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if not proxy.startswith("http://"):
        raise SettingWrong(
            f"the proxy for {server.scheme} is not an http:// one", hint=f"correct {server.scheme.upper()}_PROXY"
        )
    return proxy


def _plain_keys(options: Mapping[str, str], environ: Mapping[str, str]) -> Keys | None:
    """Returns the keys that options or the environment give; None if something else has to be asked."""
    if "access_key_id" in options:
        keys = Keys(*(options.get(name, "") for name in _KEYS))
        _require_clean(keys, "the options of this remote")
        return keys
    token = environ.get("AWS_SECURITY_TOKEN") or environ.get("AWS_SESSION_TOKEN") or ""
    keys = Keys(environ.get("AWS_ACCESS_KEY_ID", ""), environ.get("AWS_SECRET_ACCESS_KEY", ""), token)
    is_whole = keys.access_key_id and keys.secret_access_key and not environ.get("AWS_CREDENTIAL_EXPIRATION")
    if "profile" in options or not is_whole:
        return None
    _require_clean(keys, ENVIRONMENT)
    return keys


def _require_clean(keys: Keys, place: str) -> None:
    """Raises SettingWrong for a key with a blank or a line break: a secret of a CI that was pasted with its line end."""
    for name in _KEYS:
        value = getattr(keys, name)
        if value and re.fullmatch(r"[!-~]+", value) is None:
            raise SettingWrong(
                f"the {name.replace('_', ' ')} has a blank, a line break or another odd character in it",
                hint=f"correct it in {place}",
            )


def trust_of(bundle: str) -> Trust:
    """Returns the trust in a CA bundle; in what this machine trusts, and botocore has, if it is empty."""
    if not bundle:
        return Trust(others=_certificates_of_botocore)
    trust = Trust(bundle=bundle)
    try:
        trust.context()
    except FileNotFoundError:
        raise SettingWrong(f"the CA bundle {quote(bundle)} does not exist", hint=_CA_HINT) from None
    except OSError:
        raise SettingWrong(f"the CA bundle {quote(bundle)} cannot be used", hint=_CA_HINT) from None
    return trust


def _certificates_of_botocore() -> str:
    from dvlite.store import s3_aws

    return str(s3_aws.certificates())


def connections_to_others(bundle: str, most: int = 2) -> Connections:
    """Returns connections to servers that are no S3; without a `bundle`, what this machine and the environment trust counts."""
    return Connections(trust_of(bundle or os.environ.get("REQUESTS_CA_BUNDLE") or ""), proxy_of, most=most)


def _source(keys: Keys | None, profile: Profile | None) -> Callable[[], Keys]:
    if keys is not None:
        return lambda: keys
    assert profile is not None
    return functools.partial(_keys_of, profile)


def _keys_of(profile: Profile) -> Keys:
    keys = profile.keys()
    _require_clean(keys, profile.place)
    return keys


def _endpoint_of_environment(environ: Mapping[str, str]) -> str:
    if environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return ""
    return environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or ""


def _may_verify(endpoint: str, options: Mapping[str, str]) -> bool:
    return options.get("verify") != "false" and not endpoint.startswith("http://")


def _may_say(names: Sequence[str], options: Mapping[str, str], environ: Mapping[str, str]) -> bool:
    """Returns whether the AWS config may have one of these settings: it is read by botocore, and looked through here."""
    if not names:
        return False
    if "profile" in options or environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE"):
        return True
    setting = re.compile(rf"^\s*(?:{'|'.join(names)})\s*[=:]".encode(), re.IGNORECASE | re.MULTILINE)
    for variable, usual in _CONFIG_FILES.items():
        path = Path(os.path.expanduser(os.path.expandvars(environ.get(variable) or usual)))
        if path.exists():
            text = files.read_own(path, _CONFIG_BYTES)
            if text is None or setting.search(text):
                return True
    return False


def _region(text: str) -> str:
    if text in ("", "aws-global"):
        return _DEFAULT_REGION
    if not is_region(text):
        raise SettingWrong(f"{quote(text)} is not a region")
    return text


def _endpoint(url: str) -> str:
    """Returns an endpoint, without a slash at its end; the environment and the AWS config may name anything."""
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        is_plain = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_plain = False
    if not is_plain or not url.isprintable() or parts.query or parts.fragment:
        shown = printable(url.rpartition("@")[2][:200])  # what stands before may be a password
        raise SettingWrong(f"invalid endpoint: {shown}")
    return url.rstrip("/")


def _host_of_amazon(region: str, variants: frozenset[str]) -> str:
    domain = next(domain for start, domain in _PARTITIONS if region.startswith(start))
    name = "s3-fips" if "use_fips_endpoint" in variants else "s3"
    if "s3_use_accelerate_endpoint" in variants:
        name, region = "s3-accelerate", ""
    dualstack = "dualstack" if "use_dualstack_endpoint" in variants else ""
    if region == _DEFAULT_REGION and not variants:
        region = ""  # it has always answered for the regions that it does not know, too
    return ".".join(part for part in (name, dualstack, region, domain) if part)
