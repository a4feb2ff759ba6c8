"""The console's stream: it says which topics changed and nothing else, so it holds no data that a page would not show.

Server-sent events as in the HTML standard, section 9.2. The `id` of each message is the newest Event's seq.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery
from litestar.response import Stream

from kernos.api.context import offload
from kernos.api.views import RefreshView
from kernos.console.frame import HEADERS, AnyRequest, Console
from kernos.console.topics import TICK, topics_of

_TICK_S = 2.0
_GATHER_S = 0.25
"""What happens within this of a change goes out with it: a burst of Events is one message."""
_LIFE_S = 600.0
"""A stream ends after this and the browser opens the next, so what a lost client leaves behind is bounded."""
_EVENTS_AT_ONCE = 500


def stream_routes(console: Console) -> list[HTTPRouteHandler]:
    @get("/console/stream", opt={"action": "system:read"})
    async def stream(request: AnyRequest, after: FromQuery[int] = -1) -> Stream:
        last = request.headers.get("Last-Event-ID", "")
        start = int(last) if last.isdecimal() else after
        headers = {**HEADERS, "X-Accel-Buffering": "no"}
        return Stream(_messages(console, request, start), media_type="text/event-stream", headers=headers)

    return [stream]


async def _messages(console: Console, request: AnyRequest, seen: int) -> AsyncIterator[bytes]:
    """Until the session, the kernel or the stream's life ends. The first message proves that it is open."""
    source, now_s = console.source(request), console.clock.monotonic_s
    end_s, tick_s = now_s() + _LIFE_S, now_s() + _TICK_S
    with source.watch() as watch:
        yield _message(seen, [])
        while not source.closed() and now_s() < end_s and console.visitor(request):
            page = await offload(source.events, seen, _EVENTS_AT_ONCE, "")
            seen = page.events[-1].seq if page.events else seen
            topics = topics_of(page.events)
            if now_s() >= tick_s:
                topics.append(TICK)
                tick_s = now_s() + _TICK_S
            if topics:
                yield _message(seen, topics)
            if await watch.next(max(0.0, tick_s - now_s())):
                await asyncio.sleep(_GATHER_S)


def _message(seq: int, topics: list[str]) -> bytes:
    return b"id: %d\ndata: %s\n\n" % (seq, msgspec.json.encode(RefreshView(seq, topics)))
