"""The control plane as one ASGI application, made from a running system."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from litestar import Litestar, Request, Router
from litestar.datastructures import MutableScopeHeaders
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import ControllerRouterHandler, Message, Scope

from kernos.api import apps, catalog, children, health, journal, principals, runs, services
from kernos.api.context import CHILD_THREADS, THREADS, Api, offload
from kernos.api.feed import Feed
from kernos.api.guard import OPEN, check_routes, make_guard
from kernos.api.history import History
from kernos.api.problems import answer_bug, answer_http_error, answer_kernos_error
from kernos.base.errors import KernosError
from kernos.base.version import VERSION
from kernos.security.access import Caller

if TYPE_CHECKING:
    from kernos.system import System

_log = logging.getLogger(__name__)

SAMPLE_S = 2.0
"""How often the data plane's counters are read for the charts of the last minutes."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""On every answer that does not set its own."""
_ROUTES = [
    route
    for module in (health, apps, runs, catalog, services, journal, principals, children)
    for route in module.ROUTES
]


def create_app(system: System, extra_handlers: Sequence[ControllerRouterHandler] = ()) -> Litestar:
    """All routes under one guard. `extra_handlers` name their `action` too; they may take `api` and `caller`.

    ValueError when a route declares no action.
    """
    api = Api(
        system=system,
        feed=Feed(system.store),
        history=History(),
        started_s=system.clock.monotonic_s(),
        children=ThreadPoolExecutor(CHILD_THREADS, "api-child"),
    )
    app = Litestar(
        route_handlers=[*_ROUTES, *extra_handlers],
        guards=[make_guard(api)],
        dependencies={
            "api": Provide(lambda: api, sync_to_thread=False),
            "caller": Provide(_caller, sync_to_thread=False),
        },
        exception_handlers={
            KernosError: answer_kernos_error,
            HTTPException: answer_http_error,
            Exception: answer_bug,
        },
        before_send=[_add_headers],
        lifespan=[_lifespan],
        openapi_config=_openapi(),
        request_max_body_size=system.settings.api.body_limit_bytes,
        logging_config=None,
    )
    app.state.api = api
    check_routes(app.routes)
    return app


@asynccontextmanager
async def _lifespan(app: Litestar) -> AsyncIterator[None]:
    api: Api = app.state.api
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS, "api"))
    api.feed.start()
    sampler = loop.create_task(_sample(api))
    try:
        yield
    finally:
        sampler.cancel()
        with suppress(asyncio.CancelledError):
            await sampler
        await api.feed.close()
        await asyncio.to_thread(api.children.shutdown)


async def _sample(api: Api) -> None:
    """Until cancelled. A data plane that does not answer leaves a gap."""
    while True:
        try:
            status = await offload(api.system.loop.status)
            if status is not None:
                api.history.feed(api.system.clock.wall_ms(), status.traffic)
        except Exception:
            _log.warning("the data plane's counters cannot be read", exc_info=True)
        await asyncio.sleep(SAMPLE_S)


def _caller(request: Request[Any, Any, Any]) -> Caller | None:
    """Whom the guard has let in; None on an open route."""
    caller: Caller | None = getattr(request.state, "caller", None)
    return caller


async def _add_headers(message: Message, scope: Scope) -> None:
    if message["type"] == "http.response.start":
        headers = MutableScopeHeaders.from_message(message)
        for name, value in HEADERS.items():
            headers.setdefault(name, value)


def _openapi() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Kernos",
        version=VERSION,
        description="The control plane: Apps, Runs, Artifacts, services, the journal.",
        use_handler_docstrings=True,
        openapi_router=Router(
            "/v1/openapi.json", route_handlers=[], opt={"action": OPEN}, include_in_schema=False
        ),
        render_plugins=[JsonRenderPlugin(path=["/", "/openapi.json"])],
    )
