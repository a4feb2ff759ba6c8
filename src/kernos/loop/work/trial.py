"""One trial: fit with these parameters on the fitting rows, score on the validation rows. The held-out rows stay unseen."""

from __future__ import annotations

from typing import Any

from kernos.base.errors import InvalidError
from kernos.kernel.run import Task
from kernos.loop.context import ReplayContext, TrialContext, flow_arguments, model_table, replay
from kernos.loop.evidence import score
from kernos.loop.room import Room
from kernos.spec.context import running


def run(task: Task) -> dict[str, Any]:
    room = Room(task)
    app = room.app()
    flow = app.function(room.payload["flow"])
    tuned, arguments = room.payload["params"], room.payload["arguments"]
    fitting = TrialContext(room, tuned, flow)
    with running(fitting):
        flow(**flow_arguments(flow, arguments, tuned))
    if fitting.model is None or fitting.model.estimator is None:
        raise InvalidError(
            "No step that takes a tuned parameter returned a Model with an estimator, so trials cannot be scored.",
            hint=f"Give the step that fits the Model the parameters {', '.join(tuned)}.",
        )
    validation = ReplayContext(room, "validation", fitting.model_step, tuned)
    reached = replay(flow, validation, running, arguments)
    columns = list(fitting.model.example.columns)
    rows = model_table(reached, columns, app.target, fitting.model_step)
    metric = room.payload["metric"]
    return {
        "score": score(fitting.model.estimator, rows, columns, app.target, metric),
        "metric": metric,
        "rows": rows.height,
    }
