from __future__ import annotations

import re
from typing import Any

import pytest

from kernos.api.guard import check_routes


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/", ["2 things need you", "Build 18 of income failed", "rolled back", "and 2 queued", "3.0 GiB of 24.0 GiB"]),
        ("/runs", ["same code, arguments and data as Run 12", "412 ms", "/models/diabetes@2", "That is all."]),
        ("/runs/13", ["accuracy 0.734", "C 0.7", "fold 24", "weight 1", "212.0 MiB of 1.0 GiB"]),
        ("/runs/19", ["Why it failed", "is over 0.30", "lists each group", "kernos show 19"]),
        ("/runs/28", ["waits for 1 CPU", "It has not written anything yet"]),
        ("/apps", ["3 of 4 passed", "0 of 1 passed", "on drift, at most daily", "by hand"]),
        ("/apps/diabetes", ["parity_gap(sex) <= 0.30", "0.664 to 0.795", "all cached", "4 of 8 trials done", "sensitive"]),
        ("/services", ["rolled back", "10 %", "alarm", "0.741"]),
        ("/services/diabetes", ["11,232", "e-value 37.2 of 10,000", "0.0009", "512 labelled rows", "the gate passed"]),
        ("/services/wine", ["The alarm rang after 412 rows", "Too few requests", "not moved yet", "accuracy needs labels"]),
        ("/catalog", ["/data/收入", "live @2", "canary @3", "3.2 MiB"]),
        ("/catalog/version?ref=/packages/diabetes@2", ["体重指数", "80.5 KiB", "11 edges", "held out"]),
        ("/catalog/diff?a=/data/a@1&b=@2", ["columns added", "s6", "32.1"]),
        ("/audit", ["120 Events in the journal", "deployment.changed", "the gate passed"]),
        ("/audit?verify=1", ["Verified: every Event and every row agree", "ed25519:9f3c2a77b1e04d55", "96"]),
    ],
)  # fmt: skip
def test_a_page_says_what_its_view_says(client: Any, path: str, says: list[str]) -> None:
    page = client.get(path)
    text = text_of(page.text).replace("&lt;", "<").lower()

    assert page.status_code == 200
    assert [line for line in says if line.lower() not in text] == []


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("state=failed", {18, 19}),
        ("kind=gate", {14, 19}),
        ("parent=9", {12, 13, 14, 15}),
        ("app=income&state=stopped", {16}),
    ],
)
def test_runs_are_filtered(client: Any, query: str, ids: set[int]) -> None:
    page = client.get(f"/runs?{query}").text

    assert {int(number) for number in re.findall(r'<tr id="runs-(\d+)"', page)} == ids


def test_a_filter_stays_in_its_form_and_in_the_links(client: Any, source: Any, sample: Any) -> None:
    source.run_list = [sample.run_view(n, "step", "a", "failed", app="x y") for n in range(300, 150, -1)]
    page = client.get("/runs?state=failed&app=x+y").text

    assert "<option selected>failed</option>" in page
    assert 'name="app" value="x y"' in page
    assert "state=failed&amp;kind=&amp;app=x%20y" in page
    assert "below=201" in page


def test_audit_pages_walk_back_and_forth(client: Any) -> None:
    newest = client.get("/audit").text
    older = client.get("/audit?after=19").text

    assert re.findall(r'id="event-(\d+)"', newest)[:1] == ["119"]
    assert re.findall(r'id="event-(\d+)"', newest)[-1:] == ["70"]
    assert "/audit?after=19" in newest
    assert re.findall(r'id="event-(\d+)"', older)[:1] == ["69"]
    assert "/audit?after=69" in older


def test_events_of_one_subject(client: Any) -> None:
    page = client.get("/audit?subject=deployment:diabetes").text

    assert len(re.findall(r'id="event-\d+"', page)) == 20


def test_a_broken_journal_is_said_plainly(client: Any, source: Any) -> None:
    source.healthy = False
    page = client.get("/audit?verify=1").text

    assert "1 problem" in page
    assert "row runs/13 is not what Event 84 says" in page


def test_what_comes_from_outside_is_escaped(client: Any, source: Any, sample: Any) -> None:
    evil = '<img src=x onerror="alert(1)">'
    source.run_list = [
        sample.run_view(1, "step", evil, "failed", reason=evil, error={"detail": evil}, params={evil: evil})
    ]
    source.log = evil

    for path in ("/runs", "/runs/1", "/runs/1/stop", f"/catalog?prefix={evil}", f"/audit?subject={evil}"):
        assert "<img" not in client.get(path).text


def test_ids_on_a_page_are_unique(client: Any) -> None:
    for path in (
        "/",
        "/runs",
        "/runs/20",
        "/apps/diabetes",
        "/services/diabetes",
        "/catalog/version?ref=/packages/diabetes@2",
        "/audit",
    ):
        ids = re.findall(r'\sid="([^"]+)"', client.get(path).text)
        assert len(ids) == len(set(ids)), path


def test_every_route_names_its_action(client: Any) -> None:
    check_routes(client.app.routes)
    assert len(client.app.routes) > 15
