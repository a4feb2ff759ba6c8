from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kernos.base.clock import SystemClock
from kernos.catalog.store import SqlStore
from kernos.testing.contracts import StoreContract


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[SqlStore]:
        store = SqlStore(f"sqlite:///{tmp_path}/catalog.db", SystemClock())
        store.open()
        yield store
        store.close()
