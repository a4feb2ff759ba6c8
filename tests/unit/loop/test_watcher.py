"""Segments become looks, looks become alarms, alarms become builds; each once, also after failures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kernos.catalog.records import RunRecord
from kernos.kernel.run import Exit, Task
from kernos.loop.watcher import LABELS_TO_RETRAIN, MOST_SEGMENTS, RETRY_MS
from kernos.spec.manifest import Column, Flow, Manifest, Service, Trigger

if TYPE_CHECKING:
    from tests.unit.loop.conftest import Machine

DRIFT = Trigger("on drift, at most daily", "drift", 86_400.0)
TIME = Trigger("every 6h", "time", 21_600.0)
COLUMNS = {"a": "Float64", "b": "Float64", "c": "Float64", "y": "Int64"}


def manifest(trigger: Trigger = DRIFT, **changes: Any) -> Manifest:
    flow = Flow("build", "sha256:f", params={"source": "rows.csv"}, trigger=trigger)
    made = Manifest("m", "y", flows=[flow], service=Service("build"), contract=[Column("y", "int")])
    return msgspec.structs.replace(made, **changes)


@pytest.fixture
def home(machine: Machine) -> Machine:
    (machine.home / "plane" / "log").mkdir(parents=True)
    return machine


def served(home: Machine, trigger: Trigger = DRIFT) -> RunRecord:
    """The App is live, built from `/data/rows@1`. Its build."""
    code = home.app(manifest(trigger))
    facts = {"columns": COLUMNS, "source": "/x/rows.csv", "source_sha256": "ff", "stamp": [1, 2], "rows": 442}
    home.artifact("sha256:base", "dataset", facts, "/data/rows")
    build = home.loop.build("m", "/x", {}, _ann())
    home.kernel.finish(build.id, "done", "", {"reads": {"rows.csv": "/data/rows@1"}})
    home.go_live(build=build.id, code=code)
    return build


def _ann() -> Any:
    from kernos.security.access import Caller

    return Caller("ann", "operator")


def segment(home: Machine, name: str) -> None:
    (home.home / "plane" / "log" / f"{name}.seg").write_bytes(b"x")


def segments(home: Machine) -> list[str]:
    return sorted(path.name for path in (home.home / "plane" / "log").iterdir())


def tick(home: Machine) -> None:
    """The next look is due."""
    home.clock.advance(2.1)
    home.watcher.tick()


def looks(home: Machine) -> list[RunRecord]:
    return home.runs(kind="monitor")


def looked(
    home: Machine,
    *,
    alarm: bool = False,
    inputs: bool = True,
    labelled: int = 0,
    errors_row: int | None = None,
) -> None:
    """The look at work ends with these findings."""
    task = home.started(looks(home)[-1].id)
    drift = {
        "alarm": alarm and inputs,
        "rows": 1,
        "e_value": 1.0,
        "e_bound": 1e4,
        "rows_to_alarm": 1 if alarm else None,
    }
    figures = {"alarm": alarm, "drift": drift, "accuracy": {}, "accuracy_alarm_row": errors_row}
    names = [path.rpartition("/")[2] for path in task.payload["segments"]]
    record = home.end(
        task, segments=names, predictions=_dataset("sha256:pred"), state="sha256:state", figures=figures, damaged=[],
        labelled=_dataset(f"sha256:lab{labelled}", labelled) if labelled else None,
    )  # fmt: skip
    assert record.state == "done", record.reason


def _dataset(digest: str, rows: int = 1) -> dict[str, Any]:
    columns = {**COLUMNS, "prediction_id": "String"}
    return {"digest": digest, "rows": rows, "columns": columns, "parts": [], "size_bytes": 1}


def fail(home: Machine) -> None:
    task: Task = home.started(looks(home)[-1].id)
    home.executor.end(task, Exit(task.run, task.attempt, code=1))
    assert home.kernel.wait(task.run, 20).state == "failed"


def alarmed(home: Machine, labelled: int = LABELS_TO_RETRAIN, before: int = 0) -> None:
    """A standing alarm, with so many labelled rows after it."""
    if before:
        segment(home, "0")
        tick(home)
        looked(home, labelled=before)
    segment(home, "1")
    tick(home)
    looked(home, alarm=True)
    segment(home, "2")
    tick(home)
    looked(home, alarm=True, labelled=before + labelled)


def builds(home: Machine) -> list[RunRecord]:
    return home.runs(kind="build")[1:]


# Looks


def test_new_segments_are_looked_at_for_what_is_live(home: Machine) -> None:
    served(home)
    segment(home, "a")
    segment(home, "b")
    (home.home / "plane" / "log" / "c.open").write_bytes(b"x")

    tick(home)

    (look,) = looks(home)
    payload = look.payload
    assert (look.name, look.owner, look.klass) == ("2 segments", "kernel", "interactive")
    assert [path.rpartition("/")[2] for path in payload["segments"]] == ["a.seg", "b.seg"]
    assert (payload["version"], payload["columns"], payload["target"]) == (1, ["a", "b", "c"], "y")
    assert (payload["expected_accuracy"], payload["held_out_rows"]) == (0.8, 100)
    assert (payload["state"], payload["predictions"], payload["labelled"]) == (None, None, None)
    assert payload["trusted_keys"] == [home.signer.public_pem]


def test_nothing_is_looked_at_without_segments_or_before_time(home: Machine) -> None:
    served(home)
    tick(home)
    segment(home, "a")
    home.watcher.tick()
    assert looks(home) == []

    tick(home)
    assert len(looks(home)) == 1


def test_one_look_at_a_time_and_the_next_goes_on_from_it(home: Machine) -> None:
    served(home)
    segment(home, "a")
    tick(home)
    segment(home, "b")
    tick(home)
    assert len(looks(home)) == 1

    looked(home, labelled=5)
    tick(home)

    first, second = looks(home)
    assert [path.rpartition("/")[2] for path in second.payload["segments"]] == ["b.seg"]
    assert second.payload["done"] == ["a.seg"]
    assert (second.payload["state"], second.payload["predictions"]) == ("sha256:state", "sha256:pred")
    assert second.payload["labelled"] == "sha256:lab5"
    assert first.payload["done"] == []


def test_a_look_takes_so_many_segments_and_leaves_the_rest(home: Machine) -> None:
    served(home)
    for number in range(MOST_SEGMENTS + 3):
        segment(home, f"{number:03}")
    tick(home)
    looked(home)
    tick(home)

    assert [len(look.payload["segments"]) for look in looks(home)] == [MOST_SEGMENTS, 3]


def test_segments_go_when_every_service_has_their_rows(home: Machine) -> None:
    served(home)
    segment(home, "a")
    tick(home)
    assert segments(home) == ["a.seg"]
    looked(home)
    segment(home, "b")

    tick(home)

    assert segments(home) == ["b.seg"]


def test_a_second_service_keeps_the_segments_it_has_not_seen(home: Machine) -> None:
    served(home)
    other = msgspec.structs.replace(home.deployment(), app="n")
    code = home.app(manifest(app="n"), "sha256:n")
    with home.store.read() as reader:
        from kernos.base.ids import Ref
        from kernos.catalog.artifacts import resolve
        from kernos.catalog.records import ArtifactRecord

        package = reader.get(ArtifactRecord, resolve(reader, Ref("/packages/m")).digest)
    assert package is not None
    home.artifact("sha256:npkg", "package", {**package.meta, "app": "n", "code": code}, "/packages/n")
    home.put(other)
    segment(home, "a")
    tick(home)
    assert sorted(look.app for look in looks(home)) == ["m", "n"]
    looked(home)

    tick(home)

    assert segments(home) == ["a.seg"]


def test_a_failed_look_is_tried_again_but_not_at_every_turn(home: Machine) -> None:
    served(home)
    segment(home, "a")
    tick(home)
    fail(home)
    ended_ms = looks(home)[-1].ended_ms
    assert ended_ms is not None
    home.clock.jump_wall((ended_ms - home.clock.wall_ms()) / 1000)

    tick(home)
    tick(home)
    assert len(looks(home)) == 1

    home.clock.jump_wall(RETRY_MS / 1000)
    tick(home)
    assert len(looks(home)) == 2
    assert segments(home) == ["a.seg"]


def test_a_wall_clock_that_was_set_back_does_not_hold_a_look_up(home: Machine) -> None:
    served(home)
    segment(home, "a")
    tick(home)
    fail(home)
    ended_ms = looks(home)[-1].ended_ms
    assert ended_ms is not None
    home.clock.jump_wall((ended_ms - home.clock.wall_ms()) / 1000 - 86_400)

    tick(home)

    assert len(looks(home)) == 2


def test_a_new_live_version_starts_a_new_watch(home: Machine) -> None:
    served(home)
    segment(home, "a")
    tick(home)
    looked(home, alarm=True)
    home.put(msgspec.structs.replace(home.deployment(), live=home.package(2.0)))
    segment(home, "b")

    tick(home)

    assert looks(home)[-1].payload["state"] is None
    assert looks(home)[-1].payload["version"] == 2
    assert builds(home) == []


# Builds that nobody asked for


def test_an_alarm_grows_the_data_and_builds(home: Machine) -> None:
    served(home)
    alarmed(home, before=50)

    tick(home)

    (build,) = builds(home)
    assert (build.owner, build.payload["cause"]) == ("kernel", "drift: The inputs have drifted.")
    grow = build.payload["grow"]
    assert (grow["source"], grow["name"], grow["base"]) == ("rows.csv", "rows", "sha256:base")
    assert (grow["from_row"], grow["labelled_rows_used"]) == (50, 50 + LABELS_TO_RETRAIN)
    assert grow["inputs"] == [["sha256:base", "data"], [grow["labelled"], "feedback"]]
    assert (grow["file"], grow["source_sha256"], grow["stamp"]) == ("/x/rows.csv", "ff", [1, 2])
    assert grow["contract"][0]["name"] == "y"


def test_an_alarm_builds_once(home: Machine) -> None:
    served(home)
    alarmed(home)
    for _ in range(3):
        tick(home)
    assert len(builds(home)) == 1

    home.build_parts()
    tick(home)
    assert len(builds(home)) == 1


def test_too_many_errors_build_too(home: Machine) -> None:
    served(home)
    segment(home, "1")
    tick(home)
    looked(home, alarm=True, inputs=False, errors_row=7)
    segment(home, "2")
    tick(home)
    looked(home, alarm=True, inputs=False, errors_row=7, labelled=LABELS_TO_RETRAIN)

    tick(home)

    assert builds(home)[0].payload["cause"] == "drift: The live errors have become too many."


def test_too_few_labels_wait_for_more(home: Machine) -> None:
    served(home)
    alarmed(home, labelled=LABELS_TO_RETRAIN - 1)
    tick(home)
    assert builds(home) == []

    segment(home, "3")
    tick(home)
    looked(home, alarm=True, labelled=LABELS_TO_RETRAIN)
    tick(home)
    assert len(builds(home)) == 1


def test_labels_that_lack_a_column_of_the_data_cannot_grow_it(home: Machine) -> None:
    served(home)
    wide = {"columns": {**COLUMNS, "sex": "Int64"}, "source": "/x", "source_sha256": "", "rows": 1}
    home.artifact("sha256:wide", "dataset", wide, "/data/rows")
    alarmed(home)

    tick(home)

    assert builds(home) == []


def test_a_canary_on_trial_is_waited_for(home: Machine) -> None:
    served(home)
    alarmed(home)
    home.put(msgspec.structs.replace(home.deployment(), phase="canary", canary=1))

    tick(home)

    assert builds(home) == []


def test_an_app_that_does_not_ask_for_it_is_not_rebuilt(home: Machine) -> None:
    served(home, Trigger())
    alarmed(home)

    tick(home)

    assert builds(home) == []


def test_a_build_by_a_person_does_not_use_up_the_days_retrain_but_is_waited_for(home: Machine) -> None:
    served(home)
    alarmed(home)
    asked = home.loop.build("m", "/x", {"source": "other.csv"}, _ann())
    home.clock.jump_wall((asked.queued_ms - home.clock.wall_ms()) / 1000 + 60)
    tick(home)
    assert len(builds(home)) == 1

    home.kernel.finish(asked.id, "failed", "", {})
    tick(home)

    assert len(builds(home)) == 2


def test_a_retrain_that_was_refused_is_tried_again_a_day_later(home: Machine) -> None:
    served(home)
    alarmed(home)
    tick(home)
    first = builds(home)[0]
    home.kernel.finish(first.id, "failed", "refused by the gate", {})
    home.clock.jump_wall((first.queued_ms - home.clock.wall_ms()) / 1000 + 3600)
    tick(home)
    assert len(builds(home)) == 1

    home.clock.jump_wall(86_400)
    tick(home)

    assert len(builds(home)) == 2
    assert builds(home)[1].key != first.key


def test_a_schedule_builds_without_labels_again_and_again(home: Machine) -> None:
    """More often than the watcher looks back."""
    served(home, TIME)
    for count in range(60):
        newest = home.runs(kind="build")[-1]
        home.clock.jump_wall((newest.queued_ms - home.clock.wall_ms()) / 1000 + TIME.every_s + 1)
        tick(home)
        assert len(builds(home)) == count + 1
        home.kernel.finish(builds(home)[-1].id, "done", "", {"reads": {}})

    assert builds(home)[-1].payload["grow"] is None
    assert builds(home)[-1].payload["cause"] == "schedule: The app builds every 6 h."


def test_a_live_model_that_read_nothing_cannot_grow(home: Machine) -> None:
    build = served(home)
    home.put(msgspec.structs.replace(home.run(build.id), result={"reads": {}}))
    alarmed(home)

    tick(home)

    assert builds(home) == []
