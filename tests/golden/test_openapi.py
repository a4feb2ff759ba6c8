from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import msgspec
from litestar.testing import TestClient

from kernos.api.app import create_app
from kernos.base.clock import ManualClock
from kernos.base.settings import Settings
from kernos.catalog.store import SqlStore


def test_the_schema_of_the_api(golden: Callable[[str, str], None], tmp_path: Path) -> None:
    clock = ManualClock()
    store = SqlStore(f"sqlite:///{tmp_path / 'catalog.db'}", clock)
    store.open()
    loop = SimpleNamespace(status=lambda: None)
    system = SimpleNamespace(settings=Settings(), clock=clock, store=store, loop=loop)

    with TestClient(create_app(system), base_url="http://127.0.0.1") as http:  # type: ignore[arg-type]  # only the schema is asked for
        schema = http.get("/v1/openapi.json").json()
    store.close()

    text = msgspec.json.format(msgspec.json.encode(schema, order="sorted"), indent=1).decode()
    golden("openapi.json", text + "\n")
