"""A file becomes a dataset version, checked against the App's contract; or a version grows by rows that came back from service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from kernos.base.ids import Digest
from kernos.data.dataset import append, load, scan
from kernos.data.ingest import ingest
from kernos.kernel.run import Task
from kernos.loop.datasets import described
from kernos.loop.room import Room
from kernos.spec.manifest import Column


def run(task: Task) -> dict[str, Any]:
    room = Room(task)
    contract = msgspec.convert(room.payload["contract"], list[Column])
    return described(ingest(Path(room.payload["source"]), contract, room.blobs, room.folder), room.blobs)


def grow(task: Task) -> dict[str, Any]:
    """Append the labelled rows that came back from service since the last time to the newest version."""
    room = Room(task)
    contract = msgspec.convert(room.payload["contract"], list[Column])
    base = load(Digest(room.payload["base"]), room.blobs)
    labelled = scan(load(Digest(room.payload["labelled"]), room.blobs), room.blobs)
    rows = labelled.slice(room.payload["from_row"]).select(list(base.columns)).collect()
    return described(append(base, rows, contract, room.blobs, room.folder), room.blobs)
