from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kernos.base.clock import ManualClock
from kernos.catalog.store import SqlStore


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "catalog.db"


@pytest.fixture
def store(database: Path, clock: ManualClock) -> Iterator[SqlStore]:
    store = SqlStore(f"sqlite:///{database}?timeout=0.05", clock)
    store.open()
    yield store
    store.close()
