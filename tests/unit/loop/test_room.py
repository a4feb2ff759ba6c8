"""A worker's surroundings: it asks for itself, waits for what it asked, and hears errors as errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kernos.base.errors import FailedError, KernosError, RefusedError, to_problem
from kernos.base.ids import Digest
from kernos.loop.room import Room, code_folder

if TYPE_CHECKING:
    from tests.unit.loop.conftest import Workshop

Make = Callable[[Callable[[str, dict[str, Any]], dict[str, Any]]], "Workshop"]


def test_it_asks_with_its_own_number(make_workshop: Make) -> None:
    workshop = make_workshop(lambda verb, body: {"verb": verb, **body})
    room = Room(workshop.task({"a": 1}, run=31))

    assert room.ask("read", {"source": "x"}) == {"verb": "read", "source": "x"}
    assert (room.payload, room.folder) == ({"a": 1}, workshop.home / "runs" / "31")
    assert workshop.asked == [("read", {"source": "x"})]


def test_an_outcome_is_waited_for(make_workshop: Make) -> None:
    states = iter(["queued", "running", "done"])
    workshop = make_workshop(
        lambda verb, body: {"run": 9, "state": next(states), "reason": "", "result": {"x": 1}}
    )
    room = Room(workshop.task({}))

    assert room.outcome(room.ask("call", {})) == {"x": 1}
    assert [verb for verb, _ in workshop.asked] == ["call", "wait", "wait"]
    assert workshop.asked[1][1]["run"] == 9


@pytest.mark.parametrize(
    ("result", "kind", "says"),
    [
        ({"error": to_problem(RefusedError("no", hint="so"))}, RefusedError, "no"),
        ({}, FailedError, "it was killed"),
    ],
)
def test_a_child_that_failed_fails_its_parent_with_its_error(
    make_workshop: Make, result: dict[str, Any], kind: type[KernosError], says: str
) -> None:
    answer = {"run": 9, "state": "failed", "reason": "it was killed", "result": result}
    room = Room(make_workshop(lambda verb, body: answer).task({}))

    with pytest.raises(kind, match=says):
        room.outcome(answer)


def test_what_the_kernel_refuses_is_raised(make_workshop: Make) -> None:
    def refuse(verb: str, body: dict[str, Any]) -> dict[str, Any]:
        raise RefusedError("not you", hint="ask somebody")

    with pytest.raises(RefusedError, match="not you") as caught:
        Room(make_workshop(refuse).task({})).ask("sign", {})
    assert caught.value.hint == "ask somebody"


def test_it_loads_the_app_from_its_stored_sources(make_workshop: Make) -> None:
    workshop = make_workshop(lambda verb, body: {})
    payload = workshop.source('from kernos import App\napp = App("a", target="y")\n')

    assert Room(workshop.task(payload)).app().name == "a"


def test_code_lies_under_its_digest() -> None:
    digest = Digest("sha256:" + "ab" * 32)

    assert code_folder(Path("/h"), digest) == Path("/h/apps") / ("ab" * 12)
