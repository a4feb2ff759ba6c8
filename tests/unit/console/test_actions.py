from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

ACTIONS = [
    ("/services/diabetes/rollback", ("rollback", "diabetes by ada")),
    ("/runs/24/stop", ("stop", "24 by ada")),
]


@pytest.mark.parametrize(("path", "done"), ACTIONS)
def test_asking_changes_nothing_and_confirming_does(
    anonymous: Any, sign_in: Callable[..., str], source: Any, path: str, done: tuple[str, str]
) -> None:
    csrf = sign_in("operator")
    page = anonymous.get(path)
    assert (page.status_code, source.done) == (200, [])
    assert f'value="{csrf}"' in page.text

    answer = anonymous.post(path, data={"csrf": csrf}, follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == path.rpartition("/")[0]
    assert source.done == [done]


@pytest.mark.parametrize(("path", "done"), ACTIONS)
@pytest.mark.parametrize("form", [{}, {"csrf": ""}, {"csrf": "0" * 64}])
def test_a_form_of_another_site_is_refused(
    client: Any, source: Any, path: str, done: Any, form: dict[str, str]
) -> None:
    assert client.post(path, data=form).status_code == 403
    assert source.done == []


@pytest.mark.parametrize(("path", "done"), ACTIONS)
def test_a_viewer_may_not_even_ask(
    anonymous: Any, sign_in: Callable[..., str], source: Any, path: str, done: Any
) -> None:
    csrf = sign_in("viewer")

    assert anonymous.get(path).status_code == 403
    assert anonymous.post(path, data={"csrf": csrf}).status_code == 403
    assert source.done == []


def test_the_token_of_one_session_is_no_good_in_another(
    anonymous: Any, sign_in: Callable[..., str], source: Any
) -> None:
    stolen = sign_in()
    sign_in()

    assert anonymous.post("/services/diabetes/rollback", data={"csrf": stolen}).status_code == 403
    assert source.done == []


def test_a_rollback_says_what_will_move(client: Any) -> None:
    assert "The canary @3 stops taking traffic" in client.get("/services/diabetes/rollback").text
    assert "back to @4" in client.get("/services/wine/rollback").text


def test_a_run_that_has_ended_is_not_stopped_again(client: Any) -> None:
    page = client.get("/runs/19/stop").text

    assert "over already" in page
    assert '<form method="post" action="/runs' not in page
