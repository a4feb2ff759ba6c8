from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import msgspec
import pytest

from kernos.api.guard import cookie_name
from kernos.base.clock import ManualClock
from kernos.console import stream
from kernos.console.frame import Console
from kernos.console.render import Renderer
from kernos.security.access import Caller
from kernos.security.sessions import Sessions


def decode(message: bytes) -> dict[str, Any]:
    lines = message.decode().split("\n")
    assert message.endswith(b"\n\n")
    decoded = msgspec.json.decode(lines[1].removeprefix("data: "))
    assert lines[0] == f"id: {decoded['seq']}"
    return dict(decoded)


@pytest.fixture
def messages(source: Any, sessions: Sessions, clock: ManualClock) -> Callable[[int], Any]:
    session = sessions.redeem(
        sessions.issue_code(Caller("ada", "admin"), clock.monotonic_s()), clock.monotonic_s()
    )
    request: Any = SimpleNamespace(url=SimpleNamespace(port=7070), cookies={})
    request.cookies[cookie_name(request)] = session
    console = Console(lambda request: source, sessions, clock, Renderer(clock))
    return lambda after: stream._messages(console, request, after)


def test_the_first_message_comes_at_once_and_the_second_tells_what_was_missed(
    messages: Callable[[int], Any], source: Any
) -> None:
    async def read() -> list[dict[str, Any]]:
        stream_of = messages(source.newest() - 2)
        found = [decode(await anext(stream_of)), decode(await anext(stream_of))]
        await stream_of.aclose()
        return found

    first, second = asyncio.run(read())

    assert first == {"seq": source.newest() - 2, "topics": []}
    assert second["seq"] == source.newest()
    assert {"home", "service:diabetes"} <= set(second["topics"])


def test_a_change_wakes_it(messages: Callable[[int], Any], source: Any, sample: ModuleType) -> None:
    async def read() -> dict[str, Any]:
        stream_of = messages(source.newest())
        await anext(stream_of)
        waiting = asyncio.ensure_future(anext(stream_of))
        source.change(sample.run_view(31, "step", "new", "running"))
        found = decode(await asyncio.wait_for(waiting, 10))
        await stream_of.aclose()
        return found

    assert "run:31" in asyncio.run(read())["topics"]


def test_it_ticks_while_nothing_happens(
    messages: Callable[[int], Any], source: Any, clock: ManualClock
) -> None:
    async def read() -> dict[str, Any]:
        stream_of = messages(source.newest())
        await anext(stream_of)
        clock.advance(2.0)
        found = decode(await asyncio.wait_for(anext(stream_of), 10))
        await stream_of.aclose()
        return found

    assert asyncio.run(read())["topics"] == ["tick"]


@pytest.mark.parametrize("ending", ["closed", "session", "life"])
def test_it_ends_with_the_kernel_the_session_or_its_life(
    messages: Callable[[int], Any], source: Any, clock: ManualClock, ending: str
) -> None:
    async def read() -> list[bytes]:
        stream_of = messages(source.newest())
        await anext(stream_of)
        source.is_closed = ending == "closed"
        clock.advance({"closed": 0, "session": 13 * 3600, "life": 700}[ending])
        return [message async for message in stream_of]

    assert asyncio.run(asyncio.wait_for(read(), 10)) == []


def test_it_needs_a_session(anonymous: Any) -> None:
    assert anonymous.get("/console/stream").status_code == 401
