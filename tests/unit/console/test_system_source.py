"""The console over a real system whose kernel and plane stand still: what is asked and what is answered fit together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient

from kernos.api.app import create_app
from kernos.base.digests import of_bytes
from kernos.base.settings import load_settings
from kernos.catalog.artifacts import publish
from kernos.catalog.records import ArtifactRecord, DeploymentRecord, RunRecord
from kernos.catalog.store import Transaction
from kernos.console.pages import handlers
from kernos.console.source import RunFilter
from kernos.console.system_source import SystemSource
from kernos.security.access import Caller
from kernos.system import System, open_system

ADA = Caller("ada", "admin")


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    system = open_system(load_settings({"home": str(tmp_path)}))
    yield system
    system.store.close()
    system.lock.close()


@pytest.fixture
def client(system: System) -> Iterator[TestClient[Any]]:
    app = create_app(system, extra_handlers=handlers(system))
    with TestClient(app, base_url="http://127.0.0.1:7070") as client:
        client.headers["Accept"] = "text/html"
        code = system.sessions.issue_code(ADA, system.clock.monotonic_s())
        client.get(f"/login?code={code}")
        yield client


@pytest.fixture
def source(client: Any) -> SystemSource:
    return SystemSource(client.app.state.api)


@pytest.fixture
def run(system: System) -> int:
    return system.store.write(_fill)


def _fill(tx: Transaction) -> int:
    run = tx.next_run_id()
    record = RunRecord(
        id=run, kind="step", app="diabetes", name="train", owner="ada", parent=None, key="", state="failed",
        reason="it had enough", klass="batch", weight=1.0, cpus=1.0, memory_bytes=0, wall_s=0.0, entry="", payload={},
        result={}, attempts=1, retries=0, queued_ms=tx.at_ms, started_ms=tx.at_ms, ended_ms=tx.at_ms, usage={},
    )  # fmt: skip
    tx.put(record)
    tx.emit("run.failed", f"run:{run}", "ada", kind="step", app="diabetes")
    for text in ("one", "two"):
        digest = of_bytes(text.encode())
        publish(
            tx,
            "/packages/diabetes",
            ArtifactRecord(digest, "package", 3, {"app": "diabetes"}, run, tx.at_ms),
            [],
            "ada",
        )
    tx.put(DeploymentRecord("diabetes", 2, 1, None, 0.0, "live", "it held", tx.at_ms, {}))
    tx.emit("deployment.changed", "deployment:diabetes", "ada")
    return run


def test_every_page_opens_over_a_real_system(client: Any, run: int) -> None:
    paths = [
        "/", "/runs", "/runs?state=failed&kind=step&app=diabetes", f"/runs/{run}", f"/runs/{run}/stop", "/apps", "/services",
        "/services/diabetes", "/services/diabetes/rollback", "/catalog", "/catalog?prefix=/packages",
        "/catalog/versions?path=/packages/diabetes", "/catalog/version?ref=/packages/diabetes@1",
        "/catalog/lineage?ref=/packages/diabetes@2", "/catalog/diff", "/audit", "/audit?verify=1", f"/audit?subject=run:{run}",
    ]  # fmt: skip

    assert {path: client.get(path).status_code for path in paths} == dict.fromkeys(paths, 200)


def test_what_does_not_exist_is_not_found(client: Any) -> None:
    paths = [
        "/apps/none",
        "/services/none",
        "/runs/99",
        "/catalog/versions?path=/data/none",
        "/catalog/lineage?ref=pred:none",
    ]

    assert {path: client.get(path).status_code for path in paths} == dict.fromkeys(paths, 404)


def test_runs_are_narrowed_by_every_field(source: SystemSource, run: int) -> None:
    assert [view.id for view in source.runs(RunFilter()).runs] == [run]
    assert [view.id for view in source.runs(RunFilter(state="failed", kind="step", app="diabetes")).runs] == [
        run
    ]
    for none in (
        RunFilter(state="done"),
        RunFilter(kind="build"),
        RunFilter(app="x"),
        RunFilter(parent=9),
        RunFilter(below=run),
    ):
        assert source.runs(none).runs == []


def test_the_tail_of_a_log_starts_with_a_whole_line(source: SystemSource, system: System, run: int) -> None:
    folder = system.home / "runs" / str(run)
    assert source.tail(run, 64).text == ""
    folder.mkdir(parents=True)
    (folder / "log").write_text("".join(f"line {number}\n" for number in range(100)), encoding="utf-8")

    assert source.tail(run, 10_000).text.startswith("line 0\n")
    assert source.tail(run, 20).text == "line 98\nline 99\n"


def test_events_and_the_newest_agree(source: SystemSource, run: int) -> None:
    assert source.events(-1, 500, "").events[-1].seq == source.newest()
    assert [event.kind for event in source.events(-1, 500, f"run:{run}").events] == ["run.failed"]
    assert source.audit().ok


def test_the_stream_is_told_when_the_kernel_ends(client: Any, source: SystemSource) -> None:
    assert not source.closed()
    client.app.state.api.feed.end_watches()
    assert source.closed()
