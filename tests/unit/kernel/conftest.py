"""A kernel on a real store with an executor that obeys the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kernos.base.clock import SystemClock
from kernos.base.ids import RunId
from kernos.base.settings import KernelSettings
from kernos.catalog.records import RunRecord
from kernos.catalog.store import SqlStore, Transaction
from kernos.kernel.driver import Kernel
from kernos.kernel.run import RunSpec
from kernos.testing.manual_executor import ManualExecutor

SETTINGS = KernelSettings(cpus=2.0, memory_bytes=8 * 2**30, run_memory_bytes=2**30)

Settle = Callable[[Transaction, RunRecord, dict[str, Any]], dict[str, Any]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    store = SqlStore(f"sqlite:///{tmp_path}/catalog.db", SystemClock())
    store.open()
    yield store
    store.close()


@pytest.fixture
def spec() -> Callable[..., RunSpec]:
    def make(name: str = "train", **more: Any) -> RunSpec:
        fields: dict[str, Any] = {"kind": "step", "app": "app", "owner": "ann", "entry": "module:step"}
        return RunSpec(name=name, **(fields | more))

    return make


@pytest.fixture
def make_kernel(store: SqlStore, tmp_path: Path) -> Iterator[Callable[..., Kernel]]:
    kernels: list[Kernel] = []

    def make(executor: ManualExecutor, settle: Settle = lambda tx, record, result: result) -> Kernel:
        kernel = Kernel(
            store,
            executor,
            SETTINGS,
            tmp_path,
            SystemClock(),
            settle=settle,
            token_for=lambda run: f"token {run}",
            socket="kernel.sock",
        )
        kernels.append(kernel)
        return kernel

    yield make
    for kernel in kernels:
        kernel.check()
        kernel.stop(leave=True)


@pytest.fixture
def executor() -> ManualExecutor:
    return ManualExecutor()


@pytest.fixture
def kernel(make_kernel: Callable[..., Kernel], executor: ManualExecutor) -> Kernel:
    kernel = make_kernel(executor)
    kernel.start()
    return kernel


@pytest.fixture
def get(store: SqlStore) -> Callable[[int], RunRecord]:
    def get(run: int) -> RunRecord:
        with store.read() as reader:
            record = reader.get(RunRecord, RunId(run))
        assert record is not None
        return record

    return get
