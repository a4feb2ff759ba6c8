from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize("verb", ["read", "call", "trial", "wait", "sign"])
def test_a_worker_asks_for_its_own_run(world: Any, system: Any, http: Any, verb: str) -> None:
    run = world.run(state="running")

    answer = http.post(f"/v1/child/{run.id}/{verb}", json={"source": "x"}, headers=world.run_header(run.id))

    assert (answer.status_code, answer.json()["state"]) == (200, "queued")
    assert system.loop.calls == [("child", run.id, verb, {"source": "x"})]


def test_a_worker_asks_for_no_other_run(world: Any, system: Any, http: Any) -> None:
    run, other = world.run(state="running"), world.run(state="running")

    answer = http.post(f"/v1/child/{other.id}/read", json={}, headers=world.run_header(run.id))

    assert answer.status_code == 403
    assert system.loop.calls == []


def test_an_unknown_verb_and_an_ended_run_are_refused(world: Any, http: Any) -> None:
    run = world.run(state="running")
    headers = world.run_header(run.id)

    assert http.post(f"/v1/child/{run.id}/erase", json={}, headers=headers).status_code == 400
    world.end(run.id, "done")
    assert http.post(f"/v1/child/{run.id}/read", json={}, headers=headers).status_code == 401
