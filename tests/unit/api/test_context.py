from __future__ import annotations

import asyncio
import threading

import pytest

from kernos.api.context import offload


def test_offloaded_work_runs_beside_the_loop_and_raises_in_it() -> None:
    async def act() -> str:
        with pytest.raises(ZeroDivisionError):
            await offload(lambda: 1 // 0)
        return await offload(lambda: threading.current_thread().name)

    assert asyncio.run(act()) != threading.current_thread().name
