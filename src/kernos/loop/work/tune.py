"""Search the parameters of a flow. No user code is here: trials are Runs, asked for by index and told by score.

A search that is started again asks for the same trials under the same keys, so what has finished is not run twice.
"""

from __future__ import annotations

from typing import Any

from kernos.kernel.run import Task
from kernos.loop.room import CALL_WAIT_S, Room
from kernos.train.search import Asked, Outcome, search


def run(task: Task) -> dict[str, Any]:
    room = Room(task)
    payload = room.payload

    def run_trials(batch: list[Asked]) -> dict[int, Outcome]:
        asked = {index: room.ask("trial", {"index": index, "params": params}) for index, params in batch}
        return {index: _outcome(room, answer) for index, answer in asked.items()}

    return search(
        payload["space"],
        payload["choices"],
        trials=payload["trials"],
        parallel=payload["parallel"],
        seed=payload["seed"],
        run_trials=run_trials,
    )


def _outcome(room: Room, answer: dict[str, Any]) -> Outcome:
    """The trial's score, or why there is none."""
    while answer["state"] in {"queued", "running"}:
        answer = room.ask("wait", {"run": answer["run"], "timeout_s": CALL_WAIT_S})
    if answer["state"] in {"done", "cached"}:
        return float(answer["result"]["score"])
    return str(answer["reason"])
