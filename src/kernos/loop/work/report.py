"""Questions that need the rows: the difference of two dataset versions, one logged prediction."""

from __future__ import annotations

from typing import Any

import msgspec
import polars as pl

from kernos.base.errors import NotFoundError
from kernos.base.ids import Digest
from kernos.data.dataset import load, scan
from kernos.data.diff import diff as diff_versions
from kernos.kernel.run import Task
from kernos.loop.room import Room


def diff(task: Task) -> dict[str, Any]:
    room = Room(task)
    before, after = (load(Digest(room.payload[side]), room.blobs) for side in ("a", "b"))
    answer: dict[str, Any] = msgspec.to_builtins(diff_versions(before, after, room.blobs))
    return answer


def prediction(task: Task) -> dict[str, Any]:
    room = Room(task)
    wanted = room.payload["id"]
    wanted = wanted if ":" in wanted else f"{wanted}:0"
    for digest in room.payload["logs"]:
        found = (
            scan(load(Digest(digest), room.blobs), room.blobs)
            .filter(pl.col("prediction_id") == wanted)
            .collect()
        )
        if found.height:
            return {"prediction": found.row(0, named=True)}
    raise NotFoundError(
        f"No prediction {room.payload['id']!r} is in the log.",
        hint="The log takes a prediction in within a few seconds; ask again, or check the id.",
    )
