from __future__ import annotations

from typing import Any


def test_a_service_shows_versions_traffic_and_url(world: Any, admin: Any) -> None:
    world.deployment("diabetes", live=1, canary=2, share=0.1, phase="canary")
    world.serve(world.traffic(1, 90), world.traffic(2, 10, errors=3))

    service = admin.get("/v1/services/diabetes").json()

    assert service["url"] == "http://127.0.0.1:8080/v2/models/diabetes/infer"
    assert [
        (line["version"], line["role"], line["share"], line["errors"]) for line in service["traffic"]
    ] == [
        (1, "live", 0.9, 0),
        (2, "canary", 0.1, 3),
    ]
    assert 0.75 < service["traffic"][0]["p50_ms"] < service["traffic"][0]["p99_ms"] <= 1.0
    assert [event["kind"] for event in service["history"]] == ["deployment.live"]


def test_a_silent_data_plane_is_told(world: Any, admin: Any) -> None:
    world.deployment("diabetes")

    service = admin.get("/v1/services").json()[0]

    assert service["url"] == ""
    assert service["reason"].startswith("the data plane does not answer")


def test_deploy_and_rollback_reach_the_loop(world: Any, system: Any, admin: Any) -> None:
    world.deployment("diabetes")

    assert admin.post("/v1/services/diabetes/deploy", json={"version": 2}).status_code == 200
    assert admin.post("/v1/services/diabetes/rollback").json()["app"] == "diabetes"
    assert system.loop.calls == [("deploy", "diabetes", 2, "admin"), ("rollback", "diabetes", "admin")]


def test_what_is_not_in_service_is_not_found(admin: Any) -> None:
    assert admin.get("/v1/services/none").status_code == 404
    assert admin.get("/v1/predictions/none").status_code == 404
    assert admin.get("/v1/predictions/b-1").json()["app"] == "diabetes"
