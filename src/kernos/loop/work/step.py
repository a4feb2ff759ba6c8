"""Run one step in a process of its own; store what it returns. A Model is stored as ONNX, after a replay shows the two agree."""

from __future__ import annotations

from typing import Any

import msgspec

from kernos.base.digests import of_bytes
from kernos.kernel.run import Task
from kernos.loop.context import model_table
from kernos.loop.room import Room
from kernos.loop.values import Value, decode, encode
from kernos.spec.model import Model


def run(task: Task) -> dict[str, Any]:
    room = Room(task)
    name = room.payload["step"]
    app = room.app()
    values = msgspec.convert(room.payload["arguments"], dict[str, Value])
    arguments = {key: decode(value, room.blobs) for key, value in values.items()}
    result = app.function(name)(**arguments)
    if isinstance(result, Model):
        return _store_model(room, result, arguments, app.target, name)
    return {"value": msgspec.to_builtins(encode(result, room.blobs, f"What {name} returns"))}


def _store_model(
    room: Room, model: Model, arguments: dict[str, Any], target: str, step: str
) -> dict[str, Any]:
    from kernos.runtime.convert import from_onnx, replay, to_onnx

    onnx = model.onnx
    converted = to_onnx(model.estimator, model.example) if onnx is None else from_onnx(onnx, model.example)
    table = model_table(arguments, converted.signature.columns, target, step)
    meta: dict[str, Any] = {
        "signature": msgspec.to_builtins(converted.signature),
        "estimator": type(model.estimator).__name__ if onnx is None else "ONNX",
        "training_rows": table.height,
        "size_bytes": len(converted.onnx),
    }
    if onnx is None:
        rows = table.select(converted.signature.columns).head(1000)
        meta["parity"] = msgspec.to_builtins(
            replay(model.estimator, converted.onnx, converted.signature, rows)
        )
    digest = room.blobs.put(converted.onnx)
    assert digest == of_bytes(converted.onnx)
    return {
        "value": msgspec.to_builtins(Value("model", digest)),
        "table": msgspec.to_builtins(encode(table, room.blobs, f"{step}'s table")),
        "model": meta,
    }
