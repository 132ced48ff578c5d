"""Plain URLs: where redirects lead and do not, and by what name a URL's data goes."""

import http.client
import socket

import pytest

from dvlite.errors import RemoteError
from dvlite.formats.reference import Item
from dvlite.store.origins import item_of, length_in, name_in, plain
from dvlite.store.s3_http import Answer, Connections, Forbidden, Message, Server
from dvlite.store.s3_settings import connections_to_others
from dvlite.store.web import WebOrigin


def answering(monkeypatch, *locations):
    """Answers each request with a redirect to the next of these, at last with a file; returns what was asked of whom."""
    asked, left = [], list(locations)

    def send(_self, server, message):
        asked.append((f"{server.scheme}://{server.address}{message.target}", {*message.headers}))
        headers = http.client.HTTPMessage()
        if left:
            headers["Location"] = left.pop(0)
        return Answer(302 if headers else 200, headers, b"")

    monkeypatch.setattr(Connections, "send", send)
    return asked


def test_redirects_lead_anywhere_but_from_https_to_http(monkeypatch):
    asked = answering(monkeypatch, "/b", "https://other.example/ü?q=ä ö#top", "//third.example:8443/c")
    WebOrigin("https://ada.example/a", 1).look()
    assert [address for address, _ in asked] == [
        "https://ada.example/a",
        "https://ada.example/b",
        "https://other.example/%C3%BC?q=%C3%A4%20%C3%B6",
        "https://third.example:8443/c",
    ]
    assert {name for _, names in asked for name in names} == {"host", "user-agent", "accept", "accept-encoding"}
    for location in ("http://ada.example/b", "//ada.example:x/", "https://:80/x", "ftp://x/", "https://[1/", ""):
        asked = answering(monkeypatch, location, *[""] * 9)
        with pytest.raises(RemoteError, match=r"redirects|no address"):
            WebOrigin("https://ada.example/a", 1).look()
        assert {address for address, _ in asked} == {"https://ada.example/a"}, location


@pytest.mark.parametrize("host", ["127.0.0.2", "169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "0.0.0.0"])
def test_a_redirect_sends_nothing_to_this_machine_nor_to_where_clouds_serve_its_keys(monkeypatch, host):
    monkeypatch.setattr(socket, "getaddrinfo", lambda _host, port, **_: [(socket.AF_INET, 1, 6, "", (host, port))])
    connections = connections_to_others("")
    with pytest.raises(Forbidden):
        connections.send(Server("http", "eve.example", 80, elsewhere=True), Message("GET", "/", {}, b"", 0))


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://x.example/a/b.csv?x=/y", "b.csv"),
        ("https://x.example/a%20b/", "a b"),
        ("https://x.example/..%2f..%2fetc%2fpasswd", "passwd"),
        ("https://x.example/%2e%2e", ""),
        ("https://x.example/a%00b", ""),
        ("https://x.example/%1b[2J", ""),
        ("https://x.example", ""),
        ("s3://bucket/a/b/", "b"),
    ],
)
def test_the_name_of_what_is_at_a_url(url, name):
    assert name_in(url) == name


def test_what_headers_say_of_a_file_is_plain_text_or_left_out():
    head = http.client.HTTPMessage()
    for name, value in {
        "ETag": ' "a" ',
        "Last-Modified": "\x1b[2J",
        "x-amz-version-id": "null",
        "Content-Encoding": "GZIP\x1b",
    }.items():
        head[name] = value
    item = item_of(head, length_in(" 12 "))
    assert (item.etag, item.modified, item.version, item.size_bytes) == ('"a"', "", "", 12)
    assert item.encoding.startswith("gzip")
    assert item.encoding.isprintable()
    assert plain('"a"\r\nhost: ada.example') == ""
    head.replace_header("Content-Encoding", "identity")
    assert item_of(head, length_in("-1")) == Item("", None, '"a"')
