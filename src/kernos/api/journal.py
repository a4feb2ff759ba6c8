"""Events over HTTP: a page, a stream that goes on where it broke off, and the proof that none was changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import Request, get
from litestar.params import FromQuery, QueryParameter
from litestar.response import Stream

from kernos.api.context import Api, TheApi, offload
from kernos.api.present.runs import event_view, newest_events
from kernos.api.views import AuditView, EventPage, EventView
from kernos.base.errors import InvalidError
from kernos.catalog.audit import verify
from kernos.catalog.records import EventRecord
from kernos.security.keys import VerifyKey

PAGE_LIMIT = 1000
HEARTBEAT_S = 15.0
"""A comment at least this often, so that both ends and all proxies between know the stream lives."""


@get("/v1/events", opt={"action": "audit:read"}, sync_to_thread=True)
def list_events(
    api: TheApi,
    after: Annotated[int | None, QueryParameter(ge=-1)] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=PAGE_LIMIT)] = 100,
    subject: FromQuery[str] = "",
) -> EventPage:
    """Oldest first: those after `after`, or without it the newest `limit`. Ask again with `next_after`."""
    with api.system.store.read() as reader:
        if after is None:
            return _event_page(newest_events(reader, limit, subject), -1)
        return _event_page(reader.events(after, limit, subject=subject), after)


@get("/v1/events/stream", opt={"action": "audit:read"})
async def stream_events(
    api: TheApi,
    request: Request[Any, Any, Any],
    after: Annotated[int | None, QueryParameter(ge=-1)] = None,
) -> Stream:
    """Server-sent events: `id` is the Event's seq, `data` an EventView. `Last-Event-ID` beats `after`."""
    start = _last_id(request.headers.get("last-event-id", ""))
    if start is None:
        start = after if after is not None else await offload(api.system.store.wait, -1, 0.0)
    return Stream(
        _frames(api, start),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@get("/v1/audit", opt={"action": "audit:read"}, sync_to_thread=True)
def audit(api: TheApi) -> AuditView:
    """Read the whole journal and the whole state now, and compare them with the signed tree head."""
    report = verify(api.system.store, partial(_is_signed, api.system.signer.verify_key))
    return AuditView(report.ok, report.size, report.root, report.problems, report.signed_size, report.key_id)


def _event_page(events: list[EventRecord], after: int) -> EventPage:
    return EventPage([event_view(event) for event in events], events[-1].seq if events else after)


async def _frames(api: Api, after: int) -> AsyncIterator[bytes]:
    """Until the reader goes away or the kernel ends. One page in memory at a time, however far behind."""
    with api.feed.watch() as watch:
        yield b": kernos\n\n"
        while not api.feed.closed:
            events = await offload(_page, api, after)
            for event in events:
                yield frame(event)
                after = event.seq
            if not events and not await watch.next(HEARTBEAT_S):
                yield b": still here\n\n"


def frame(event: EventView) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (
        event.seq,
        event.kind.encode(),
        msgspec.json.encode(event),
    )


def _is_signed(key: VerifyKey, data: bytes, signature: str, key_id: str) -> bool:
    """Whether this kernel's own key signed the head."""
    try:
        return key_id == key.key_id and key.verify(data, bytes.fromhex(signature))
    except ValueError:
        return False


def _page(api: Api, after: int) -> list[EventView]:
    with api.system.store.read() as reader:
        return [event_view(event) for event in reader.events(after, 200)]


def _last_id(text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal():
        raise InvalidError(
            f"Last-Event-ID {text[:40]!r} is no Event's number.", hint="Send the last `id` you got."
        )
    return int(text)


ROUTES: list[Any] = [list_events, stream_events, audit]
