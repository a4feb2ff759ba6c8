"""Load an App's module and tell the kernel what it declares."""

from __future__ import annotations

from typing import Any

import msgspec

from kernos.kernel.run import Task
from kernos.loop.room import Room


def run(task: Task) -> dict[str, Any]:
    return {"manifest": msgspec.to_builtins(Room(task).app().manifest())}
