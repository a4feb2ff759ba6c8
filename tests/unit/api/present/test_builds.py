from __future__ import annotations

from typing import Any

from kernos.api.present.builds import app_view, build_view
from kernos.catalog.records import VersionRecord


def test_a_failed_trial_does_not_fail_a_search_that_goes_on(world: Any, system: Any) -> None:
    build = world.run(kind="build", state="running")
    tune = world.run(kind="tune", state="running", parent=build.id)
    world.run(kind="trial", state="failed", parent=tune.id)

    with system.store.read() as reader:
        view = build_view(reader, build, None, {}, 0)

    assert view.stages[2].state == "running"


def test_a_failed_step_fails_its_stage_with_its_reason(world: Any, system: Any) -> None:
    build = world.run(kind="build", state="failed")
    flow = world.run(kind="flow", state="failed", parent=build.id, reason="a step failed")
    world.run(state="failed", parent=flow.id, reason="KeyError: 'bmi'")

    with system.store.read() as reader:
        view = build_view(reader, build, None, {}, 0)

    assert (view.stages[1].state, view.stages[1].detail) == ("failed", "KeyError: 'bmi'")
    assert view.stages[2].state == "failed"


def test_an_app_without_a_manifest_is_shown_by_its_name(world: Any, system: Any) -> None:
    with system.store.read() as reader:
        view = app_view(
            reader, VersionRecord("/apps/x", 3, world.digest("d"), None, 0), None, {}, 0, builds=1
        )

    assert (view.name, view.version, view.target, view.builds) == ("x", 3, "", [])
