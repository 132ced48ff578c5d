"""The HTML report: well formed, nothing that runs, nothing from elsewhere, the pipeline drawn in layers.

Where a headless browser is on PATH, it is loaded there too.
"""

import dataclasses
import html.parser
import http.server
import re
import subprocess
import threading
from pathlib import Path

import pytest

from dvlite.reports.page import page
from tests.browsers import BROWSER, in_a_browser
from tests.reports.samples import HOSTILE, hostile, many, rerun

TITLE = re.compile("<title>(.*?)</title>", re.DOTALL)
VOID = {"meta", "rect", "path"}  # path and rect close themselves


class Reader(html.parser.HTMLParser):
    """Collects tags, attributes and text; fails where a tag is closed that is not open."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(text):
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert not reader.open
    return reader


@pytest.mark.parametrize("result", [rerun(), hostile(), many(3)], ids=["rerun", "hostile", "many"])
def test_nothing_in_it_runs_or_comes_from_elsewhere(result):
    reader = read(page(result))
    assert not {"script", "img", "iframe", "object", "embed", "link", "form", "b", "base"} & set(reader.tags)
    assert not [name for name, _ in reader.attributes if name.startswith("on") or name in {"src", "style", "srcset"}]
    links = [value for name, value in reader.attributes if name in {"href", "xlink:href"}]
    assert all(re.fullmatch(r"#stage-\d+", link) for link in links)
    assert "url(http" not in page(result)
    assert "@import" not in page(result)


def test_a_policy_forbids_scripts_and_other_hosts():
    policy = next(value for _, value in read(page(rerun())).attributes if value and "default-src" in value)
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")


@pytest.mark.parametrize("result", [rerun(), hostile(), many(3)], ids=["rerun", "hostile", "many"])
def test_every_box_leads_to_its_stage(result):
    reader = read(page(result))
    ids = [value for name, value in reader.attributes if name == "id" and value != "tip"]
    assert {value for name, value in reader.attributes if name == "href"} == {f"#{each}" for each in ids}
    assert len(ids) == len(set(ids)) == len(result.stages)


def test_boxes_have_the_colour_of_their_verdict():
    text = page(rerun())
    found = re.findall(r'<g class="(\w+)" [^>]*><title>([^:]+(?::sum)?):', text)
    assert found == [
        ("passed", "prepare"),
        ("failed", "train"),
        ("failed", "sub:sum"),
        ("unsure", "evaluate"),
        ("unsure", "other"),
    ]


def test_it_shows_light_and_dark():
    assert "prefers-color-scheme: dark" in page(rerun())


def test_what_differs_is_shown():
    text = " ".join(read(page(rerun())).text)
    for words in (
        "byte 3 is the first that differs",
        "- 00",
        "+ 01",
        "was not produced",
        "is not in the lockfile",
        "needs train",
    ):
        assert words in text


def test_long_tables_are_cut_with_a_word():
    assert "1,000 more are not shown" in page(many(3000))


def test_stages_that_do_not_reproduce_are_told_before_those_that_do():
    text = page(rerun())
    assert [text.index(f'<section id="stage-{number}">') for number in (1, 2, 3, 4, 0)] == sorted(
        text.index(f'<section id="stage-{number}">') for number in range(5)
    )


def test_a_legend_says_what_the_colours_of_the_drawing_mean():
    assert re.findall(r'<span class="(\w+)">. ', page(rerun()).partition('class="legend"')[2].partition("</p>")[0]) == [
        "passed",
        "failed",
        "unsure",
    ]


QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
)


@dataclasses.dataclass
class Browser:
    """Shows pages; what it asks other hosts for arrives at a proxy and stands in `requests`: its maker's hosts too, on its own account."""

    folder: Path
    proxy: str
    requests: list[str]

    def shows(self, text):
        """Returns the document of a page as it is once it has loaded."""
        file = self.folder / "report.html"
        file.write_text(text, encoding="utf-8")
        flags = (*QUIET, f"--proxy-server={self.proxy}", f"--user-data-dir={self.folder / 'profile'}")
        command = [BROWSER, *flags, "--virtual-time-budget=2000", "--dump-dom", file.as_uri()]
        return subprocess.run(command, capture_output=True, timeout=300, check=True).stdout.decode()


@pytest.fixture
def browser(tmp_path):
    requests = []

    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_error(404)

        do_CONNECT = do_POST = do_GET  # noqa: N815  (as http.server calls them)

        def log_message(self, *arguments):
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Browser(tmp_path, f"http://127.0.0.1:{server.server_port}", requests)
        server.shutdown()


@in_a_browser
def test_a_browser_shows_what_failed_runs_nothing_and_asks_no_host(browser):
    text = page(hostile())
    shown = browser.shows(text)
    assert TITLE.search(shown)[1] == TITLE.search(text)[1]
    assert "<script" not in shown
    assert "<img" not in shown
    assert shown.count("<rect ") == len(HOSTILE)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    named = set(re.findall(r"//([\w-]+\.[\w.-]+)", text))
    assert "example.com" in named
    assert not [request for request in browser.requests for host in named if host in request]


@in_a_browser
def test_a_page_that_ran_scripts_or_asked_a_host_would_be_noticed(browser):
    shown = browser.shows("<img src=http://example.com/x><script>document.title = 'ran'</script>")
    assert "<title>ran</title>" in shown
    assert "http://example.com/x" in browser.requests
