from __future__ import annotations

from typing import Any

from kernos.base.version import VERSION


def test_health_is_open_and_says_the_version(http: Any) -> None:
    assert http.get("/v1/health").json() == {"status": "ok", "version": VERSION}


def test_home_shows_what_is_held_what_runs_and_what_waits(world: Any, system: Any, admin: Any) -> None:
    world.run(state="running")
    world.run(state="queued")
    system.clock.advance(5)

    home = admin.get("/v1/home").json()

    assert (home["cpus"], home["cpus_held"], home["queued"]) == (2.0, 1.0, 1)
    assert home["uptime_s"] == 5.0
    assert [run["id"] for run in home["running"]] == [1]
    assert [event["seq"] for event in home["events"]] == [2, 1, 0]
    assert [line["command"] for line in home["attention"]] == ["kernos why 2"]


def test_a_failed_build_asks_for_attention_until_a_newer_one_or_a_day_has_passed(
    world: Any, system: Any, admin: Any
) -> None:
    build = world.run(kind="build", state="running")
    world.end(build.id, "failed", "boom")

    first = admin.get("/v1/home").json()["attention"]
    system.clock.advance(25 * 3600)
    later = admin.get("/v1/home").json()["attention"]
    other = world.run(kind="build", state="running")
    world.end(other.id, "failed", "again")
    world.run(kind="build", state="running")

    assert [(line["level"], line["command"]) for line in first] == [("error", f"kernos why {build.id}")]
    assert later == []
    assert admin.get("/v1/home").json()["attention"] == []


def test_a_rolled_back_service_asks_for_attention_before_what_only_informs(world: Any, admin: Any) -> None:
    world.run(state="queued")
    world.deployment("diabetes", phase="rolled_back", reason="errors 5% > 1%")
    world.serve(world.traffic(1, 1))

    levels = [line["level"] for line in admin.get("/v1/home").json()["attention"]]

    assert levels == ["warning", "info"]


def test_devices_say_what_is_absent(admin: Any) -> None:
    devices = {device["kind"]: device for device in admin.get("/v1/devices").json()}

    assert devices["cpu"]["state"] == "available"
    assert devices["cpu"]["detail"]["cores"] >= 1
    assert devices["gpu"]["state"].startswith("unavailable: ")
