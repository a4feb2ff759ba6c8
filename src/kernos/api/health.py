"""How the kernel is: alive, what it holds, what needs a person, which Devices there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from litestar import get

from kernos.api.context import TheApi
from kernos.api.devices import devices_here
from kernos.api.guard import OPEN
from kernos.api.present.home import attention
from kernos.api.present.runs import event_view, newest_events, run_views
from kernos.api.services import all_services
from kernos.api.views import DeviceView, HomeView
from kernos.base.version import VERSION
from kernos.catalog.records import RunRecord
from kernos.kernel.capacity import capacity

_RUNS_SHOWN = 50
_EVENTS_SHOWN = 12
_LOOK_AT_MS = 24 * 3600 * 1000
"""A failed build older than a day no longer asks for attention."""


class Health(msgspec.Struct, frozen=True):
    status: str
    version: str


@get("/v1/health", opt={"action": OPEN})
async def get_health() -> Health:
    return Health("ok", VERSION)


@get("/v1/home", opt={"action": "system:read"}, sync_to_thread=True)
def get_home(api: TheApi) -> HomeView:
    system = api.system
    usage, now_ms = system.kernel.usage(), system.clock.wall_ms()
    cpus_held, memory_held = system.kernel.held()
    cpus, memory_bytes = capacity(system.settings.kernel)
    services = all_services(api)
    with system.store.read() as reader:

        def newest(**where: str) -> list[RunRecord]:
            runs: list[RunRecord] = reader.list(
                RunRecord, where=where, order_by="id", descending=True, limit=_RUNS_SHOWN
            )
            return runs

        running = run_views(reader, newest(state="running"), usage, now_ms)
        queued = run_views(reader, newest(state="queued"), usage, now_ms)
        failed = run_views(reader, _failed_last(newest(kind="build"), now_ms), usage, now_ms)
        queued_count = reader.count(RunRecord, where={"state": "queued"})
        events = [event_view(event) for event in reversed(newest_events(reader, _EVENTS_SHOWN))]
    return HomeView(
        version=VERSION,
        home=str(system.home),
        uptime_s=system.clock.monotonic_s() - api.started_s,
        cpus=cpus,
        cpus_held=cpus_held,
        memory_bytes=memory_bytes,
        memory_held_bytes=memory_held,
        running=running,
        queued=queued_count,
        services=services,
        attention=attention(services, failed, queued[-3:]),
        events=events,
    )


@get("/v1/devices", opt={"action": "system:read"}, sync_to_thread=True)
def list_devices() -> list[DeviceView]:
    """What Runs may be placed on. A device that is absent is listed with the reason, never left out."""
    return devices_here(Path("/"))


def _failed_last(builds: list[RunRecord], now_ms: int) -> list[RunRecord]:
    """The newest build of each App, where it has failed and not long ago. `builds` are newest first."""
    newest: dict[str, RunRecord] = {}
    for build in builds:
        newest.setdefault(build.app, build)
    return [
        build
        for build in newest.values()
        if build.state == "failed" and now_ms - (build.ended_ms or now_ms) < _LOOK_AT_MS
    ]


ROUTES: list[Any] = [get_health, get_home, list_devices]
