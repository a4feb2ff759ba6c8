from __future__ import annotations

from typing import Any


def test_a_new_principal_gets_a_token_that_works_once_shown(admin: Any, http: Any) -> None:
    made = admin.post("/v1/principals", json={"name": "ann", "role": "viewer"})
    listed = admin.get("/v1/principals").json()

    token = made.json()["token"]
    assert made.status_code == 201
    assert [(line["name"], line["role"]) for line in listed] == [("admin", "admin"), ("ann", "viewer")]
    assert token not in str(listed)
    assert http.get("/v1/runs", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_a_name_is_given_once_and_must_be_one(admin: Any) -> None:
    admin.post("/v1/principals", json={"name": "ann"})

    assert admin.post("/v1/principals", json={"name": "ann"}).status_code == 409
    assert admin.post("/v1/principals", json={"name": "../x"}).status_code == 400


def test_the_console_link_holds_a_code_that_opens_once(system: Any, admin: Any) -> None:
    url = admin.post("/v1/console/code").json()["url"]

    base, _, code = url.partition("?code=")
    assert base == "http://127.0.0.1:7070/login"
    session = system.sessions.redeem(code, system.clock.monotonic_s())
    assert system.sessions.caller(session, system.clock.monotonic_s()).principal == "admin"
