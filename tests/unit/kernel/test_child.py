"""One forked worker: see also the executor's contract and tests/fault/test_runs.py, which run it for real."""

from __future__ import annotations

import os
import select
from pathlib import Path
from typing import Any

import pytest

from kernos.base.clock import ManualClock
from kernos.base.ids import RunId
from kernos.kernel.child import Child
from kernos.kernel.folder import write_task
from kernos.kernel.run import Limits, Task
from kernos.kernel.wire import Begin

LIMITS: dict[str, Any] = {
    "cpus": 1.0, "memory_bytes": 2**30, "wall_s": 10.0, "processes": 8, "log_bytes": 1000
}  # fmt: skip


def fork(folder: Path, step: str, clock: ManualClock, **limits: Any) -> Child:
    entry = f"kernos.testing.misdeeds:{step}"
    write_task(Task(RunId(1), entry, {}, str(folder), str(folder), "", "", 1))
    return Child(Begin(RunId(1), 1, entry, str(folder), Limits(**(LIMITS | limits))), clock, [])


def reap(child: Child) -> None:
    poller = select.poll()
    poller.register(child.handle, select.POLLIN)
    assert poller.poll(10_000), "the worker did not end in time"
    child.reap()
    while child.output.drain():
        pass
    child.output.close()


def test_a_worker_ends_with_what_it_used(tmp_path: Path) -> None:
    clock = ManualClock()
    child = fork(tmp_path, "echo", clock)
    clock.advance(2.0)
    reap(child)

    assert child.exit is not None
    assert (child.exit.code, child.exit.signal, child.exit.reason, child.exit.wall_s) == (0, None, "", 2.0)
    assert child.exit.peak_rss_bytes > 2**20
    assert (tmp_path / "log").read_text() == "run 1 attempt 1\n"


@pytest.mark.parametrize(
    ("limits", "passed_s", "reason"),
    [({}, 11.0, "time"), ({"processes": 0}, 0.0, "processes"), ({"memory_bytes": 1000}, 0.0, "memory")],
)
def test_a_limit_kills(tmp_path: Path, limits: dict[str, Any], passed_s: float, reason: str) -> None:
    clock = ManualClock()
    child = fork(tmp_path, "hang", clock, **limits)
    clock.advance(passed_s)
    child.watch()
    child.kill("stopped")
    reap(child)

    assert child.exit is not None
    assert (child.exit.signal, child.exit.reason) == (9, reason)


def test_within_its_limits_a_worker_lives(tmp_path: Path) -> None:
    child = fork(tmp_path, "hang", ManualClock())
    child.watch()

    assert child.cause == ""
    child.kill("stopped")
    reap(child)


def test_a_worker_is_alone_and_gives_no_core(tmp_path: Path) -> None:
    child = fork(tmp_path, "hang", ManualClock())

    deadline = select.poll()
    while os.getsid(child.pid) != child.pid:
        deadline.poll(5)
    assert os.getpgid(child.pid) == child.pid
    child.kill("stopped")
    reap(child)
