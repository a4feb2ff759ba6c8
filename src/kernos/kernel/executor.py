"""Where Runs run: a seam. `kernos.testing.executor_contract` holds what every implementation must do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from kernos.base.ids import RunId
from kernos.kernel.run import Exit, Limits, Task, Usage


class Executor(Protocol):
    """Runs attempts of Runs in processes of their own, which outlive the kernel.

    Thread-safe. Every attempt that was started, here or before a restart, is told of once by `exits`; one
    that nobody saw end has the reason `lost`, and then nothing of it is alive. An attempt never runs twice.
    """

    def attach(self, wake: Callable[[], None]) -> None:
        """Before anything else, once: find what an earlier kernel left running. `wake` is called, from any
        thread, when `exits` has news; it must return at once."""
        ...

    def start(self, task: Task, limits: Limits) -> None:
        """Begin an attempt; returns before it runs. The task's folder is made; results of earlier attempts
        go."""
        ...

    def kill(self, run: RunId) -> None:
        """End the Run's processes, all of them, at once. Nothing happens where it does not live."""
        ...

    def exits(self) -> list[Exit]:
        """What has ended since the last call."""
        ...

    def living(self) -> dict[RunId, int]:
        """Runs that live or are about to, with the attempt."""
        ...

    def usage(self) -> dict[RunId, Usage]:
        """What the living use, as far as it is known."""
        ...

    def close(self, *, leave: bool) -> None:
        """Let go. `leave`: the Runs live on, for a kernel that attaches later; else they are killed."""
        ...
