from __future__ import annotations

from typing import Any

import msgspec

from kernos.api.present import runs


def test_descendants_are_found_to_any_depth_within_the_bound(
    world: Any, system: Any, monkeypatch: Any
) -> None:
    build = world.run(kind="build")
    flow = world.run(kind="flow", parent=build.id)
    step = world.run(parent=flow.id)
    world.run()

    with system.store.read() as reader:
        found = [run.id for run in runs.descendants(reader, build.id)]
        monkeypatch.setattr(runs, "DESCENDANT_LIMIT", 1)
        bounded = [run.id for run in runs.descendants(reader, build.id)]

    assert found == [flow.id, step.id]
    assert bounded == [flow.id]


def test_a_run_that_never_started_took_no_time(world: Any) -> None:
    run = world.run()

    assert runs.elapsed_s(run, run.queued_ms + 5000) == 0.0


def test_a_clock_that_went_back_gives_no_negative_time(world: Any) -> None:
    run = msgspec.structs.replace(world.run(), started_ms=5000)

    assert runs.elapsed_s(run, 4000) == 0.0


def test_no_runs_need_no_query(system: Any) -> None:
    assert runs.run_views(None, [], {}, 0) == []  # type: ignore[arg-type]  # nothing is read
