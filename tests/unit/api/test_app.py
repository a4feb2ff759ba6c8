from __future__ import annotations

import threading
from typing import Any

from litestar import get
from litestar.testing import TestClient

from kernos.api.app import create_app
from kernos.api.context import TheApi, TheCaller


def test_extra_handlers_stand_behind_the_same_guard(system: Any, world: Any) -> None:
    @get("/extra", opt={"action": "audit:read"}, sync_to_thread=False)
    def extra(api: TheApi, caller: TheCaller) -> str:
        return f"{caller.principal} at {api.system.home.name}"

    with TestClient(create_app(system, [extra]), base_url="http://127.0.0.1") as http:
        assert http.get("/extra").status_code == 401
        assert http.get("/extra", headers=world.header("bob", "infer")).status_code == 403
        assert http.get("/extra", headers=world.header("ann", "viewer")).text == f"ann at {system.home.name}"


def test_an_open_route_has_no_caller(system: Any) -> None:
    @get("/extra", opt={"action": "open"}, sync_to_thread=False)
    def extra(caller: TheCaller) -> str:
        return str(caller)

    with TestClient(create_app(system, [extra]), base_url="http://127.0.0.1") as http:
        assert http.get("/extra").text == "None"


def test_the_schema_tells_every_route_and_its_errors_need_no_token(http: Any) -> None:
    schema = http.get("/v1/openapi.json").json()

    assert schema["info"]["title"] == "Kernos"
    assert {"/v1/runs", "/v1/builds", "/v1/events/stream", "/v1/child/{run}/{verb}"} <= set(schema["paths"])
    assert "RunView" in str(schema["components"]["schemas"])


def test_a_data_plane_that_fails_leaves_the_rest_running(system: Any, http: Any) -> None:
    system.loop.answering = "not a status"

    assert http.get("/v1/health").status_code == 200


def test_nothing_of_the_application_outlives_it(system: Any) -> None:
    before = set(threading.enumerate())
    with TestClient(create_app(system), base_url="http://127.0.0.1") as http:
        http.get("/v1/health")

    left = {thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("api")}
    assert left == set()
