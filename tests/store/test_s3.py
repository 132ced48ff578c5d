"""S3: real requests to a real server, some of them broken on the way."""

import contextlib
import dataclasses
import http.client
import http.server
import socket
import threading
import time
import traceback
import tracemalloc
import urllib.parse

import pytest

from dvlite.errors import RemoteError
from dvlite.store import s3
from dvlite.store.object_store import ObjectAbsent, Transient
from dvlite.store.remote import open_store
from dvlite.store.retry import RetryBudget
from dvlite.store.s3_http import Answer
from dvlite.store.url import parse_url
from tests.store import company
from tests.store.company import refuses, running_company, wants_header, wants_region, without_header
from tests.store.faultproxy import Fault, running_proxy

NONE = RetryBudget(seconds=0, unreached_seconds=0)
PATIENT = RetryBudget(seconds=600, unreached_seconds=600, first_wait_seconds=0.02, longest_wait_seconds=0.2)
TRIED = r"\(tried (once|\d+ times) in \d+ s\)"
DATA = bytes(range(256)) * 400


@pytest.fixture
def open_at(weed, s3_prefix, tmp_path):
    """Opens this test's own prefix through an endpoint, with some options changed or (None) left out."""
    opened = []

    def open_at(endpoint_url, *, bucket=weed.bucket, budget=PATIENT, **changes):
        options = weed.options() | {"endpoint_url": endpoint_url} | changes
        options = {name: value for name, value in options.items() if value is not None}
        location = parse_url(f"s3://{bucket}/{s3_prefix}", tmp_path)
        opened.append(open_store(location, options, budget=budget, connections=4))
        return opened[-1]

    yield open_at
    for store in opened:
        store.close()


@pytest.fixture
def proxy(weed):
    with running_proxy(weed.endpoint_url) as proxy:
        yield proxy


@pytest.fixture
def store(proxy, open_at):
    return open_at(proxy.url)


PASSING = [
    (Fault.STATUS, 503),
    (Fault.STATUS, 500),
    (Fault.STATUS, 409),
    (Fault.STATUS, 429),
    (Fault.DROP_BEFORE, 0),
    (Fault.DROP_AFTER, 0),
    (Fault.TRUNCATE, 20),
    (Fault.DELAY, 0.3),
    (Fault.TWICE, 0),
]


@pytest.mark.parametrize(("fault", "argument"), PASSING)
def test_what_passes_is_repeated_for_every_operation(store, proxy, fault, argument):
    for method, operation in (
        ("PUT", lambda: store.put("packs/a", DATA)),
        ("GET", lambda: store.get("packs/a") == DATA),
        ("GET", lambda: store.get("packs/a", start=1000, end=90_000) == DATA[1000:90_000]),
        ("GET", lambda: [entry.name for entry in store.list("packs/").entries] == ["packs/a"]),
        ("POST", lambda: store.delete(["packs/a"]) is None),
    ):
        proxy.breaks(method, ".", fault, argument)
        assert operation()
        assert proxy.rules.pop().hits == 1
    assert store.list("").entries == ()


@pytest.mark.parametrize("fault", [Fault.DROP_AFTER, Fault.TWICE])
def test_a_lost_answer_to_our_own_conditional_put_is_success(store, proxy, fault):
    proxy.breaks("PUT", "config", fault)
    assert store.put("config", b"ours", only_if_absent=True)
    assert not store.put("config", b"theirs", only_if_absent=True)
    assert store.get("config") == b"ours"


def test_an_upload_damaged_on_the_way_is_refused_by_the_server_and_repeated(store, proxy):
    proxy.breaks("PUT", "packs/a", Fault.FLIP_REQUEST, 1000)
    assert store.put("packs/a", DATA)
    assert proxy.rules[0].hits == 1
    assert len([line for line in proxy.requests if line.startswith("PUT")]) == 2
    assert store.get("packs/a") == DATA


def test_a_server_that_stays_down_spends_the_budget(proxy, open_at):
    store = open_at(proxy.url, budget=dataclasses.replace(PATIENT, seconds=0.5))
    store.put("a", b"x")
    proxy.breaks("*", ".", Fault.STATUS, 503, times=None)
    with pytest.raises(RemoteError, match=rf"the server is busy or failing \(GetObject 'a': 503 SlowDown\) {TRIED}$"):
        store.get("a")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_nobody_below_tries_again_on_their_own(proxy, open_at, status):
    store = open_at(proxy.url, budget=NONE)
    proxy.breaks("*", ".", Fault.STATUS, status, times=None)
    for number, operation in enumerate((lambda: store.put("a", b"x"), lambda: store.get("a"), lambda: store.list(""))):
        with pytest.raises(RemoteError, match=r"\(tried once in \d+ s\)"):
            operation()
        assert len(proxy.requests) == number + 1


def test_access_denied_fails_at_once(store, proxy):
    proxy.breaks("*", ".", Fault.STATUS, 403, times=None)
    with pytest.raises(RemoteError, match="access denied") as caught:
        store.put("a", b"x")
    assert "credentials" in caught.value.hint
    assert len(proxy.requests) == 1


@pytest.mark.parametrize(
    "body",
    ["<html><p>Please sign in<br></html>", "<html><body><p>Please sign in</p></body></html>", "", "{}"],
)
def test_a_captive_portal_is_not_a_store(proxy, open_at, body):
    store = open_at(proxy.url, budget=NONE)  # some of them may be a server that starts
    proxy.breaks("*", ".", Fault.BODY, body, times=None)
    for operation in (
        lambda: store.put("a", b"x"),
        lambda: store.put("a", b"x", only_if_absent=True),
        lambda: store.get("a"),
        lambda: store.get("a", start=0, end=5),
        lambda: store.list(""),
    ):
        with pytest.raises(RemoteError, match=r"not an S3 server"):
            operation()


def test_no_more_is_read_than_was_asked_for(store, proxy):
    proxy.breaks("GET", ".", Fault.BODY, "x" * 5000, times=None, headers={"ETag": '"x"'})
    with pytest.raises(RemoteError, match="not an S3 server"):
        store.get("config", start=0, end=4000)
    assert store.get("config", start=0, end=5000) == b"x" * 5000  # all of it is an answer to a range that covers it


def test_redirects_are_not_followed(store, proxy, open_at):
    with running_proxy(proxy.upstream) as elsewhere:
        proxy.breaks("*", ".", Fault.REDIRECT, f"{elsewhere.url}/latest/meta-data", times=None)
        for operation in (lambda: store.put("a", b"x"), lambda: store.get("a"), lambda: store.list("")):
            with pytest.raises(RemoteError, match="redirects elsewhere"):
                operation()
        assert elsewhere.requests == []


def test_each_operation_makes_one_request(store, proxy):
    store.put("packs/a", b"x" * (20 << 20))
    store.get("packs/a")
    store.get("packs/a", start=5, end=9)
    store.list("packs/")
    store.list("packs/")
    store.delete(["packs/a", "packs/b"])
    assert [line.split(" ")[0] for line in proxy.requests] == ["PUT", "GET", "GET", "GET", "GET", "POST"]


def test_what_is_sent_and_received_is_in_memory_once(weed, open_at):
    store, data = open_at(weed.endpoint_url), bytes(16 << 20)
    store.put("packs/a", b"first")  # loads modules
    tracemalloc.start()
    try:
        store.put("packs/a", data)
        sent = tracemalloc.get_traced_memory()[1]
        assert store.get("packs/a") == data
        received = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sent < 0.5 * len(data)
    assert received < 1.5 * len(data)


def test_what_another_client_does_is_seen(store, open_at, weed):
    other = open_at(weed.endpoint_url)
    assert store.list("roots/").entries == ()
    other.put("roots/a", b"x")
    assert [entry.name for entry in store.list("roots/").entries] == ["roots/a"]
    assert store.get("roots/a") == b"x"
    other.delete(["roots/a"])
    assert store.list("roots/").entries == ()
    with pytest.raises(ObjectAbsent):
        store.get("roots/a")


@pytest.mark.long  # 1,203 objects, for a page has 1,000
def test_a_listing_of_several_pages_is_complete(store, proxy):
    from concurrent.futures import ThreadPoolExecutor

    names = [f"index/{number:04}" for number in range(1203)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: store.put(name, b"x"), names))
    proxy.requests.clear()
    assert sorted(entry.name for entry in store.list("index/").entries) == names
    assert len(proxy.requests) == 2
    proxy.breaks("GET", "continuation-token", Fault.TRUNCATE, 100)
    assert len(store.list("index/").entries) == 1203
    proxy.requests.clear()
    store.delete(names)
    assert len(proxy.requests) == 2
    assert store.list("index/").entries == ()


def test_foreign_keys_are_not_listed(store, weed, s3_prefix, tmp_path):
    import s3fs

    store.put("packs/a", b"x")
    files = s3fs.S3FileSystem(
        key=weed.access_key_id,
        secret=weed.secret_access_key,
        endpoint_url=weed.endpoint_url,
        skip_instance_cache=True,
    )
    for key in ("packs/README", "packs/folder/", "packs/a b", "packs/ü"):
        files.call_s3("put_object", Bucket=weed.bucket, Key=f"{s3_prefix}/{key}", Body=b"")
    assert [entry.name for entry in store.list("").entries] == ["packs/a"]


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"secret_access_key": "wrong-secret"}, "the secret key is wrong", "check the access key"),
        ({"access_key_id": "nobody"}, "the access key is not known there", "check the access key"),
    ],
)
def test_wrong_settings_have_one_line_and_a_hint(weed, open_at, changes, message, hint):
    store = open_at(**({"endpoint_url": weed.endpoint_url} | changes))
    for operation in (lambda: store.list(""), lambda: store.get("a"), lambda: store.put("a", b"x")):
        with pytest.raises(RemoteError, match=message) as caught:
            operation()
        assert "tried" not in caught.value.message
        assert hint in caught.value.hint
        assert "\n" not in caught.value.message
        assert not isinstance(caught.value, ObjectAbsent)
        shown = "".join(traceback.format_exception(caught.value))
        assert weed.secret_access_key not in shown
        assert "wrong-secret" not in shown
        assert "Signature=" not in shown


def test_a_missing_bucket_is_named(weed, open_at):
    store = open_at(weed.endpoint_url, bucket="no-such-bucket")
    for operation in (lambda: store.list(""), lambda: store.get("a")):  # a put makes SeaweedFS create it
        with pytest.raises(RemoteError, match="there is no bucket 'no-such-bucket'") as caught:
            operation()
        assert "create it" in caught.value.hint


def test_an_unreachable_endpoint_spends_the_short_budget(open_at):
    with socket.socket() as taken:  # bound, not listening: refuses
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        store = open_at(url, budget=dataclasses.replace(PATIENT, unreached_seconds=0.5))
        pattern = rf"^cannot reach s3://dvlite/\S+ at {url}: connection refused {TRIED}$"
        with pytest.raises(RemoteError, match=pattern) as caught:
            store.list("")
        assert "endpoint_url" in caught.value.hint


def test_a_host_name_that_nobody_knows(open_at):
    store = open_at("http://store.example.invalid:9000", budget=NONE)
    with pytest.raises(RemoteError, match="the host name is not known"):
        store.list("")


def test_a_server_without_tls(weed, open_at):
    store = open_at(weed.endpoint_url.replace("http:", "https:"))
    with pytest.raises(RemoteError, match=r"no TLS there$"):
        store.list("")


@contextlib.contextmanager
def listing_server(page_after):
    """A server that lists page by page: `page_after` maps the token of a request to its keys and the token of the next page."""

    class Pages(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
            keys, following = page_after[asked.get("continuation-token", [""])[0]]
            contents = "".join(
                f"<Contents><Key>{asked['prefix'][0]}{key}</Key><Size>1</Size>"
                "<LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"
                for key in keys
            )
            page = (
                '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
                f"<Name>b</Name>{contents}<IsTruncated>{'true' if following else 'false'}</IsTruncated>"
                f"<NextContinuationToken>{following}</NextContinuationToken></ListBucketResult>"
            ).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *arguments):
            return

    with http.server.HTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def test_a_listing_is_asked_for_page_by_page(open_at):
    pages = {"": (["a", "b"], "2nd"), "2nd": (["c"], "3rd/+="), "3rd/+=": (["d"], "")}
    with listing_server(pages) as url:
        assert [entry.name for entry in open_at(url).list("index/").entries] == [f"index/{key}" for key in "abcd"]


class Endless(dict):
    """Pages that never end: each has a token of its own."""

    def __missing__(self, token):
        return [], f"{token}x"


@pytest.mark.parametrize(
    ("pages", "words"),
    [
        ({"": (["a"], "again"), "again": (["a"], "again")}, "repeats its continuation token"),
        ({"": (["a"], "x"), "x": (["b"], "y"), "y": (["c"], "x")}, "repeats its continuation token"),
        (Endless(), "has nothing new"),
    ],
    ids=["the same", "a circle", "nothing"],
)
def test_an_endless_listing_is_an_error(open_at, monkeypatch, pages, words):
    monkeypatch.setattr(s3, "_IDLE_PAGES", 20)
    with listing_server(pages) as url, pytest.raises(RemoteError, match=f"never ends .it {words}"):
        open_at(url).list("")


@pytest.mark.parametrize("date", [None, "soon", "Mon, 30 Nov 99999 02:23:08 GMT", "Mon, 30 Nov 2026 02:23:08 GMT"])
def test_the_clock_of_a_listing_is_that_of_the_server_and_of_this_computer_where_it_has_none(date):
    headers = http.client.HTTPMessage()
    if date is not None:
        headers["Date"] = date
    expected = 1796005388.0 if date and "2026" in date else time.time()
    assert abs(s3._server_time(Answer(200, headers, b"")) - expected) < 60


@pytest.fixture
def company_store(tmp_path):
    """Returns an in-memory server of odd habits, and opens a store in it with these options."""
    with running_company() as server:
        opened = []

        def open_with(**options):
            keys = {"access_key_id": "x", "secret_access_key": "x"}
            options = {"endpoint_url": server.url} | (options if "anonymous" in options else keys | options)
            opened.append(open_store(parse_url("s3://bucket/x", tmp_path), options, budget=NONE, connections=2))
            return opened[-1]

        yield server, open_with
        for store in opened:
            store.close()


@pytest.mark.parametrize(("status", "code"), [(400, "InvalidArgument"), (501, "NotImplemented")])
def test_a_server_that_refuses_the_header_of_a_crc_gets_an_md5_from_then_on(company_store, status, code):
    server, open_with = company_store
    server.rules = [without_header("x-amz-checksum-", status, code)]
    store = open_with()
    assert store.put("a", b"hello")
    assert store.put("b", b"world")
    md5s = [request.headers.get("content-md5") for request in server.requests]
    assert md5s == [None, "XUFAKrxLKna5cZ2REBfFkg==", "fXkwN6B2AYZXSwKC8vQ15w=="]
    with pytest.raises(RemoteError, match=f"PutObject 'c': {status} {code}"):
        open_with(checksum="crc32").put("c", b"x")
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    "rule",
    [
        refuses("DeleteObjects", 501, "NotImplemented"),
        refuses("DeleteObjects", 403, "AccessDenied"),
        wants_header("content-md5", "x", 400, "MissingContentMD5", operations="DeleteObjects"),
    ],
)
def test_a_server_without_batch_delete_is_asked_for_one_object_at_a_time(company_store, rule):
    server, open_with = company_store
    server.rules = [rule]
    server.objects = {"x/a": b"", "x/b": b"", "x/c": b""}
    store = open_with()
    store.delete(["a", "b", "absent"])
    store.delete(["c"])
    assert server.objects == {}
    assert server.operations == ["DeleteObjects", *["DeleteObject"] * 4]


def test_the_region_that_a_server_names_is_remembered(company_store):
    server, open_with = company_store
    server.rules = [wants_region("eu-central-9", redirects=True)]
    store = open_with()
    for _ in range(2):
        store.list("")
    assert [request.signed_by[1] for request in server.requests] == ["us-east-1", "eu-central-9", "eu-central-9"]


@pytest.mark.parametrize("region", ["elsewhere.example/", "us-east-1", "", "a" * 99, "x@y"])
def test_a_redirect_to_what_is_no_other_region_is_not_followed(company_store, region):
    server, open_with = company_store
    server.rules = [lambda _: company.error(301, "PermanentRedirect", x_amz_bucket_region=region)]
    with pytest.raises(RemoteError, match="redirects elsewhere"):
        open_with().list("")
    assert len(server.requests) == 1


def test_a_server_that_sends_to_another_region_each_time_is_asked_twice(company_store):
    server, open_with = company_store
    server.rules = [lambda _: company.error(307, "x", x_amz_bucket_region=f"region-{len(server.requests)}")]
    with pytest.raises(RemoteError, match="redirects elsewhere"):
        open_with().list("")
    assert len(server.requests) == 2


@pytest.mark.parametrize(("body", "passes"), [("<Error><Code>InternalError</Code></Error>", True), ("<html/>", False)])
def test_a_success_that_holds_an_error_is_none(company_store, body, passes):
    server, open_with = company_store
    server.rules = [lambda _: company.Answer(200, body.encode())]
    for operation in (lambda: open_with().list(""), lambda: open_with().delete(["a"])):
        with pytest.raises(RemoteError) as caught:
            operation()
        assert isinstance(caught.value.__cause__, Transient) == passes


def test_what_may_not_be_deleted_is_an_error_of_that_object(company_store):
    server, open_with = company_store
    server.rules = [
        refuses("DeleteObject", 403, "AccessDenied", part="x/b"),
        refuses("DeleteObjects", 501, "NotImplemented"),
    ]
    with pytest.raises(RemoteError, match=r"access denied \(DeleteObject 'b': 403 AccessDenied\)"):
        open_with().delete(["b"])


def test_the_options_of_uploads_and_of_who_pays_go_out_with_every_request_they_are_for(company_store):
    server, open_with = company_store
    store = open_with(
        requester_pays="true", sse="aws:kms", sse_kms_key_id="alias/birds", storage_class="STANDARD_IA", acl="bucket-owner-full-control"
    )  # fmt: skip
    store.put("a", b"x")
    store.get("a")
    store.list("")
    store.delete(["a"])
    assert [request.headers.get("x-amz-request-payer") for request in server.requests] == ["requester"] * 4
    upload = server.requests[0].headers
    assert upload["x-amz-server-side-encryption"] == "aws:kms"
    assert upload["x-amz-server-side-encryption-aws-kms-key-id"] == "alias/birds"
    assert upload["x-amz-storage-class"] == "STANDARD_IA"
    assert upload["x-amz-acl"] == "bucket-owner-full-control"
    assert "x-amz-acl" not in server.requests[1].headers


def test_a_closed_store_opens_again(store):
    store.put("a", b"x")
    store.close()
    assert store.get("a") == b"x"
