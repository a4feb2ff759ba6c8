"""Replay the steps above the Model on the held-out rows: what comes out is the table the gate judges on."""

from __future__ import annotations

from typing import Any

import msgspec

from kernos.base.errors import RefusedError
from kernos.kernel.run import Task
from kernos.loop.context import ReplayContext, model_table, replay
from kernos.loop.room import Room
from kernos.loop.values import encode
from kernos.spec.context import running


def run(task: Task) -> dict[str, Any]:
    room = Room(task)
    app = room.app()
    context = ReplayContext(room, "held_out", room.payload["model_step"], room.payload["tuned"])
    flow = app.function(room.payload["flow"])
    arguments = replay(flow, context, running, room.payload["arguments"])
    table = model_table(arguments, room.payload["columns"], app.target, room.payload["model_step"])
    missing = [column for column in app.sensitive if column not in table.columns]
    if missing:
        raise RefusedError(
            f"The sensitive column {missing[0]!r} does not reach step {room.payload['model_step']!r}, so no gate can look at it.",
            hint="Keep sensitive columns in the table and drop them inside the step that fits the Model.",
        )
    return {
        "table": msgspec.to_builtins(encode(table, room.blobs, "the held-out table")),
        "rows_read": context.rows_read,
        "rows_kept": table.height,
    }
