"""Every executor passes the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kernos.kernel.executor import Executor
from kernos.kernel.local import LocalExecutor
from kernos.testing.executor_contract import ExecutorContract


class TestLocalExecutor(ExecutorContract):
    @pytest.fixture
    def executor(self, tmp_path: Path) -> Iterator[Executor]:
        executor = LocalExecutor(tmp_path, idle_s=60.0, modules=())
        yield executor
        executor.close(leave=False)
