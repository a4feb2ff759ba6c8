"""What every Executor does. A subclass gives the fixture `executor`, not yet attached."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from kernos.base.ids import RunId
from kernos.kernel.executor import Executor
from kernos.kernel.folder import folder_of, read_exit, read_result
from kernos.kernel.run import Exit, Limits, Task

LIMITS = Limits(cpus=1.0, memory_bytes=2**30, wall_s=60.0, processes=64, log_bytes=2**20)


class Bench:
    """An attached executor, and a way to wait for its exits."""

    def __init__(self, executor: Executor, home: Path) -> None:
        self.executor = executor
        self.home = home
        self._news = threading.Event()
        executor.attach(self._news.set)

    def start(
        self,
        run: int,
        step: str,
        payload: dict[str, Any] | None = None,
        *,
        attempt: int = 1,
        limits: Limits = LIMITS,
    ) -> Task:
        folder = folder_of(self.home, RunId(run))
        entry = step if ":" in step else f"kernos.testing.misdeeds:{step}"
        task = Task(RunId(run), entry, payload or {}, str(self.home), str(folder), "", "", attempt)
        self.executor.start(task, limits)
        return task

    def exits(self, count: int = 1, timeout_s: float = 30.0) -> list[Exit]:
        """The next exits, at least this many."""
        found = self.executor.exits()
        while len(found) < count:
            assert self._news.wait(timeout_s), f"{count} exits were expected in time, {found} came"
            self._news.clear()
            found += self.executor.exits()
        return found

    def log(self, run: int) -> str:
        return (folder_of(self.home, RunId(run)) / "log").read_text()


class ExecutorContract:
    @pytest.fixture
    def bench(self, executor: Executor, tmp_path: Path) -> Bench:
        return Bench(executor, tmp_path)

    def test_a_step_gets_its_payload_and_leaves_its_result(self, bench: Bench) -> None:
        task = bench.start(1, "echo", {"a": [1, None]})

        (exit_,) = bench.exits()

        assert (exit_.run, exit_.attempt, exit_.code, exit_.reason) == (1, 1, 0, "")
        result = read_result(Path(task.folder), 1)
        assert result is not None
        assert result.ok == {"payload": {"a": [1, None]}, "attempt": 1}

    def test_what_a_step_prints_is_in_its_log(self, bench: Bench) -> None:
        bench.start(1, "echo")

        (exit_,) = bench.exits()

        assert bench.log(1) == "run 1 attempt 1\n"
        assert exit_.log_bytes == len("run 1 attempt 1\n")

    def test_an_error_of_a_step_is_its_result(self, bench: Bench) -> None:
        task = bench.start(1, "fail")

        (exit_,) = bench.exits()

        result = read_result(Path(task.folder), 1)
        assert exit_.code == 1
        assert result is not None
        assert result.error is not None
        assert result.error["detail"] == "ValueError: this step raises"
        assert result.error["hint"] == "kernos logs 1"
        assert result.error["details"]["traceback"][-1] == "ValueError: this step raises"

    def test_a_refusal_keeps_its_code_and_details(self, bench: Bench) -> None:
        task = bench.start(1, "refuse")

        bench.exits()

        result = read_result(Path(task.folder), 1)
        assert result is not None
        assert result.error is not None
        assert (result.error["code"], result.error["details"]["rows"]) == ("refused", [1, 2])

    def test_an_exit_without_result_says_its_code(self, bench: Bench) -> None:
        task = bench.start(1, "vanish", {"code": 7})

        (exit_,) = bench.exits()

        assert (exit_.code, exit_.signal) == (7, None)
        assert read_result(Path(task.folder), 1) is None

    def test_an_exit_is_on_disk_when_it_is_told(self, bench: Bench) -> None:
        task = bench.start(1, "nothing")

        (exit_,) = bench.exits()

        assert read_exit(Path(task.folder), 1) == exit_

    def test_a_killed_run_ends_and_says_that_it_was_stopped(self, bench: Bench) -> None:
        bench.start(1, "hang")
        bench.executor.kill(RunId(1))

        (exit_,) = bench.exits()

        assert exit_.reason == "stopped"
        assert bench.executor.living() == {}

    def test_killing_what_does_not_live_does_nothing(self, bench: Bench) -> None:
        bench.executor.kill(RunId(9))

        assert bench.executor.exits() == []

    def test_living_runs_are_known_with_their_attempt_and_use(self, bench: Bench) -> None:
        bench.start(1, "hang", attempt=2)

        assert bench.executor.living() == {RunId(1): 2}
        assert set(bench.executor.usage()) <= {RunId(1)}

    def test_a_second_attempt_leaves_nothing_of_the_first_but_the_log(self, bench: Bench) -> None:
        bench.start(1, "echo")
        bench.exits()

        task = bench.start(1, "fail_first", attempt=2)
        (exit_,) = bench.exits()

        result = read_result(Path(task.folder), 2)
        assert exit_.attempt == 2
        assert result is not None
        assert result.ok == {"attempt": 2}
        assert bench.log(1).startswith("run 1 attempt 1\n")

    def test_the_limit_on_time_ends_a_run(self, bench: Bench) -> None:
        limits = Limits(cpus=1.0, memory_bytes=2**30, wall_s=0.1, processes=64, log_bytes=2**20)
        bench.start(1, "hang", limits=limits)

        (exit_,) = bench.exits()

        assert exit_.reason == "time"
        assert exit_.wall_s >= 0.1
