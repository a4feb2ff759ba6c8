from __future__ import annotations

from typing import Any, get_args

import pytest
from litestar import Litestar, get, post
from litestar.testing import TestClient

from kernos.api.app import create_app
from kernos.api.context import TheCaller
from kernos.api.guard import OPEN, check_host, handlers_of
from kernos.base.errors import DeniedError
from kernos.security.access import Action, Caller


def _handlers(app: Litestar) -> list[tuple[str, Any]]:
    return [(route.path, handler) for route in app.routes for handler in handlers_of(route)]


def test_every_route_declares_an_action_that_exists(app: Litestar) -> None:
    for path, handler in _handlers(app):
        action = handler.opt["action"]
        actions = (action,) if isinstance(action, str) else action
        assert set(actions) <= {*get_args(Action), OPEN}, path


def test_only_health_and_the_schema_are_open(app: Litestar) -> None:
    is_open = {path for path, handler in _handlers(app) if handler.opt["action"] == OPEN}

    assert {path for path in is_open if not path.startswith("/v1/openapi.json/")} == {
        "/v1/health",
        "/v1/openapi.json",
    }


def test_an_application_with_a_route_without_action_does_not_start(system: Any) -> None:
    @get("/forgotten", sync_to_thread=False)
    def forgotten() -> str:
        return "secret"

    with pytest.raises(ValueError, match="/forgotten declares no action"):
        create_app(system, [forgotten])


def test_every_closed_route_refuses_a_stranger(app: Litestar, http: Any) -> None:
    for path, handler in _handlers(app):
        if handler.opt["action"] == OPEN:
            continue
        for method in handler.http_methods - {"HEAD", "OPTIONS"}:
            url = path.replace("{run:int}", "1").replace("{build:int}", "1")
            url = (
                url.replace("{verb:str}", "read")
                .replace("{app_name:str}", "x")
                .replace("{prediction:str}", "x")
            )
            answer = http.request(method, url)

            assert answer.status_code == 401, (method, path)
            assert answer.json()["code"] == "unauthenticated"


def test_a_wrong_token_and_a_wrong_scheme_are_strangers(world: Any, http: Any) -> None:
    for header in ("Bearer wrong", "Bearer", "Basic " + world.token("ann", "admin"), ""):
        assert http.get("/v1/runs", headers={"Authorization": header}).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("POST", "/v1/apps", "viewer"),
        ("POST", "/v1/builds", "viewer"),
        ("POST", "/v1/data", "viewer"),
        ("POST", "/v1/runs/1/stop", "viewer"),
        ("POST", "/v1/services/x/rollback", "viewer"),
        ("POST", "/v1/principals", "operator"),
        ("GET", "/v1/runs", "infer"),
        ("POST", "/v1/child/1/read", "admin"),
    ],
)
def test_a_role_without_the_action_is_denied(
    world: Any, http: Any, method: str, path: str, role: str
) -> None:
    answer = http.request(method, path, headers=world.header("ann", role))

    assert answer.status_code == 403
    assert answer.json()["code"] == "denied"
    assert role in answer.json()["detail"]


def test_a_worker_reads_runs_and_changes_nothing(world: Any, http: Any) -> None:
    run = world.run(state="running")
    headers = world.run_header(run.id)

    assert http.get(f"/v1/runs/{run.id}", headers=headers).status_code == 200
    assert http.post(f"/v1/runs/{run.id}/stop", headers=headers).status_code == 403
    assert http.get("/v1/principals", headers=headers).status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7070", "127.0.0.1.evil.example", "", "[::2]"])
def test_a_foreign_host_is_denied_even_on_an_open_route(http: Any, host: str) -> None:
    answer = http.get("/v1/health", headers={"Host": host})

    assert answer.status_code == 403
    with pytest.raises(DeniedError):
        check_host(host)


@pytest.mark.parametrize("host", ["127.0.0.1:7070", "localhost", "LOCALHOST:1", "[::1]:7070"])
def test_loopback_names_are_answered(http: Any, host: str) -> None:
    assert http.get("/v1/health", headers={"Host": host}).status_code == 200


class TestCookie:
    @pytest.fixture
    def session(self, system: Any, http: TestClient[Litestar]) -> str:
        now_s = system.clock.monotonic_s()
        session: str = system.sessions.redeem(
            system.sessions.issue_code(Caller("ann", "admin"), now_s), now_s
        )
        http.cookies.set("kernos_session_0", session)
        return session

    def test_a_session_reads(self, http: Any, session: str) -> None:
        assert http.get("/v1/runs").status_code == 200

    def test_a_session_that_is_over_is_a_stranger(self, system: Any, http: Any, session: str) -> None:
        system.clock.advance(13 * 3600)

        assert http.get("/v1/runs").status_code == 401

    def test_a_change_needs_the_sessions_own_secret(
        self, system: Any, world: Any, http: Any, session: str
    ) -> None:
        run = world.run(state="running")
        path = f"/v1/runs/{run.id}/stop"
        secret = system.sessions.csrf(session)

        assert http.post(path).status_code == 403
        assert http.post(path, headers={"X-Kernos-CSRF": "wrong"}).status_code == 403
        assert (
            http.post(path, headers={"X-Kernos-CSRF": secret, "Origin": "http://evil.example"}).status_code
            == 403
        )
        assert system.kernel.calls == []
        assert (
            http.post(path, headers={"X-Kernos-CSRF": secret, "Origin": "http://127.0.0.1"}).status_code
            == 200
        )

    def test_a_form_carries_the_secret_in_a_field(self, system: Any, session: str) -> None:
        @post("/form", opt={"action": "deploy"}, sync_to_thread=False)
        def form(caller: TheCaller) -> str:
            return str(caller.principal)

        with TestClient(create_app(system, [form]), base_url="http://127.0.0.1") as http:
            http.cookies.set("kernos_session_0", session)
            good = http.post("/form", data={"csrf": system.sessions.csrf(session)})
            bad = http.post("/form", data={"csrf": "x"})

        assert (good.status_code, good.text) == (201, "ann")
        assert bad.status_code == 403
