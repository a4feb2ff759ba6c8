"""Runs that misbehave, kernels and warm parents that are killed: with the real executor and store."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kernos.base.clock import SystemClock
from kernos.base.ids import RunId
from kernos.base.processes import identify
from kernos.base.settings import KernelSettings
from kernos.catalog.records import EventRecord, RunRecord
from kernos.catalog.store import SqlStore
from kernos.kernel import tree
from kernos.kernel.driver import Kernel
from kernos.kernel.local import LocalExecutor
from kernos.kernel.run import RunSpec

SETTINGS = KernelSettings(cpus=4.0, memory_bytes=8 * 2**30, run_memory_bytes=2**30, run_log_bytes=2**20)
WAIT_S = 30.0


class Machine:
    """A home with its store and a kernel that can be replaced."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.clock = SystemClock()
        self.store = SqlStore(f"sqlite:///{home}/catalog.db", self.clock)
        self.store.open()
        self.kernel = self._kernel()
        self.kernel.start()

    def submit(self, step: str, payload: dict[str, Any] | None = None, **more: Any) -> RunRecord:
        entry = f"kernos.testing.misdeeds:{step}"
        spec = RunSpec("step", "app", step, "admin", entry=entry, payload=payload or {}, **more)
        return self.kernel.submit(spec)

    def run(self, step: str, payload: dict[str, Any] | None = None, **more: Any) -> RunRecord:
        return self.kernel.wait(self.submit(step, payload, **more).id, WAIT_S)

    def log(self, run: RunId) -> Path:
        return self.home / "runs" / str(run) / "log"

    def events(self, kind: str) -> list[EventRecord]:
        with self.store.read() as reader:
            return reader.events(kind_prefix=kind, limit=10_000)

    def until(self, condition: Callable[[], object]) -> None:
        """Look again after every Event, and ten times a second."""
        deadline_s = self.clock.monotonic_s() + WAIT_S
        while not condition():
            assert self.clock.monotonic_s() < deadline_s, "it did not happen in time"
            threading.Event().wait(0.02)

    def warm_pid(self) -> int:
        (pid,) = [pid for pid in self._marked() if tree_parent(pid) not in self._marked()]
        return pid

    def close(self) -> None:
        self.kernel.stop()
        self.store.close()

    def _marked(self) -> set[int]:
        return tree.marked(f"KERNOS_WARM_OF={self.home}")

    def _kernel(self) -> Kernel:
        executor = LocalExecutor(self.home, idle_s=60.0, modules=())
        return Kernel(
            self.store,
            executor,
            SETTINGS,
            self.home,
            self.clock,
            settle=lambda tx, record, result: result,
            token_for=lambda run: "token",
            socket="",
        )


def tree_parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.close()
    assert tree.marked(f"KERNOS_WARM_OF={tmp_path}") == set(), "a process of this home is left"


def test_a_step_that_raises_fails_with_its_error_and_traceback(machine: Machine) -> None:
    record = machine.run("fail")

    assert (record.state, record.reason) == ("failed", "ValueError: this step raises")
    assert record.result["error"]["hint"] == f"kernos logs {record.id}"
    assert "Traceback" in machine.log(record.id).read_text()


def test_a_step_that_exits_fails_with_its_code(machine: Machine) -> None:
    record = machine.run("vanish")

    assert (record.state, record.reason) == ("failed", "It exited with 3 and left no result.")


def test_a_step_that_crashes_fails_with_its_signal(machine: Machine) -> None:
    record = machine.run("crash")

    assert (record.state, record.reason) == ("failed", "It died by SIGSEGV.")


def test_a_step_that_hangs_is_killed_at_its_limit(machine: Machine) -> None:
    record = machine.run("hang", wall_s=0.2)

    assert record.state == "failed"
    assert record.reason.startswith("time: it ran longer than 200 ms")


@pytest.mark.parametrize("stay", [False, True])
def test_nothing_of_two_hundred_forked_processes_is_left(
    machine: Machine, tmp_path: Path, stay: bool
) -> None:
    pids = tmp_path / "pids"
    submitted = machine.submit("fork_many", {"count": 200, "pids": str(pids), "stay": stay})
    if stay:
        machine.until(lambda: pids.exists() and len(pids.read_text().split()) == 200)
        machine.kernel.stop_run(submitted.id, "admin")
        machine.until(lambda: machine.kernel.held() == (0.0, 0))

    record = machine.kernel.wait(submitted.id, WAIT_S)

    assert record.state == ("stopped" if stay else "done")
    assert not [pid for pid in map(int, pids.read_text().split()) if identify(pid)]


def test_too_many_processes_end_the_run(machine: Machine, tmp_path: Path) -> None:
    payload = {"count": SETTINGS.run_processes + 50, "pids": str(tmp_path / "pids"), "stay": True}

    record = machine.run("fork_many", payload)

    assert record.reason.startswith(f"processes: it had more than {SETTINGS.run_processes}")


def test_a_step_that_eats_memory_is_killed_alone(machine: Machine) -> None:
    other = machine.submit("hang", wall_s=20.0)

    record = machine.run("eat_memory", memory_bytes=200 * 2**20)

    assert record.state == "failed"
    assert record.reason.startswith("memory: it used more than 200.0 MiB")
    assert record.usage["peak_rss_bytes"] < 2 * 2**30
    assert machine.kernel.stop_run(other.id, "admin").state == "stopped"


def test_a_gigabyte_of_output_fills_no_disk(machine: Machine) -> None:
    record = machine.run("shout", {"bytes": 2**30})

    log = machine.log(record.id)
    assert record.state == "done"
    assert log.stat().st_size < SETTINGS.run_log_bytes + 200
    assert log.read_bytes().endswith(b"1023.0 MiB more were printed and dropped; the limit is 1.0 MiB]\n")


def test_a_failed_step_is_tried_again_if_it_asked(machine: Machine) -> None:
    record = machine.run("fail_first", retries=1)

    assert (record.state, record.attempts, record.result) == ("done", 2, {"attempt": 2})
    assert len(machine.events("run.retried")) == 1


def test_runs_of_a_killed_warm_parent_are_started_again_once(machine: Machine, tmp_path: Path) -> None:
    payload = {"begun": str(tmp_path / "begun"), "completed": str(tmp_path / "completed"), "seconds": 60}
    runs = [machine.submit("mark_and_wait", payload).id for _ in range(3)]
    for attempt in (1, 2):
        machine.until(lambda: lines(tmp_path / "begun") == 3 * attempt)  # noqa: B023 - called in this turn
        os.kill(machine.warm_pid(), signal.SIGKILL)

    ended = [machine.kernel.wait(run, WAIT_S) for run in runs]

    assert [record.state for record in ended] == ["failed"] * 3
    assert [record.attempts for record in ended] == [2] * 3
    assert all(record.reason.startswith("lost:") for record in ended)
    assert len(machine.events("run.lost")) == 3


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


DRIVER = """
import sys, threading
from pathlib import Path
from kernos.base.clock import SystemClock
from kernos.base.settings import KernelSettings
from kernos.catalog.store import SqlStore
from kernos.kernel.driver import Kernel
from kernos.kernel.local import LocalExecutor

home, clock = Path(sys.argv[1]), SystemClock()
store = SqlStore(f"sqlite:///{home}/catalog.db", clock)
store.open()
settings = KernelSettings(cpus=4.0, memory_bytes=8 * 2**30)
kernel = Kernel(store, LocalExecutor(home, idle_s=60.0, modules=()), settings, home, clock,
                settle=lambda tx, record, result: result, token_for=lambda run: "", socket="")
kernel.start()
print("started", flush=True)
threading.Event().wait()
"""


def test_a_kernel_killed_anywhere_ends_each_run_exactly_once(tmp_path: Path) -> None:
    """Kill ten kernels, half of them while they start, among Runs of 150 ms; the last one sees the end."""
    rng = random.Random(7)
    counts = {"begun": str(tmp_path / "begun"), "completed": str(tmp_path / "completed")}
    machine = Machine(tmp_path)
    runs = [machine.submit("mark_and_wait", counts | {"seconds": 0.15}).id for _ in range(60)]
    machine.kernel.stop(leave=True)
    machine.store.close()
    for number in range(10):
        command = [sys.executable, "-c", DRIVER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as kernel:
            assert kernel.stdout is not None
            if number % 2:
                assert kernel.stdout.readline() == b"started\n"
            threading.Event().wait(rng.uniform(0.0, 0.2 if number % 2 else 0.6))
            kernel.kill()
    remained = len(runs) - lines(tmp_path / "completed")

    machine = Machine(tmp_path)
    ended = [machine.kernel.wait(run, WAIT_S) for run in runs]
    done = machine.events("run.done")
    machine.close()

    completed = Counter(line.split()[0] for line in (tmp_path / "completed").read_text().splitlines())
    assert remained > 0, "every Run had ended before the last kernel began: the kills met none"
    assert [record.state for record in ended] == ["done"] * len(runs)
    assert sorted(event.subject for event in done) == sorted(f"run:{run}" for run in runs)
    assert completed == Counter({str(run): 1 for run in runs})
    assert tree.marked(f"KERNOS_WARM_OF={tmp_path}") == set()
