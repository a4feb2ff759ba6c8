from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kernos.spec.manifest import Flow, Manifest, Rule, Trigger

MANIFEST = msgspec.to_builtins(
    Manifest(
        app="diabetes",
        target="progressed",
        sensitive=["sex"],
        doc="Diabetes.",
        gates=[Rule("accuracy >= 0.65", "threshold", "accuracy", bound=0.65)],
        flows=[Flow("build", "c", trigger=Trigger("on drift, at most daily", "drift"))],
    )
)


@pytest.fixture
def registered(world: Any) -> None:
    world.artifact("/apps/diabetes", "a", "app", manifest=MANIFEST)


def test_an_app_is_handed_in_and_built(system: Any, admin: Any) -> None:
    answer = admin.post("/v1/apps", json={"files": {"app.py": "x"}, "main": "app.py"})
    build = admin.post("/v1/builds", json={"app": "diabetes", "folder": "/work", "args": {"C": 1.0}})

    assert (answer.status_code, answer.json()) == (201, {"app": "diabetes", "version": 1, "run": 4})
    assert build.json()["state"] == "running"
    assert build.json()["cause"] == "principal:admin"
    assert system.loop.calls[1] == ("build", "diabetes", "/work", {"C": 1.0}, "admin")


def test_an_app_shows_what_it_declares(admin: Any, registered: None) -> None:
    view = admin.get("/v1/apps/diabetes").json()

    assert (view["target"], view["sensitive"], view["gates"]) == ("progressed", ["sex"], ["accuracy >= 0.65"])
    assert view["trigger"] == "on drift, at most daily"
    assert [stage["name"] for stage in view["stages"]] == [
        "ingest", "prepare", "train", "gate", "package", "deploy", "infer", "observe",
    ]  # fmt: skip
    assert {stage["state"] for stage in view["stages"]} == {"idle"}
    assert [app["name"] for app in admin.get("/v1/apps").json()] == ["diabetes"]


def test_a_build_tells_its_stages_while_it_runs(world: Any, admin: Any) -> None:
    build = world.run(kind="build", state="running")
    tune = world.run(kind="tune", state="running", parent=build.id)
    world.run(kind="trial", state="done", parent=tune.id)
    world.run(kind="trial", state="running", parent=tune.id)

    view = admin.get(f"/v1/builds/{build.id}").json()

    stages = {stage["name"]: stage for stage in view["stages"]}
    assert (stages["train"]["state"], stages["train"]["detail"]) == ("running", "1 of 2 trials")
    assert stages["gate"]["state"] == "waiting"
    assert len(view["children"]) == 3


def test_a_build_that_is_done_tells_its_outcome(world: Any, admin: Any, registered: None) -> None:
    build = world.run(kind="build", state="running")
    flow = world.run(kind="flow", state="done", parent=build.id, result={"reads": {"d": "/data/d@1"}})
    world.run(kind="step", name="clean", state="cached", parent=flow.id, result={"value": {"kind": "table"}})
    world.run(kind="step", name="train", state="done", parent=flow.id, result={"value": {"kind": "model"}})
    verdict = {
        "rule": "accuracy >= 0.65",
        "passed": True,
        "value": 0.7,
        "low": 0.6,
        "high": 0.8,
        "rows": 90,
        "note": "",
    }
    world.run(kind="gate", state="done", parent=build.id, result={"verdicts": [verdict], "passed": True})
    package = world.run(kind="package", state="done", parent=build.id, result={"ref": "/packages/diabetes@1"})
    world.end(
        build.id,
        "done",
        "live",
        package="/packages/diabetes@1",
        best={"params": {"C": 0.5}},
        data=["/data/d@1"],
    )
    world.deployment("diabetes", live=1)
    world.serve(world.traffic(1, 5))

    view = admin.get(f"/v1/builds/{build.id}").json()
    app = admin.get("/v1/apps/diabetes").json()

    stages = {stage["name"]: (stage["state"], stage["detail"]) for stage in view["stages"]}
    assert stages["ingest"] == ("cached", "/data/d@1")
    assert stages["prepare"] == ("cached", "clean (1 of 1 cached)")
    assert stages["train"] == ("done", "best C=0.5")
    assert stages["gate"] == ("done", "1 of 1 passed")
    assert stages["package"] == ("done", "/packages/diabetes@1")
    assert stages["deploy"] == ("done", "version 1 is live")
    assert stages["infer"][0] == "running"
    assert view["url"].endswith("/v2/models/diabetes/infer")
    assert view["verdicts"] == [verdict]
    assert app["verdicts"] == [verdict]
    assert app["live"] == 1
    assert package.id in [child["id"] for child in view["children"]]


def test_a_refused_build_shows_the_gate_that_refused(world: Any, admin: Any) -> None:
    build = world.run(kind="build", state="running")
    verdict = {
        "rule": "accuracy >= 0.9",
        "passed": False,
        "value": 0.7,
        "low": None,
        "high": None,
        "rows": 9,
        "note": "",
    }
    world.run(kind="gate", state="done", parent=build.id, result={"verdicts": [verdict], "passed": False})
    world.end(build.id, "failed", "refused by the gate")

    stages = {stage["name"]: stage for stage in admin.get(f"/v1/builds/{build.id}").json()["stages"]}

    assert (stages["gate"]["state"], stages["gate"]["detail"]) == ("failed", "refused: accuracy >= 0.9")
    assert stages["package"]["state"] == "idle"
    assert stages["deploy"]["state"] == "idle"


def test_a_recalled_build_is_cached_throughout(world: Any, admin: Any) -> None:
    build = world.run(
        kind="build", state="cached", result={"package": "/packages/diabetes@1", "data": ["/data/d@1"]}
    )

    view = admin.get(f"/v1/builds/{build.id}").json()

    assert view["cached"]
    assert {stage["state"] for stage in view["stages"][:5]} == {"cached"}


def test_only_a_build_is_shown_as_one(world: Any, admin: Any) -> None:
    run = world.run()

    assert admin.get(f"/v1/builds/{run.id}").status_code == 404
    assert admin.get("/v1/apps/none").status_code == 404
