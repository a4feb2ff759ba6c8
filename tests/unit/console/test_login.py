from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernos.base.clock import ManualClock
from kernos.security.access import Caller
from kernos.security.sessions import Sessions


def test_a_code_becomes_a_session_that_scripts_cannot_read(
    anonymous: Any, sessions: Sessions, clock: ManualClock
) -> None:
    code = sessions.issue_code(Caller("ada", "admin"), clock.monotonic_s())
    answer = anonymous.get(f"/login?code={code}", follow_redirects=False)
    cookie = answer.headers["set-cookie"]

    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert cookie.startswith("kernos_session_7070=")
    assert "httponly" in cookie.lower()
    assert "samesite=lax" in cookie.lower()
    assert code not in cookie
    assert anonymous.get("/").status_code == 200


def test_a_code_is_spent_at_once(anonymous: Any, sessions: Sessions, clock: ManualClock) -> None:
    code = sessions.issue_code(Caller("ada", "admin"), clock.monotonic_s())
    anonymous.get(f"/login?code={code}", follow_redirects=False)
    anonymous.cookies.clear()
    again = anonymous.get(f"/login?code={code}", follow_redirects=False)

    assert again.status_code == 401
    assert "set-cookie" not in again.headers
    assert "kernos console" in again.text


def test_a_made_up_code_opens_nothing(anonymous: Any) -> None:
    assert anonymous.get("/login?code=guess").status_code == 401
    assert anonymous.get("/").status_code == 401


def test_without_a_code_the_page_says_how_to_get_one(anonymous: Any) -> None:
    page = anonymous.get("/login")

    assert page.status_code == 200
    assert "kernos console" in page.text


def test_signing_out_ends_the_session_in_the_kernel(
    anonymous: Any, sign_in: Callable[..., str], sessions: Sessions, clock: ManualClock
) -> None:
    csrf = sign_in()
    session = anonymous.cookies["kernos_session_7070"]
    answer = anonymous.post("/logout", data={"csrf": csrf}, follow_redirects=False)

    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert sessions.caller(session, clock.monotonic_s()) is None


def test_another_site_cannot_sign_anybody_out(client: Any) -> None:
    assert client.post("/logout", data={"csrf": "guess"}).status_code == 403
    assert client.get("/").status_code == 200
