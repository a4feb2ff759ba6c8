"""Run a flow on the training rows: its steps become Runs, its result must be a Model."""

from __future__ import annotations

from typing import Any

from kernos.base.errors import InvalidError
from kernos.kernel.run import Task
from kernos.loop.context import FlowContext, flow_arguments
from kernos.loop.room import Room
from kernos.loop.values import StoredModel
from kernos.spec.context import running


def run(task: Task) -> dict[str, Any]:
    room = Room(task)
    app = room.app()
    flow, tuned = app.function(room.payload["flow"]), room.payload["tuned"]
    context = FlowContext(room, tuned)
    with running(context):
        model = flow(**flow_arguments(flow, room.payload["arguments"], tuned))
    if (
        not isinstance(model, StoredModel)
        or not context.model
        or model.digest != context.model["value"]["digest"]
    ):
        raise InvalidError(
            f"Flow {room.payload['flow']!r} returned a {type(model).__name__}, not the Model of its last model step.",
            hint="Return what the step that fits the Model returns.",
        )
    if not context.reader.refs:
        raise InvalidError(
            f"Flow {room.payload['flow']!r} reads nothing through app.read, so no row is held out to judge its Model on.",
            hint=f"Read the data with {app.name}'s app.read(…) and hand it to the steps.",
        )
    return {"reads": context.reader.refs, **context.model}
