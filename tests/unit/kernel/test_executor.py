"""Both executors fit the seam; the contract itself runs in tests/contract/test_executor.py."""

from __future__ import annotations

from pathlib import Path

from kernos.kernel.executor import Executor
from kernos.kernel.local import LocalExecutor
from kernos.testing.manual_executor import ManualExecutor


def test_the_type_checker_and_this_test_accept_both(tmp_path: Path) -> None:
    executors: list[Executor] = [LocalExecutor(tmp_path, idle_s=1.0), ManualExecutor()]

    for executor in executors:
        executor.attach(lambda: None)
        assert (executor.living(), executor.usage(), executor.exits()) == ({}, {}, [])
        executor.close(leave=False)
