from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/nowhere/at/all", 404, "There is no page at"),
        ("/runs/999", 404, "There is no Run 999"),
        ("/runs/abc", 404, "There is no Run"),
        ("/runs/99999999999999999999999", 404, "There is no Run"),
        ("/runs?parent=9x", 404, "There is no Run"),
        ("/runs?below=99999999999999999999999", 400, "The request does not fit this page"),
        ("/apps/none", 404, "There is no App none"),
        ("/catalog/versions?path=/packages/nothing", 404, "There is no /packages/nothing"),
        ("/catalog/versions?path=..", 400, "is not an Artifact&#39;s path"),
        ("/catalog/version", 400, "The request does not fit this page"),
        ("/runs?below=x", 400, "The request does not fit this page"),
    ],
)
def test_an_error_is_a_page_with_the_next_step(client: Any, path: str, status: int, says: str) -> None:
    page = client.get(path)

    assert page.status_code == status
    assert says in page.text
    assert page.headers["content-type"].startswith("text/html")
    assert "Go home" in page.text


def test_who_asks_for_json_gets_problem_json(client: Any) -> None:
    answer = client.get("/runs/999", headers={"Accept": "application/json"})

    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.json()["code"] == "not_found"
    assert answer.json()["hint"]


def test_without_a_session_every_page_is_the_sign_in_page(anonymous: Any) -> None:
    for path in ("/", "/runs", "/apps/diabetes", "/services/diabetes/rollback", "/audit"):
        page = anonymous.get(path)
        assert page.status_code == 401
        assert "Sign in" in page.text
        assert "diabetes" not in page.text


def test_a_role_without_the_right_is_told_so(anonymous: Any, sign_in: Callable[..., str]) -> None:
    sign_in("infer")
    page = anonymous.get("/runs")

    assert page.status_code == 403
    assert "runs:read" in page.text


def test_a_bug_shows_nothing_of_the_inside(
    client: Any, source: Any, caplog: pytest.LogCaptureFixture
) -> None:
    source.services = lambda: 1 / 0
    page = client.get("/services")

    assert page.status_code == 500
    assert "ZeroDivisionError" not in page.text
    assert "ZeroDivisionError" in caplog.text


def test_a_name_from_outside_is_escaped(client: Any) -> None:
    page = client.get("/%3Cscript%3Ealert(1)%3C/script%3E")

    assert page.status_code == 404
    assert "<script>alert" not in page.text


def test_another_host_name_is_refused(client: Any) -> None:
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 403
