"""Search the parameters of a flow. This Run holds no user code: it asks for trials, which are Runs, and learns from their scores."""

from __future__ import annotations

from typing import Any

from kernos.kernel.run import Task
from kernos.loop.room import Room
from kernos.train.search import search


def run(task: Task) -> dict[str, Any]:
    room = Room(task)
    payload = room.payload

    def run_trials(batch: list[tuple[int, dict[str, Any]]]) -> dict[int, float | str]:
        asked = {index: room.ask("trial", {"index": index, "params": params}) for index, params in batch}
        return {index: _score(room, answer) for index, answer in asked.items()}

    return search(
        payload["space"],
        payload["choices"],
        trials=payload["trials"],
        parallel=payload["parallel"],
        seed=payload["seed"],
        run_trials=run_trials,
    )


def _score(room: Room, answer: dict[str, Any]) -> float | str:
    """The trial's score, or why there is none."""
    while answer["state"] in {"queued", "running"}:
        answer = room.ask("wait", {"run": answer["run"], "timeout_s": 20.0})
    if answer["state"] in {"done", "cached"}:
        return float(answer["result"]["score"])
    return str(answer["reason"])
