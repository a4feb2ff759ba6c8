"""The console in a real browser, over a source with fixed data: accessible, live without taking anything from the reader."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kernos.base.clock import SystemClock

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
)

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no /usr/bin/chromium")

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--no-first-run",
]
PAGES = [
    "/",
    "/runs",
    "/runs?state=running&app=diabetes",
    "/runs?app=nothing",
    "/runs/24",
    "/runs/19",
    "/runs/24/stop",
    "/apps",
    "/apps/diabetes",
    "/apps/income",
    "/services",
    "/services/diabetes",
    "/services/wine",
    "/services/diabetes/rollback",
    "/catalog",
    "/catalog/versions?path=/packages/diabetes",
    "/catalog/version?ref=/packages/diabetes@2",
    "/catalog/lineage?ref=/packages/diabetes@2",
    "/catalog/diff",
    "/catalog/diff?a=/data/diabetes@1&b=/data/diabetes@2",
    "/audit",
    "/audit?verify=1",
    "/nowhere",
    "/runs/999",
]
EMPTY_PAGES = ["/", "/runs", "/apps", "/services", "/catalog", "/audit"]
RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}


def _sample() -> Any:
    path = Path(__file__).parents[1] / "unit" / "console" / "sample.py"
    spec = importlib.util.spec_from_file_location("console_sample", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["console_sample"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sample = _sample()


class StillClock(SystemClock):
    """Wall time stands where the sample data was made; deadlines go on."""

    def wall_ms(self) -> int:
        return int(sample.NOW_MS)


@pytest.fixture
def source() -> Any:
    return sample.FakeSource()


@pytest.fixture
def server(source: Any) -> Iterator[Any]:
    with sample.SampleServer(source, StillClock()) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any, server: Any) -> Iterator[Callable[..., Any]]:
    """A signed-in page; options go to the browser's context. Complaints of the browser fail the test at its end."""
    contexts, complaints = [], []

    def listen(page: Any) -> None:
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: complaints.append(line.text) if _is_complaint(line) else None)

    def open_one(*, sign_in: bool = True, **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        listen(page)
        if sign_in:
            page.goto(server.link())
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert not complaints


def _is_complaint(line: Any) -> bool:
    """Errors and warnings; that a problem page has the status of its problem is not one."""
    return line.type in {"error", "warning"} and "Failed to load resource" not in line.text


def until(page: Any, expression: str) -> None:
    """Wait up to 15 s for an expression of the page; the browser's own way needs eval, which the policy forbids."""
    for _ in range(300):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {expression}")


def violations(page: Any) -> list[str]:
    found = axe.Axe().run(page, options=RULES).response["violations"]
    return [f"{one['id']}: {[node['html'][:120] for node in one['nodes']][:3]}" for one in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page(open_page: Callable[..., Any], server: Any, scheme: str) -> None:
    page = open_page(color_scheme=scheme, bypass_csp=True)
    found = {}
    for path in PAGES:
        page.goto(server.url + path)
        found[path] = violations(page)
    page.context.clear_cookies()
    page.goto(server.url + "/")
    found["login"] = violations(page)

    assert {path: problems for path, problems in found.items() if problems} == {}


def test_a_kernel_without_work_has_pages_too(browser: Any) -> None:
    with sample.SampleServer(sample.EmptySource(), StillClock()) as server:
        context = browser.new_context(bypass_csp=True)
        page = context.new_page()
        page.goto(server.link())
        for path in EMPTY_PAGES:
            page.goto(server.url + path)
            assert page.locator(".empty").count() > 0, path
            assert page.locator(".empty .cmd").count() > 0 or path == "/audit", path
            assert violations(page) == [], path
        context.close()


def test_focus_and_typed_text_survive_five_live_updates(
    open_page: Callable[..., Any], server: Any, source: Any
) -> None:
    page = open_page()
    page.goto(server.url + "/runs")
    page.fill("input[name=app]", "half a na")
    link = page.locator("#runs-24 th a")
    link.focus()
    page.evaluate("window.before = document.activeElement")

    for update in range(5):
        source.change(sample.run_view(30 + update, "step", f"new {update}", "running"))
        page.wait_for_selector(f"#runs-{30 + update}")

    assert page.evaluate("document.activeElement === window.before")
    assert page.input_value("input[name=app]") == "half a na"
    assert page.locator("#runs tbody tr").count() == len(source.run_list)


def test_typing_goes_on_while_the_page_changes(
    open_page: Callable[..., Any], server: Any, source: Any
) -> None:
    page = open_page()
    page.goto(server.url + "/runs")
    page.locator("input[name=app]").focus()

    for update, letters in enumerate(("dia", "be", "tes")):
        page.keyboard.type(letters)
        source.change(sample.run_view(40 + update, "step", f"new {update}", "running"))
        page.wait_for_selector(f"#runs-{40 + update}")

    assert page.input_value("input[name=app]") == "diabetes"
    assert page.evaluate("document.activeElement.name") == "app"


def test_only_what_changed_is_touched(open_page: Callable[..., Any], server: Any, source: Any) -> None:
    page = open_page()
    page.goto(server.url + "/runs")
    page.evaluate("""() => {
        window.touched = new Set();
        new MutationObserver((changes) => {
            for (const change of changes) {
                const node = change.target.nodeType === 1 ? change.target : change.target.parentElement;
                window.touched.add(node.closest("tr")?.id ?? node.id);
            }
        }).observe(
            document.querySelector("#runs tbody"),
            { subtree: true, childList: true, attributes: true, characterData: true },
        );
    }""")

    source.change(sample.run_view(28, "trial", "C=0.013", "running", parent=23, reason="on cpu:1"))
    page.wait_for_selector("#runs-28.is-running")

    assert page.evaluate("[...window.touched]") == ["runs-28"]


def test_selection_and_scroll_stay(open_page: Callable[..., Any], server: Any, source: Any) -> None:
    page = open_page(viewport={"width": 700, "height": 500})
    page.goto(server.url + "/runs")
    page.evaluate("""() => {
        getSelection().selectAllChildren(document.querySelector("#runs-22 .reason"));
        document.querySelector("#runs").scrollLeft = 120;
        window.scrollTo(0, 200);
    }""")
    chosen = page.evaluate("getSelection().toString()")

    source.change(sample.run_view(28, "trial", "C=0.013", "running", parent=23))
    page.wait_for_selector("#runs-28.is-running")

    assert chosen
    assert page.evaluate("getSelection().toString()") == chosen
    assert page.evaluate("document.querySelector('#runs').scrollLeft") == 120
    assert page.evaluate("window.scrollY") == 200


def test_the_focus_goes_to_the_page_when_its_row_goes(
    open_page: Callable[..., Any], server: Any, source: Any
) -> None:
    page = open_page()
    page.goto(server.url + "/runs?state=running")
    page.locator("#runs-29 th a").focus()

    source.change(sample.run_view(29, "monitor", "diabetes", "done"), "run.done")
    page.wait_for_selector("#runs-29", state="detached")

    assert page.evaluate("document.activeElement.id") == "main"


def test_an_opened_table_stays_open(open_page: Callable[..., Any], server: Any, source: Any) -> None:
    page = open_page()
    page.goto(server.url + "/services/diabetes")
    page.locator("#latency-data summary").click()
    page.evaluate("""() => {
        window.refreshed = 0;
        document.addEventListener("kernos:patched", () => { window.refreshed += 1; });
    }""")

    source.tell("deployment.changed", "deployment:diabetes", app="diabetes")
    until(page, "window.refreshed > 0")

    assert page.locator("#latency-data").get_attribute("open") is not None


def test_pause_holds_the_page_still(open_page: Callable[..., Any], server: Any, source: Any) -> None:
    page = open_page()
    page.goto(server.url + "/runs")
    page.wait_for_selector("#updates.is-live")
    page.get_by_role("button", name="Pause").click()

    source.change(sample.run_view(50, "step", "unseen", "running"))
    page.get_by_text("changes wait").wait_for()
    assert page.locator("#runs-50").count() == 0

    page.get_by_role("button", name="Pause").click()
    page.wait_for_selector("#runs-50")


def test_at_most_one_sentence_in_five_seconds(
    open_page: Callable[..., Any], server: Any, source: Any
) -> None:
    page = open_page()
    page.goto(server.url + "/runs")
    page.evaluate("""() => {
        window.spoken = [];
        new MutationObserver(() => window.spoken.push(performance.now()))
            .observe(document.getElementById("spoken"), { childList: true, characterData: true, subtree: true });
    }""")

    for update in range(4):
        source.change(sample.run_view(60 + update, "step", f"new {update}", "running"))
        page.wait_for_selector(f"#runs-{60 + update}")
    until(page, "window.spoken.length >= 2")

    times = page.evaluate("window.spoken")
    assert all(later - earlier >= 4990 for earlier, later in pairwise(times))
    assert "running" in page.locator("#spoken").inner_text()


def test_the_log_follows_its_end(open_page: Callable[..., Any], server: Any, source: Any) -> None:
    page = open_page()
    page.goto(server.url + "/runs/24")

    source.log += "".join(f"more {line}\n" for line in range(40))
    source.tell("run.started", "run:24")
    until(page, "document.getElementById('log').textContent.includes('more 39')")

    assert page.evaluate(
        "(() => { const l = document.getElementById('log'); return l.scrollHeight - l.scrollTop - l.clientHeight < 5 })()"
    )


def test_from_home_to_a_rollback_with_the_keyboard_alone(open_page: Callable[..., Any], source: Any) -> None:
    page = open_page()
    _tab_to(
        page, "diabetes", lambda: page.evaluate("document.activeElement.closest('#live')?.tagName === 'DIV'")
    )
    page.keyboard.press("Enter")
    page.wait_for_url("**/services/diabetes")
    _tab_to(page, "Roll back…")
    page.keyboard.press("Enter")
    page.wait_for_url("**/rollback")
    _tab_to(page, "Roll back to @2")
    page.keyboard.press("Enter")
    page.wait_for_url("**/services/diabetes")

    assert source.done == [("rollback", "diabetes by ada")]


def test_the_skip_link_comes_first_and_focus_is_visible(open_page: Callable[..., Any]) -> None:
    page = open_page()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"

    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)") >= 2


@pytest.mark.parametrize("width", [320, 390, 640])
def test_pages_reflow(open_page: Callable[..., Any], server: Any, width: int) -> None:
    """320 px is 400 % of 1280, 640 px is 200 %. Tables and graphs scroll inside their own region."""
    page = open_page(viewport={"width": width, "height": 700})
    wide = {}
    for path in PAGES:
        page.goto(server.url + path)
        wide[path] = page.evaluate("document.documentElement.scrollWidth - innerWidth")

    assert {path: over for path, over in wide.items() if over > 0} == {}


def test_targets_are_large_enough(open_page: Callable[..., Any], server: Any) -> None:
    """WCAG 2.2, 2.5.8: 24 by 24 px, except links within a sentence."""
    page = open_page()
    small = {}
    for path in PAGES:
        page.goto(server.url + path)
        small[path] = (
            page.evaluate("""() => [...document.querySelectorAll("a, button, input, select, summary")]
            .filter((node) => node.checkVisibility() && !node.closest("p") && !node.matches(".skip, [type=hidden]"))
            .filter((node) => { const box = node.getBoundingClientRect(); return box.height < 23.9 || box.width < 23.9; })
            .map((node) => node.outerHTML.slice(0, 90))""")
        )

    assert {path: nodes for path, nodes in small.items() if nodes} == {}


def test_every_page_works_without_scripts(open_page: Callable[..., Any], server: Any, source: Any) -> None:
    page = open_page(java_script_enabled=False)
    for path in PAGES:
        page.goto(server.url + path)
        assert page.locator("h1").count() == 1, path
        assert not page.locator(".copy").first.is_visible(), path

    page.goto(server.url + "/runs")
    page.select_option("select[name=state]", "failed")
    page.get_by_role("button", name="Filter").click()
    assert page.locator("#runs tbody tr").count() == 2
    page.goto(server.url + "/services/diabetes")
    page.get_by_role("link", name="Roll back…").click()
    page.get_by_role("button", name="Roll back to @2").click()
    assert source.done == [("rollback", "diabetes by ada")]


def test_forced_colours_and_reduced_motion(open_page: Callable[..., Any], server: Any) -> None:
    page = open_page(forced_colors="active", reduced_motion="reduce", bypass_csp=True)
    for path in ("/", "/apps/diabetes", "/services/diabetes"):
        page.goto(server.url + path)
        assert violations(page) == [], path
    assert page.evaluate("document.getAnimations().length") == 0
    line = page.evaluate("getComputedStyle(document.querySelector('.line-0')).stroke")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert line != paper


def test_a_command_is_copied(open_page: Callable[..., Any], server: Any) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.goto(server.url + "/runs")
    page.locator("#runs-19 [data-copy]").click()

    page.wait_for_selector("#runs-19 .copy.is-copied")
    assert page.evaluate("navigator.clipboard.readText()") == "kernos why 19"


def test_a_thousand_rows_are_patched_quickly_enough_to_type(
    open_page: Callable[..., Any], server: Any, source: Any
) -> None:
    """No bound in time, which belongs to bench: all rows come, and none is built anew."""
    source.run_list = [sample.run_view(n, "trial", f"C={n}", "queued") for n in range(1000, 900, -1)]
    page = open_page()
    page.goto(server.url + "/runs")
    page.evaluate("window.first = document.querySelector('#runs-950')")

    source.change(msgspec.structs.replace(source.run_list[-1], state="running"))
    page.wait_for_selector("#runs-901.is-running")

    assert page.evaluate("document.querySelector('#runs-950') === window.first")


def test_a_code_opens_the_console_once(open_page: Callable[..., Any], server: Any) -> None:
    page = open_page(sign_in=False)
    link = server.link()
    page.goto(link)
    assert page.url == server.url + "/"

    page.get_by_role("button", name="Sign out").click()
    assert page.get_by_role("heading", name="Sign in").is_visible()
    page.goto(link)
    assert page.get_by_role("alert").inner_text().startswith("This link has been used")


def _tab_to(page: Any, text: str, also: Callable[[], bool] = lambda: True) -> None:
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == text and also():
            return
    raise AssertionError(f"the keyboard does not reach {text!r}")
