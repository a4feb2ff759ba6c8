from __future__ import annotations

from typing import Any

from kernos.base.clock import ManualClock
from kernos.console.frame import HEADERS, see_other


def test_every_answer_carries_the_closed_policy(client: Any) -> None:
    for path in ("/", "/nowhere", "/console/static/live.js", "/login"):
        headers = client.get(path).headers
        assert headers["content-security-policy"] == HEADERS["Content-Security-Policy"]
        assert headers["x-content-type-options"] == "nosniff"
    assert "unsafe" not in HEADERS["Content-Security-Policy"]
    assert HEADERS["Content-Security-Policy"].startswith("default-src 'none'")


def test_a_fragment_is_the_main_part_alone(client: Any) -> None:
    page, fragment = client.get("/runs").text, client.get("/runs", headers={"X-Fragment": "1"}).text

    assert fragment.lstrip().startswith('<main id="main"')
    assert fragment.rstrip().endswith("</main>")
    assert fragment.strip() in page


def test_the_page_says_from_where_the_stream_goes_on(client: Any, source: Any) -> None:
    assert f'data-seq="{source.newest()}"' in client.get("/").text


def test_a_session_ends_by_itself(client: Any, clock: ManualClock) -> None:
    assert client.get("/").status_code == 200
    clock.advance(13 * 3600)
    assert client.get("/").status_code == 401


def test_see_other_keeps_the_policy() -> None:
    answer = see_other("/runs/1")

    assert answer.status_code == 303
    assert answer.headers["Location"] == "/runs/1"
    assert answer.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]
