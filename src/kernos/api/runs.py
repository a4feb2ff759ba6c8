"""Runs over HTTP: the process table, one Run, why it is as it is, its log, and what may be done to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta

from kernos.api.context import Api, TheApi, TheCaller, offload
from kernos.api.present.runs import event_view, newest_events, run_views
from kernos.api.views import LogView, RunPage, RunView, WhyView
from kernos.base.errors import NotFoundError
from kernos.base.ids import RunId
from kernos.catalog.records import ENDED, RunClass, RunKind, RunRecord, RunState

PAGE_LIMIT = 500
LOG_LIMIT_BYTES = 1 << 20
WAIT_LIMIT_S = 120.0
WHY_EVENTS = 20


class Nice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An empty class and no weight leave the Run's own."""

    klass: RunClass | None = msgspec.field(name="class", default=None)
    weight: Annotated[float, Meta(gt=0, le=1000)] | None = None


@get("/v1/runs", opt={"action": "runs:read"}, sync_to_thread=True)
def list_runs(
    api: TheApi,
    states: Annotated[list[RunState] | None, QueryParameter(name="state")] = None,
    kind: FromQuery[list[RunKind] | None] = None,
    app: FromQuery[str] = "",
    parent: Annotated[int | None, QueryParameter(ge=1)] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=PAGE_LIMIT)] = 100,
    below: Annotated[int | None, QueryParameter(ge=1)] = None,
) -> RunPage:
    """The newest Runs first. Every filter narrows; a repeated `state` or `kind` means any of them."""
    given = {"state": states, "kind": kind, "app": app, "parent": parent}
    where = {column: value for column, value in given.items() if value not in (None, "", [])}
    with api.system.store.read() as reader:
        runs = reader.list(
            RunRecord,
            where=where,
            order_by="id",
            descending=True,
            limit=limit + 1,
            below=("id", below) if below is not None else None,
        )
        page = runs[:limit]
        views = run_views(reader, page, api.system.kernel.usage(), api.system.clock.wall_ms())
    return RunPage(views, page[-1].id if len(runs) > limit else None)


@get("/v1/runs/{run:int}", opt={"action": "runs:read"}, sync_to_thread=True)
def get_run(api: TheApi, run: FromPath[int]) -> RunView:
    return view_run(api, RunId(run))


@get("/v1/runs/{run:int}/why", opt={"action": "runs:read"}, sync_to_thread=True)
def why_run(api: TheApi, run: FromPath[int]) -> WhyView:
    """The causes of its state, nearest first, with the Events that tell of them."""
    view = view_run(api, RunId(run))
    why = api.system.kernel.why(RunId(run))
    with api.system.store.read() as reader:
        events = [event_view(event) for event in newest_events(reader, WHY_EVENTS, f"run:{run}")]
    return WhyView(view, list(why.because), events, why.next)


@get("/v1/runs/{run:int}/log", opt={"action": "runs:read"}, sync_to_thread=True)
def read_log(
    api: TheApi,
    run: FromPath[int],
    offset: Annotated[int, QueryParameter(ge=0)] = 0,
    limit: Annotated[int, QueryParameter(ge=1, le=LOG_LIMIT_BYTES)] = 1 << 16,
) -> LogView:
    """Its output from byte `offset` on, `limit` bytes at most. `ended`: nothing more will come after this."""
    record = find_run(api, RunId(run))
    return log_view(api.system.home / "runs" / str(run) / "log", offset, limit, is_over=record.state in ENDED)


@get("/v1/runs/{run:int}/wait", opt={"action": "runs:read"})
async def wait_run(
    api: TheApi,
    run: FromPath[int],
    timeout_s: Annotated[float, QueryParameter(ge=0, le=WAIT_LIMIT_S)] = 30.0,
) -> RunView:
    """The Run once it has ended, or as it is when the time is up."""
    await wait_until_ended(api, RunId(run), timeout_s)
    return await offload(view_run, api, RunId(run))


@post("/v1/runs/{run:int}/stop", opt={"action": "runs:write"}, status_code=200, sync_to_thread=True)
def stop_run(api: TheApi, caller: TheCaller, run: FromPath[int]) -> RunView:
    """Stop it and its children."""
    api.system.kernel.stop_run(RunId(run), caller.principal)
    return view_run(api, RunId(run))


@post("/v1/runs/{run:int}/nice", opt={"action": "runs:write"}, status_code=200, sync_to_thread=True)
def nice_run(api: TheApi, caller: TheCaller, run: FromPath[int], data: JSONBody[Nice]) -> RunView:
    """Another class, another weight, or both."""
    record = find_run(api, RunId(run))
    weight = record.weight if data.weight is None else data.weight
    api.system.kernel.renice(RunId(run), data.klass or record.klass, weight, caller.principal)
    return view_run(api, RunId(run))


def find_run(api: Api, run: RunId) -> RunRecord:
    with api.system.store.read() as reader:
        record: RunRecord | None = reader.get(RunRecord, run)
    if record is None:
        raise NotFoundError(f"There is no run {run}.", hint="`kernos ps --all` lists the Runs there are.")
    return record


def view_run(api: Api, run: RunId) -> RunView:
    record = find_run(api, run)
    with api.system.store.read() as reader:
        return run_views(reader, [record], api.system.kernel.usage(), api.system.clock.wall_ms())[0]


async def wait_until_ended(api: Api, run: RunId, timeout_s: float) -> RunRecord:
    """Woken by the Run's own Events; holds no thread while it waits."""
    give_up_s = api.system.clock.monotonic_s() + timeout_s
    with api.feed.watch(f"run:{run}") as watch:
        while True:
            record = await offload(find_run, api, run)
            left_s = give_up_s - api.system.clock.monotonic_s()
            if record.state in ENDED or left_s <= 0 or api.feed.closed:
                return record
            await watch.next(left_s)


def log_view(path: Path, offset: int, limit: int, *, is_over: bool) -> LogView:
    """Whole characters only: what a cut leaves of one comes with the next part."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(limit + 1)
    except FileNotFoundError:
        return LogView("", offset, is_over)
    more = len(data) > limit
    data = data[:limit]
    if more or not is_over:
        data = data[: _whole_characters(data)]
    return LogView(data.decode("utf-8", "replace"), offset + len(data), is_over and not more)


def _whole_characters(data: bytes) -> int:
    """How many bytes of `data` stand before a UTF-8 sequence that its end cuts off (RFC 3629)."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0b1100_0000 == 0b1000_0000:
            continue
        length = 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
        return len(data) - back if length > back else len(data)
    return len(data)


ROUTES: list[Any] = [list_runs, get_run, why_run, read_log, wait_run, stop_run, nice_run]
