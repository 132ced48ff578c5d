"""The page of runs in a real browser: sorted, filtered, compared, drawn; by keyboard; without a request, an error or a fault of accessibility."""

import time
from pathlib import Path

import pytest

from dvlite.formats import record
from dvlite.formats.record import Input, MapFailure, MapRun, Output, RuleOutcome
from dvlite.runs.records import Records, nonces
from dvlite.store import batch
from tests.browsers import BROWSER, in_a_browser
from tests.commands.viewing import with_runs
from tests.runs import recorded
from tests.runs.recorded import oid

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install dvlite[outside]"
)
pytestmark = [pytest.mark.long, in_a_browser]

AXE = Path(__file__).parent.parent.parent / "web" / "node_modules" / "axe-core" / "axe.min.js"
HOSTILE = '</script><script>document.title="ran"</script><img src=x onerror=\'document.title="ran"\'>'
VIEWS = ("", "compare", "curves", "scatter", "parallel", "files", "run/0")


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


class Shown:
    """A page in the browser. `errors` are what the console says and what it asked other hosts for."""

    def __init__(self, browser, file, **settings):
        self.page = browser.new_context(**settings).new_page()
        self.page.set_default_timeout(20_000)
        self.errors = []
        self.page.on("console", lambda message: self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._asked)
        self.url = Path(file).as_uri()
        self.page.goto(self.url)
        self.page.wait_for_selector("main *")

    def _asked(self, request):
        if not request.url.startswith((self.url, "data:")):
            self.errors.append(request.url)

    def settle(self):
        """Waits until the page has answered what was done: the event is handled, and drawn."""
        frames = "requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done)))"
        self.page.evaluate(f"new Promise(done => setTimeout(() => {frames}))")

    def view(self, name):
        self.page.goto(f"{self.url}#/{name}")
        self.page.wait_for_selector("main h2, main .runs")
        self.settle()

    def column(self, title):
        heads = self.page.locator(".runs thead th").all_inner_texts()
        at = [head.rstrip(" \n↑↓") for head in heads].index(title)
        rows = self.page.locator(".runs tbody tr[aria-rowindex]")
        return [
            cells[at]
            for cells in rows.evaluate_all("rows => rows.map(row => [...row.cells].map(cell => cell.innerText))")
        ]

    def filter(self, text):
        self.page.locator("#filter").fill(text)
        self.settle()

    def status(self):
        return self.page.locator("#matching").inner_text()

    def choose(self, *numbers):
        for number in numbers:
            self.page.locator(".runs input[type=checkbox]").nth(number).check()


@pytest.fixture
def shown(chromium, project):
    with_runs(project)
    project.dvlite("runs", "--html", "page.html")
    page = Shown(chromium, project.root / "page.html")
    yield page
    assert page.errors == []
    page.page.context.close()


def test_runs_are_sorted_filtered_grouped_and_their_columns_chosen(shown):
    page = shown.page
    newest_first = shown.column("lr")
    page.get_by_role("button", name="lr").click()
    shown.settle()
    assert shown.column("lr") == [*sorted(newest_first[:-1]), "\N{EN DASH}"]
    best, worst = (
        page.locator(f"td.{kind}").evaluate_all("cells => cells.map(cell => cell.title)") for kind in ("best", "worst")
    )
    assert len(best) == len(worst) == 2  # of acc, and of loss
    assert all(title.endswith(", the best of these runs") for title in best)
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("lr")
    shown.filter("lr>=0.3 status=ok")
    assert shown.column("lr") == ["0.3", "0.3"]
    assert shown.status() == "2 of 4 runs"
    shown.filter("tag=best deep")
    assert len(shown.column("Run")) == 1
    shown.filter("nothing=1")
    assert shown.status() == "no run has nothing"
    shown.filter("")
    page.get_by_label("Group by").select_option(label="depth")
    shown.settle()
    assert page.locator("tr.group").count() == 3
    page.locator("tr.group button").first.click()
    shown.settle()
    assert page.locator("tr.group button").first.get_attribute("aria-expanded") == "false"
    page.get_by_label("Group by").select_option(label="nothing")
    shown.settle()
    assert "steps" not in page.locator(".runs thead").inner_text()
    page.get_by_label("Only changed columns").uncheck()
    shown.settle()
    assert "steps" in page.locator(".runs thead").inner_text()
    page.get_by_role("button", name="Columns").click()
    page.get_by_label("Search columns").fill("python")
    page.get_by_label("python", exact=True).check()
    page.keyboard.press("Escape")
    shown.settle()
    assert "python" in page.locator(".runs thead").inner_text()


def test_chosen_runs_are_compared_and_their_curves_lie_over_each_other(shown):
    page = shown.page
    shown.choose(0, 1)
    page.get_by_role("link", name="Compare 2").first.click()
    shown.settle()
    rows = page.locator(".compare tbody tr:not(.section)").all_inner_texts()
    assert any(row.split() == ["depth", "5", "2"] for row in rows)
    assert not any(row.startswith("lr") for row in rows)
    page.get_by_label("Only what differs").uncheck()
    shown.settle()
    assert any(row.split() == ["lr", "0.3", "0.3"] for row in page.locator(".compare tbody tr").all_inner_texts())
    shown.view("curves")
    assert page.locator(".card h3").all_inner_texts() == ["loss", "val.acc"]
    assert page.locator(".card").first.locator(".legend li").count() == 2
    before = page.locator("canvas").first.evaluate("canvas => canvas.toDataURL()")
    page.get_by_label("Smoothing").fill("0.9")
    page.get_by_label("Logarithmic").check()
    page.get_by_label("Across").select_option(label="Wall time")
    shown.settle()
    assert page.locator("canvas").first.evaluate("canvas => canvas.toDataURL()") != before


def test_a_run_shows_lineage_edits_log_pictures_and_notes(shown):
    page = shown.page
    page.get_by_role("link", name="train-").first.click()
    shown.settle()
    text = page.locator("main").inner_text()
    for words in (
        "the <i>deep</i> one",
        "+# one more <b>line</b>",
        "step 50: loss",
        "plot.png",
        "series.jsonl",
        "cmd: only 3 rows (exit 1)",
        "best",
    ):
        assert words in text
    assert page.locator("img").evaluate("image => image.complete && image.naturalWidth") == 96
    page.locator("svg a").first.click()
    shown.settle()
    assert page.locator("h2").inner_text().startswith("prepare-")
    shown.view("files")
    assert page.locator("figure img").count() == 3
    assert page.locator("figure table").count() >= 3


def test_points_are_found_and_axes_filter(shown):
    page = shown.page
    shown.view("scatter")
    page.get_by_label("Colour").select_option(label="depth")
    shown.settle()
    assert page.locator(".legend li").count() == 2
    shown.view("parallel")
    box = page.locator("canvas").bounding_box()
    last = box["x"] + box["width"] - 70
    page.mouse.move(last, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(last, box["y"] + 60)
    page.mouse.up()
    shown.settle()
    assert ">=" in page.locator("#filter").input_value()


def test_the_table_is_used_by_keyboard(shown):
    page = shown.page
    page.locator(".runs a").first.focus()
    page.keyboard.press("ArrowDown")
    shown.settle()
    playwright.expect(page.locator("a[data-row='1']")).to_be_focused()
    page.keyboard.press(" ")
    shown.settle()
    assert page.locator(".runs input").nth(1).is_checked()
    page.keyboard.press("Enter")
    shown.settle()
    assert page.locator("h2").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault_of_accessibility(chromium, project, scheme):
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: make web installs it")
    with_runs(project)
    project.dvlite("runs", "--html", "page.html")
    shown = Shown(
        chromium,
        project.root / "page.html",
        color_scheme=scheme,
        viewport={"width": 900, "height": 700},
        bypass_csp=True,
    )
    shown.choose(0, 1)
    for view in VIEWS:
        shown.view(view)
        shown.page.evaluate(AXE.read_text(encoding="utf-8"))
        found = shown.page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        assert [(view, fault["id"], fault["nodes"][0]["html"]) for fault in found] == []
    assert shown.errors == []


def test_hostile_names_values_and_logs_are_text(chromium, project):
    records = Records(project.root / ".git" / "dvlite" / "runs")
    failures = (MapFailure(name=HOSTILE, problem=HOSTILE),)
    for number in (1, 2):
        records.put(
            recorded.run(
                number,
                params={HOSTILE: HOSTILE, "__proto__": number, "constructor": HOSTILE, "params.yaml:lr": number},
                metrics={HOSTILE: number, "metrics.json:acc": "nan"},
                cmd=HOSTILE,
                environment={HOSTILE: HOSTILE},
                user=HOSTILE,
                mapped=MapRun(base="ef" * 32, datums=1200, ran=1100, failed=100, failures=failures),
                inputs=(Input(path="a/<b>", oid=oid("a"), size_bytes=5),),
                outputs=(Output(path="<b>.png", oid=oid(f"x{number}"), size_bytes=9),),
            ),
            durable=False,
        )
        records.put(recorded.note(recorded.run(9), "note", HOSTILE))
        wrong = (RuleOutcome(rule="cmd", passed=False, detail=HOSTILE),)
        records.put(recorded.check(oid(f"x{number}"), status="failed", rules=wrong), durable=False)
    project.dvlite("runs", "--html", "page.html")
    shown = Shown(chromium, project.root / "page.html")
    assert shown.column("Checks") == ["failed: good"] * 2
    for view in VIEWS:
        shown.view(view)
        assert "ran" not in shown.page.title()
        assert shown.page.locator("img[onerror], script[src]").count() == 0
    assert HOSTILE in shown.page.locator("main").inner_text()
    assert shown.page.get_by_role("region", name="Checks").inner_text().split(maxsplit=5)[-1] == f"cmd: {HOSTILE}"
    failed = shown.page.get_by_role("region", name="Datums that failed")
    assert failed.locator("tr").all_inner_texts() == [f"{HOSTILE}\t{HOSTILE}"]
    assert failed.locator("p").inner_text() == "And 99 more."
    assert "1,200: 1,100 ran, 100 failed" in shown.page.locator("dl").inner_text()
    assert shown.errors == []


def test_ten_thousand_runs_open_and_scroll(chromium, project):
    folder = Records(project.root / ".git" / "dvlite" / "runs")
    runs = [
        recorded.run(
            number,
            params={f"params.yaml:p{key}": (number * (key + 3)) % 17 / 10 for key in range(20)},
            metrics={f"metrics.json:m{key}": (number * 7919 * (key + 1)) % 10_007 / 1e4 for key in range(10)},
        )
        for number in range(10_000)
    ]
    for new in batch.encode(map(record.dump, runs), nonces()):
        folder.adopt(new.name, new.data)
    project.dvlite("runs")  # the index is built
    started = time.monotonic()
    result = project.json("runs", "--html", "page.html")
    wrote = time.monotonic() - started
    shown = Shown(chromium, project.root / "page.html")
    drawn = shown.page.evaluate("performance.getEntriesByName('dvlite:drawn')[0].startTime") / 1000
    print(f"10,000 runs: {result['size_bytes']:,} bytes, written in {wrote:.2f} s, drawn in {drawn:.2f} s")
    assert result["runs"] == 10_000
    assert shown.page.locator(".runs tbody tr").count() < 100
    for title in ("m3", "p5"):
        shown.page.get_by_role("button", name=title, exact=True).click()
    shown.page.locator(".scroller").evaluate("box => box.scrollTo(0, box.scrollHeight)")
    shown.page.wait_for_selector("tr[aria-rowindex='10001']")
    shown.filter("m1>0.5 p1<1")
    playwright.expect(shown.page.locator("#matching")).to_contain_text(" of 10,000")
    for view in VIEWS[1:]:
        shown.view(view)
    assert shown.errors == []
