"""`import-url` and its updates: from servers that misbehave, buckets and folders; nothing half written, nothing taken on trust."""

import json
import os

import pytest

from dvlite.commands.update import update
from dvlite.formats.reference import Item
from dvlite.progress import NullProgress
from dvlite.repo.repository import open_repo
from dvlite.store.s3 import S3Origin, S3Store
from dvlite.store.url import Location
from tests.commands.badserver import Page, serving

BODY = bytes(range(256)) * 12_000  # 3 MiB
HALF = len(BODY) // 2
STARTED = {".git", ".dvlite", ".dvliteignore", ".gitattributes"}


@pytest.fixture
def pages():
    return {}


@pytest.fixture
def web(pages, monkeypatch):
    monkeypatch.setenv("DVLITE_RETRY_SECONDS", "0.3")
    with serving(pages) as address:
        yield address


def left_over(project):
    """Returns what a failed import may have left behind."""
    work = [name for name in os.listdir(project.root) if name not in STARTED]
    cache = project.root / ".git/dvlite/cache"
    return work + (os.listdir(cache / "tmp") + os.listdir(cache / "packs") if cache.exists() else [])


def test_a_url_is_tracked_with_what_its_server_says_and_followed(project, pages, web):
    pages["/birds.csv"] = Page(b"a,b\n", etag='"one"', modified="Mon, 30 Nov 2026 11:00:00 GMT")
    result = project.json("import-url", f"{web}/birds.csv", "data/")
    assert (result["path"]["path"], result["source"]["etag"]) == ("data/birds.csv", '"one"')
    assert project.read("data/birds.csv") == b"a,b\n"
    project.commit()
    assert project.json("status", "--remote")["sources"][0]["state"] == "current"
    pages["/birds.csv"].asked.clear()
    assert "Nothing to update" in project.dvlite("update").stdout
    assert [method for method, *_ in pages["/birds.csv"].asked] == ["HEAD"]
    pages["/birds.csv"].body, pages["/birds.csv"].etag = b"a,b,c\n", '"two"'
    status = project.json("status", "--remote")
    assert ([source["state"] for source in status["sources"]], status["clean"]) == (["moved"], False)
    assert "would be updated" in project.dvlite("update", "-n").stdout
    project.dvlite("update")
    assert project.read("data/birds.csv") == b"a,b,c\n"
    assert b'etag: "\\"two\\""' in project.read("data/birds.csv.dvlite")
    del pages["/birds.csv"]
    assert "there is nothing at" in project.dvlite("update", "data/birds.csv", code=3).stderr


def test_a_server_that_says_nothing_is_downloaded_again_only_when_the_path_is_named(project, pages, web):
    pages["/x"] = pages["/"] = Page(b"one", head=False)
    project.dvlite("import-url", f"{web}/x")
    assert project.json("import-url", f"{web}/")["path"]["path"] == "127.0.0.1"
    project.dvlite("rm", "127.0.0.1")
    pages["/x"].body = b"two"
    assert project.json("update", code=3)["paths"][0]["state"] == "failed"
    assert project.read("x") == b"one"
    project.dvlite("update", "x")
    assert project.read("x") == b"two"


def test_what_breaks_off_is_taken_up_where_it_was(project, pages, web):
    pages["/big"] = Page(BODY, etag='"big"', stops=2, sends=HALF // 2)
    project.dvlite("import-url", f"{web}/big")
    assert project.read("big") == BODY
    assert [part for method, part, _ in pages["/big"].asked if method == "GET"] == [
        None,
        f"bytes={HALF // 2}-",
        f"bytes={HALF // 2 * 2}-",
    ]


def test_a_later_command_goes_on_where_the_first_one_failed(project, pages, web):
    pages["/big"] = Page(BODY, etag='"big"', stops=1000, sends=10)
    pages["/big"].body = BODY
    failed = project.dvlite("import-url", f"{web}/big", code=1)
    assert "the connection broke off" in failed.stderr
    assert left_over(project) == []
    pages["/big"].stops = 0
    pages["/big"].asked.clear()
    project.dvlite("import-url", f"{web}/big")
    assert project.read("big") == BODY
    (_, part, _) = pages["/big"].asked[-1]
    assert part not in (None, "bytes=0-")


def test_without_ranges_or_a_strong_tag_it_begins_again(project, pages, web):
    for name, etag in (("none", None), ("weak", 'W/"weak"'), ("strong", '"strong"')):
        pages[f"/{name}"] = Page(BODY, etag=etag, ranges=False, stops=1, sends=HALF)
        project.dvlite("import-url", f"{web}/{name}")
        assert project.read(name) == BODY


def test_a_file_that_changes_in_the_middle_is_not_mixed(project, pages, web):
    page = pages["/big"] = Page(BODY, etag='"one"', stops=1, sends=HALF)
    project.dvlite("import-url", f"{web}/big", "first")
    new = BODY[::-1]
    page.body, page.stops, page.etag = BODY, 1, '"two"'

    class Changes(Page):
        @property
        def stops(self):
            return self._stops

        @stops.setter
        def stops(self, value):
            if value == 0:
                self.body, self.etag = new, '"three"'
            self._stops = value

    pages["/big"] = Changes(BODY, etag='"two"', stops=1, sends=HALF)
    project.dvlite("import-url", f"{web}/big", "second")
    assert project.read("second") == new


BAD = {
    "a length that is too long": (Page(b"short", length=100), "the connection broke off"),
    "no length": (Page(b"some", length=-1), "does not say how long"),
    "no such page": (Page(status=404), "there is nothing at"),
    "credentials wanted": (Page(status=401), "dvlite sends no credentials"),
    "a failing server": (Page(status=503), "busy or failing (503)"),
    "a redirect in a circle": (Page(status=302, location="/x"), "redirects more than 5 times"),
    "a redirect to nowhere": (Page(status=302, location="http://[bad"), "no address"),
    "a redirect to a file": (Page(status=302, location="file:///etc/passwd"), "no address"),
    "a redirect to this machine": (Page(status=302, location="http://[::1]:9/"), "an address of this machine"),
    "another part": (Page(BODY, etag='"x"', stops=1, sends=HALF, wrong_part=True), "another part"),
}


def test_a_server_that_misbehaves_is_one_clear_line_and_nothing_is_written(project, pages, web):
    for case, (page, words) in BAD.items():
        pages["/x"] = page
        failed = project.dvlite("import-url", f"{web}/x", code=1)
        assert words in failed.stderr, case
        assert failed.stderr.count("error:") == 1
        assert left_over(project) == []


def test_redirects_are_followed_without_credentials_and_what_is_compressed_stays_so(project, pages, web):
    pages["/x"] = Page(status=302, location="/y")
    pages["/y"] = Page(b"\x1f\x8b not text", encoding="gzip", etag='"y"')
    done = project.dvlite("import-url", f"{web}/x", "got")
    assert "came compressed (gzip)" in done.stderr
    assert project.read("got") == b"\x1f\x8b not text"
    sent = {name.lower() for _, _, headers in pages["/y"].asked for name in headers}
    assert sent == {"host", "user-agent", "accept", "accept-encoding"}


def test_an_address_with_secrets_or_tricks_is_refused_and_not_repeated(project):
    for url in (
        "https://ada:secret@example.com/x",
        "https://example.com/x?X-Amz-Signature=secret",
        "https://example.com/x?sig=secret",
        "ext::sh -c touch% /tmp/x",
        "https://example.com/\x1b[2Jsecret",
        "-oProxyCommand=secret",
        "memory://secret",
    ):
        failed = project.dvlite("import-url", "--", url, "x", code=2)
        assert "\x1b" not in failed.stderr
        assert not {"@", "?"} & {*url} or "secret" not in failed.stderr
        assert left_over(project) == []


def test_what_has_no_name_at_its_address_needs_one(project):
    for end in ("", "/", "/..%2f", "/?a=b"):
        assert "what is at this URL needs a name" in project.dvlite("get", f"http://127.0.0.1:1{end}", code=2).stderr


def test_what_is_in_the_repository_is_no_source_whoever_names_it(project, tmp_path):
    (tmp_path / "raw").write_bytes(b"1")
    project.dvlite("import-url", str(tmp_path / "raw"), "raw")
    project.write("secrets", "of this user\n")
    failed = project.dvlite("import-url", "./secrets", "x", code=2)
    assert "dvlite add PATH -o OUT" in failed.stderr
    assert "secrets" in project.git("status", "--porcelain")
    text = project.read("raw.dvlite").decode().replace(str(tmp_path / "raw"), "./secrets")
    project.write("raw.dvlite", text)
    project.dvlite("update", "raw", code=2)
    assert project.read("raw") == b"1"


def test_a_pointer_of_a_stranger_contacts_no_one_unless_the_user_approves(project, colleague, pages, web):
    pages["/x"] = Page(b"one", etag='"1"')
    project.dvlite("import-url", f"{web}/x")
    project.commit()
    other = colleague(project)
    pages["/x"].asked.clear()
    for command in (["status"], ["pull"], ["checkout"], ["push"], ["ls"], ["verify"]):
        other.dvlite(*command, code=None)
    refused = other.dvlite("update", code=1)
    assert f"dvlite remote trust {web}" in refused.stderr
    unknown = other.json("status", "--remote")["sources"][0]
    assert (unknown["state"], unknown["hint"].startswith("dvlite remote trust")) == ("unknown", True)
    assert pages["/x"].asked == []
    other.dvlite("remote", "trust", web)
    other.dvlite("update", "x")
    assert pages["/x"].asked


def test_a_folder_is_imported_and_its_changes_are_found(project, tmp_path):
    raw = tmp_path / "raw"
    (raw / "sub").mkdir(parents=True)
    (raw / "a").write_bytes(b"a")
    (raw / "sub/b").write_bytes(b"b")
    project.dvlite("import-url", raw, "data/raw")
    assert (project.root / "data/raw/sub/b").read_bytes() == b"b"
    assert project.json("status", "--remote")["sources"][0]["state"] == "current"
    (raw / "sub/b").write_bytes(b"changed")
    assert project.json("status", "--remote")["sources"][0]["state"] == "moved"
    project.dvlite("update")
    assert project.read("data/raw/sub/b") == b"changed"
    project.write("data/raw/a", "mine")
    (raw / "a").write_bytes(b"theirs")
    assert "is in the way" in project.dvlite("update", code=2).stderr
    project.dvlite("add", "data/raw")
    assert "was changed here since it was imported" in project.dvlite("update", code=2).stderr
    project.dvlite("update", "--force")
    assert project.read("data/raw/a") == b"theirs"
    assert "lie in each other" in project.dvlite("import-url", "data", "data/raw2", code=2).stderr


def test_a_bucket_prefix_comes_with_one_listing_and_only_what_changed_comes_again(project, s3_url, weed, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", weed.endpoint_url)
    bucket, _, prefix = s3_url.removeprefix("s3://").partition("/")
    store = S3Store(Location("s3", s3_url, bucket=bucket, prefix=prefix), {}, connections=4)
    try:
        for number in range(5):
            store.put(f"raw/n{number}", b"%d" % number)
        store.put("raw/sub/big", BODY)
        result = project.json("import-url", f"{s3_url}/raw/", "raw")
        assert (result["path"]["files"], result["source"]["listing"].split()[0]) == (6, "6")
        assert project.read("raw/sub/big") == BODY
        assert project.json("status", "--remote")["sources"][0]["state"] == "current"
        store.put("raw/n2", b"two")
        assert project.json("status", "--remote")["sources"][0]["state"] == "moved"
        reads = []
        monkeypatch.setattr(
            S3Origin,
            "read",
            lambda self, item, into, read=S3Origin.read: reads.append(item.name) or read(self, item, into),
        )
        monkeypatch.chdir(project.root)
        update(open_repo(project.root, os.environ), [], progress=NullProgress())
        assert reads == ["n2"]
        assert project.read("raw/n2") == b"two"
        listed = project.json("import-url", "--no-download", f"{s3_url}/raw/", "raw.jsonl")
        rows = [json.loads(line) for line in project.read("raw.jsonl").splitlines()]
        assert [(row["path"], row["size"]) for row in rows][-1] == ("sub/big", len(BODY))
        assert listed["path"]["files"] == 1
        assert reads == ["n2"]
        project.dvlite("rm", "raw")
        update(open_repo(project.root, os.environ), [], progress=NullProgress())
        store.put("raw/n3", b"three")
        (state,) = project.json("status", "--remote")["sources"]
        assert (state["state"], state["changed"]) == ("moved", ["n3"])
        assert "differs: n3" in project.dvlite("status", "--remote").stdout
        assert "a list of 6 files" in project.dvlite("update").stdout
        assert project.json("status", "--remote")["sources"][0]["state"] == "current"
        reads.clear()
        project.dvlite("import-url", f"{s3_url}/raw/", "raw")  # all but one file is in the cache
        assert reads == ["n3"]
        assert project.read("raw/n3") == b"three"
        one = project.json("import-url", f"{s3_url}/raw/sub/big", "one")
        assert one["source"]["etag"]
        assert "there is nothing at" in project.dvlite("import-url", f"{s3_url}/no", "x", code=1).stderr
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        assert "access denied" in project.dvlite("import-url", f"{s3_url}/raw/n1", "x", code=1).stderr
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", weed.secret_access_key)
        monkeypatch.setattr(S3Origin, "look", lambda _: [Item(".git/hooks", 1, '"x"')])
        assert "could be taken for '.git'" in project.dvlite("import-url", f"{s3_url}/bad/", code=1).stderr
    finally:
        store.close()
