"""Load an App's module and tell the kernel what it declares."""

from __future__ import annotations

from typing import Any

import msgspec

from kernos.base.ids import Digest
from kernos.kernel.run import Task
from kernos.loop.room import Room, code_folder
from kernos.spec.load import load


def run(task: Task) -> dict[str, Any]:
    room = Room(task)
    app = load(code_folder(room.home, Digest(room.payload["code"])), room.payload["main"])
    return {"manifest": msgspec.to_builtins(app.manifest())}
