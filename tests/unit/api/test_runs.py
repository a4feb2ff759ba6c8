from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.api.runs import log_view
from kernos.catalog.records import MetricRecord, ParamRecord


def test_runs_come_newest_first_in_pages(world: Any, admin: Any) -> None:
    for _ in range(5):
        world.run()

    first = admin.get("/v1/runs?limit=2").json()
    second = admin.get(f"/v1/runs?limit=2&below={first['next_below']}").json()
    third = admin.get(f"/v1/runs?limit=2&below={second['next_below']}").json()

    assert [[run["id"] for run in page["runs"]] for page in (first, second, third)] == [[5, 4], [3, 2], [1]]
    assert third["next_below"] is None


def test_filters_narrow_and_repeated_ones_mean_any(world: Any, admin: Any) -> None:
    world.run(state="running", kind="build")
    world.run(state="queued", app="other", parent=1)
    world.run(state="done")

    def ids(query: str) -> list[int]:
        return [run["id"] for run in admin.get(f"/v1/runs?{query}").json()["runs"]]

    assert ids("state=running&state=queued") == [2, 1]
    assert ids("kind=build") == [1]
    assert ids("app=other") == [2]
    assert ids("parent=1") == [2]


def test_a_run_shows_metrics_params_outputs_and_error(world: Any, admin: Any) -> None:
    run = world.run()
    world.put(MetricRecord(run.id, "accuracy", 0, 0.5, 1), "x", "run:1")
    world.put(MetricRecord(run.id, "accuracy", 1, 0.75, 2), "x", "run:1")
    world.put(ParamRecord(run.id, "C", "1.0"), "x", "run:1")
    ref = world.artifact("/models/diabetes", "a", "model", run=run.id)
    world.end(run.id, "failed", "boom", error={"code": "failed", "detail": "boom"})

    view = admin.get(f"/v1/runs/{run.id}").json()

    assert view["metrics"] == {"accuracy": 0.75}
    assert view["params"] == {"C": "1.0"}
    assert view["outputs"] == [ref]
    assert view["error"]["detail"] == "boom"
    assert view["class"] == "batch"


def test_a_living_run_shows_what_it_uses_now(world: Any, system: Any, admin: Any) -> None:
    started_ms = system.clock.wall_ms()
    world.run()
    world.run(state="running", started_ms=started_ms)
    system.clock.advance(3)

    view = admin.get("/v1/runs/2").json()

    assert (view["cpu_s"], view["rss_bytes"], view["wall_s"]) == (1.5, 4096, 3.0)


def test_an_unknown_run_is_not_found(admin: Any) -> None:
    for path in ("", "/why", "/log", "/wait"):
        assert admin.get(f"/v1/runs/99{path}").status_code == 404


def test_why_has_causes_events_and_the_next_command(world: Any, admin: Any) -> None:
    run = world.run()

    why = admin.get(f"/v1/runs/{run.id}/why").json()

    assert why["because"] == ["run 1 waits for a core", "run 1 holds it"]
    assert why["next"] == "kernos stop 1"
    assert [event["kind"] for event in why["events"]] == ["run.queued"]


def test_stop_and_nice_reach_the_kernel_in_the_callers_name(world: Any, system: Any, admin: Any) -> None:
    run = world.run(state="running")

    assert admin.post(f"/v1/runs/{run.id}/nice", json={"class": "interactive"}).status_code == 200
    assert admin.post(f"/v1/runs/{run.id}/nice", json={"weight": 2}).status_code == 200
    assert admin.post(f"/v1/runs/{run.id}/nice", json={"class": "urgent"}).status_code == 400
    assert admin.post(f"/v1/runs/{run.id}/stop").json()["state"] == "stopped"
    assert system.kernel.calls == [
        ("nice", run.id, "interactive", 1.0, "admin"),
        ("nice", run.id, "batch", 2.0, "admin"),
        ("stop", run.id, "admin"),
    ]


def test_wait_returns_as_soon_as_the_run_has_ended(world: Any, admin: Any) -> None:
    run = world.run(state="running")
    ending = threading.Timer(0.05, world.end, (run.id, "done"))
    ending.start()

    view = admin.get(f"/v1/runs/{run.id}/wait?timeout_s=30").json()

    ending.join()
    assert view["state"] == "done"


def test_wait_returns_an_unended_run_when_the_time_is_up(world: Any, admin: Any) -> None:
    run = world.run(state="running")

    assert admin.get(f"/v1/runs/{run.id}/wait?timeout_s=0").json()["state"] == "running"
    assert admin.get(f"/v1/runs/{run.id}/wait?timeout_s=121").status_code == 400


def test_a_log_is_read_in_parts(world: Any, system: Any, admin: Any) -> None:
    run = world.run(state="running")
    folder = system.home / "runs" / str(run.id)
    folder.mkdir(parents=True)
    (folder / "log").write_text("one\ntwo\n")

    first = admin.get(f"/v1/runs/{run.id}/log?limit=4").json()
    rest = admin.get(f"/v1/runs/{run.id}/log?offset={first['next_offset']}").json()
    world.end(run.id, "done")
    last = admin.get(f"/v1/runs/{run.id}/log?offset={rest['next_offset']}").json()

    assert (first["text"], rest["text"], last["text"]) == ("one\n", "two\n", "")
    assert [part["ended"] for part in (first, rest, last)] == [False, False, True]


def test_a_run_without_a_log_has_none_yet(tmp_path: Path) -> None:
    view = log_view(tmp_path / "log", 0, 10, is_over=False)

    assert (view.text, view.next_offset, view.ended) == ("", 0, False)


@given(st.text(max_size=60), st.integers(min_value=4, max_value=9))
def test_no_cut_breaks_a_character(tmp_path_factory: Any, text: str, limit: int) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    path.write_bytes(text.encode())

    parts, offset, ended = [], 0, False
    while not ended:
        view = log_view(path, offset, limit, is_over=True)
        assert view.next_offset > offset or view.ended
        parts.append(view.text)
        offset, ended = view.next_offset, view.ended

    assert "".join(parts) == text


def test_bytes_that_are_no_text_do_not_stop_the_reading(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"\xff\x80\x80\x80\x80\x80ok")

    first = log_view(path, 0, 4, is_over=False)

    assert first.next_offset == 4
    assert log_view(path, 4, 100, is_over=True).text.endswith("ok")


@pytest.mark.parametrize("tail", [b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98"])
def test_an_unfinished_character_waits_for_its_rest(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"abc" + tail)

    assert log_view(path, 0, 100, is_over=False).next_offset == 3
    assert log_view(path, 0, 100, is_over=True).next_offset == 3 + len(tail)
