from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kernos.api.context import Api
from kernos.api.feed import Feed
from kernos.api.history import History
from kernos.api.journal import _frames
from kernos.catalog.audit import sign_head
from kernos.client.http import read_events


def test_events_page_forward_from_a_number(world: Any, admin: Any) -> None:
    for _ in range(3):
        world.run()

    first = admin.get("/v1/events?after=-1&limit=2").json()
    rest = admin.get(f"/v1/events?after={first['next_after']}").json()

    assert [event["seq"] for event in first["events"]] == [0, 1]
    assert [event["seq"] for event in rest["events"]] == [2, 3]
    assert admin.get("/v1/events?after=3").json() == {"events": [], "next_after": 3}


def test_without_a_number_the_newest_come(world: Any, admin: Any) -> None:
    for _ in range(3):
        world.run()

    assert [event["seq"] for event in admin.get("/v1/events?limit=2").json()["events"]] == [2, 3]
    assert [event["seq"] for event in admin.get("/v1/events?subject=run:2").json()["events"]] == [2]


def test_the_audit_verifies_now(world: Any, system: Any, admin: Any) -> None:
    world.run()
    sign_head(system.store, system.signer.sign, system.signer.key_id)

    view = admin.get("/v1/audit").json()

    assert view["ok"], view["problems"]
    assert view["size"] == view["signed_size"] == 2
    assert view["key_id"] == system.signer.key_id


def test_the_audit_does_not_take_a_foreign_signature(world: Any, system: Any, admin: Any) -> None:
    world.run()
    sign_head(system.store, lambda data: b"\0" * 64, system.signer.key_id)

    view = admin.get("/v1/audit").json()

    assert not view["ok"]
    assert view["signed_size"] == 0


@pytest.fixture
def api(system: Any) -> Api:
    return Api(system, Feed(system.store), History(), 0.0, None)  # type: ignore[arg-type]  # no child asks here


async def _take(api: Api, after: int, count: int, then: Any = None) -> list[Any]:
    """`count` Events of the stream; `then` is called once the first frame has come."""
    api.feed.start()
    lines: list[bytes] = []
    found: list[Any] = []
    stream = _frames(api, after)
    try:
        async for frame in stream:
            if then is not None:
                then()
                then = None
            lines += frame.splitlines(keepends=True)
            found = list(read_events(iter(lines)))
            if len(found) >= count:
                break
    finally:
        await stream.aclose()  # type: ignore[attr-defined]  # an async generator has it
        await api.feed.close()
    return found


def test_the_stream_goes_on_where_it_broke_off(world: Any, api: Api) -> None:
    import asyncio

    for _ in range(4):
        world.run()

    found = asyncio.run(_take(api, 1, 2))

    assert [event.id for event in found] == ["2", "3"]
    assert [msgspec.json.decode(event.data)["seq"] for event in found] == [2, 3]
    assert {event.kind for event in found} == {"run.queued"}


def test_the_stream_brings_what_happens_now(world: Any, api: Api) -> None:
    import asyncio

    world.run()

    found = asyncio.run(_take(api, 0, 1, world.run))

    assert [event.id for event in found] == ["1"]


def test_the_stream_refuses_an_id_that_is_none(admin: Any) -> None:
    answer = admin.get("/v1/events/stream", headers={"Last-Event-ID": "x; drop"})

    assert answer.status_code == 400
