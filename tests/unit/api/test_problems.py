from __future__ import annotations

from typing import Any

import pytest
from litestar import get
from litestar.testing import TestClient

from kernos.api.app import create_app
from kernos.base.errors import RefusedError


def test_an_unknown_path_is_a_problem(http: Any) -> None:
    answer = http.get("/v1/nothing")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found"
    assert "/v1/nothing" in answer.json()["detail"]


def test_a_wrong_method_keeps_its_status(http: Any) -> None:
    answer = http.delete("/v1/health")

    assert answer.status_code == 405
    assert answer.json()["status"] == 405
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("GET", "/v1/runs?limit=0", None, "limit"),
        ("GET", "/v1/runs?limit=501", None, "limit"),
        ("GET", "/v1/runs?limit=ten", None, "limit"),
        ("GET", "/v1/runs?state=sleeping", None, "state"),
        ("GET", "/v1/events?after=-2", None, "after"),
        ("POST", "/v1/builds", {"app": "x", "verbose": True}, "verbose"),
        ("POST", "/v1/builds", {}, "app"),
        ("POST", "/v1/services/x/deploy", {"version": 0}, "version"),
        ("POST", "/v1/principals", {"name": "x", "role": "root"}, "role"),
    ],
)
def test_what_does_not_fit_names_the_field(admin: Any, method: str, path: str, body: Any, field: str) -> None:
    answer = admin.request(method, path, json=body)

    problem = answer.json()
    assert answer.status_code == 400, problem
    assert problem["code"] == "invalid"
    assert field in problem["detail"] + str(problem["details"])
    assert problem["hint"]


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[]", b'{"app": 1}', b"null"])
def test_a_body_that_is_not_the_shape_is_refused(admin: Any, body: bytes) -> None:
    answer = admin.post("/v1/builds", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid"


def test_a_body_over_the_limit_is_refused(admin: Any) -> None:
    answer = admin.post("/v1/apps", json={"files": {"app.py": "#" * (1 << 17)}, "main": "app.py"})

    assert answer.status_code == 413
    assert answer.json()["code"] == "limit"


def test_a_bug_tells_nothing_of_the_inside(system: Any, caplog: pytest.LogCaptureFixture) -> None:
    @get("/bug", opt={"action": "open"}, sync_to_thread=False)
    def bug() -> str:
        raise RuntimeError("the password is swordfish")

    with TestClient(
        create_app(system, [bug]), base_url="http://127.0.0.1", raise_server_exceptions=False
    ) as http:
        answer = http.get("/bug")

    assert answer.status_code == 500
    assert answer.json()["code"] == "internal"
    assert "swordfish" not in answer.text
    assert "swordfish" in caplog.text


def test_a_typed_error_keeps_its_details(system: Any) -> None:
    @get("/no", opt={"action": "open"}, sync_to_thread=False)
    def no() -> str:
        raise RefusedError("The gate said no.", hint="Train better.", rows=[1, 2])

    with TestClient(create_app(system, [no]), base_url="http://127.0.0.1") as http:
        answer = http.get("/no")

    assert answer.status_code == 422
    assert answer.json()["details"] == {"rows": [1, 2]}
    assert answer.json()["hint"] == "Train better."


def test_answers_carry_security_headers(http: Any) -> None:
    for path in ("/v1/health", "/v1/nothing", "/v1/runs"):
        headers = http.get(path).headers

        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "server" not in headers
