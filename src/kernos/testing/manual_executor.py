"""An Executor without processes: attempts end when the test says so, with the result the test gives."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kernos.base.ids import RunId
from kernos.kernel.folder import Result, write_result, write_task
from kernos.kernel.run import Exit, Limits, Task, Usage


class ManualExecutor:
    """Keeps what it was asked for. `started` and `killed` only grow; a killed attempt is still to be ended."""

    def __init__(self, living: dict[RunId, int] | None = None) -> None:
        self.started: list[Task] = []
        self.limits: list[Limits] = []
        self.killed: list[RunId] = []
        self.is_closed = False
        self._living = dict(living or {})
        self._exits: list[Exit] = []
        self._wake: Callable[[], None] = lambda: None
        self._changed = threading.Condition()

    def attach(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def start(self, task: Task, limits: Limits) -> None:
        write_task(task)
        with self._changed:
            self.started.append(task)
            self.limits.append(limits)
            self._living[task.run] = task.attempt
            self._changed.notify_all()

    def kill(self, run: RunId) -> None:
        with self._changed:
            self.killed.append(run)
            self._changed.notify_all()

    def exits(self) -> list[Exit]:
        with self._changed:
            exits, self._exits = self._exits, []
            return exits

    def living(self) -> dict[RunId, int]:
        return dict(self._living)

    def usage(self) -> dict[RunId, Usage]:
        return {run: Usage(0.5, 1000) for run in self._living}

    def close(self, *, leave: bool) -> None:
        self.is_closed = True

    def wait_for(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Until the kernel has asked for what the condition wants; AssertionError when the time is up."""
        with self._changed:
            assert self._changed.wait_for(condition, timeout_s), "the kernel did not ask for it in time"

    def end(self, task: Task, exit_: Exit | None = None, *, ok: dict[str, Any] | None = None) -> None:
        """End this attempt; with a result where `ok` is given."""
        if ok is not None:
            write_result(Path(task.folder), Result(task.attempt, ok=ok))
        with self._changed:
            del self._living[task.run]
            self._exits.append(exit_ or Exit(task.run, task.attempt, code=0, cpu_s=1.5))
        self._wake()
