"""Nobody reaches a route without a right to it. A route names its `action`; what names none is refused.

One guard stands before every route: it looks at the Host, finds out who calls, and asks whether they may.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler
from litestar.routes import BaseRoute

from kernos.api.context import Api, offload
from kernos.base.errors import DeniedError, UnknownCallerError
from kernos.security.access import Caller, authorise

OPEN = "open"
"""The action of a route that everybody may call."""
CSRF_HEADER = "x-kernos-csrf"
CSRF_FIELD = "csrf"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

Connection = ASGIConnection[Any, Any, Any, Any]
Guard = Callable[[Connection, BaseRouteHandler], Awaitable[None]]


def make_guard(api: Api) -> Guard:
    """The guard of one application."""
    loopback_only = is_loopback(api.system.settings.api.host)

    async def guard(connection: Connection, handler: BaseRouteHandler) -> None:
        if loopback_only:
            check_host(connection.headers.get("host", ""))
        actions = actions_of_route(handler)
        if actions == (OPEN,):
            return
        caller = await _caller(api, connection)
        for action in actions:
            authorise(caller, action)  # type: ignore[arg-type]  # authorise refuses what is no Action
        connection.state.caller = caller

    return guard


def actions_of_route(handler: BaseRouteHandler) -> tuple[str, ...]:
    """What the caller must be allowed, all of it. A route that does not say is a bug, and stays shut."""
    action = handler.opt.get("action")
    if not action:
        raise DeniedError("This route declares no action, so nobody may call it.")
    return (action,) if isinstance(action, str) else tuple(action)


def check_routes(routes: Iterable[BaseRoute]) -> None:
    """ValueError when a route declares no action: with a forgotten permission nothing starts."""
    for route in routes:
        for handler in handlers_of(route):
            if not handler.opt.get("action"):
                raise ValueError(f"{route.path} declares no action")


def handlers_of(route: BaseRoute) -> list[BaseRouteHandler]:
    """What somebody wrote: Litestar's own answers to OPTIONS name no action, and so are refused by the guard."""
    found = getattr(route, "route_handlers", None) or [getattr(route, "route_handler", None)]
    return [one for one in found if one is not None and getattr(one, "http_methods", None) != {"OPTIONS"}]


def cookie_name(connection: Connection) -> str:
    """Cookies know no ports, and two kernels may share one host: the port is part of the name."""
    return f"kernos_session_{connection.url.port or 0}"


def is_loopback(host: str) -> bool:
    return host in _LOOPBACK


def check_host(host: str) -> None:
    """Refuse a name that somebody else's DNS has pointed at this machine (DNS rebinding)."""
    name = urlsplit(f"//{host}").hostname
    if name not in _LOOPBACK:
        raise DeniedError(
            f"This kernel does not answer as {host[:100]!r}.",
            hint="Call it as 127.0.0.1 or localhost, by its own port.",
        )


async def _caller(api: Api, connection: Connection) -> Caller:
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return await offload(api.system.auth.caller, token.strip())
    session = connection.cookies.get(cookie_name(connection), "")
    caller = api.system.sessions.caller(session, api.system.clock.monotonic_s()) if session else None
    if caller is None:
        raise UnknownCallerError(
            "Who is calling?",
            hint="Send `Authorization: Bearer TOKEN`, or open the console with `kernos console`.",
        )
    if connection.scope.get("method") not in _SAFE:
        await _check_same_site(api, connection, session)
    return caller


async def _check_same_site(api: Api, connection: Connection, session: str) -> None:
    """A browser sends the cookie with anybody's form, so a change also needs the session's own secret."""
    origin = connection.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != connection.headers.get("host", ""):
        raise DeniedError(f"{origin[:100]} is another site.", hint="Use the console's own pages.")
    given = connection.headers.get(CSRF_HEADER, "")
    content_type = connection.headers.get("content-type", "")
    if (
        not given
        and isinstance(connection, Request)
        and content_type.startswith("application/x-www-form-urlencoded")
    ):
        given = str((await connection.form()).get(CSRF_FIELD, ""))
    if not api.system.sessions.is_csrf(session, given):
        raise DeniedError(
            "The page has grown old, or another site sent this.", hint="Reload the page and try again."
        )
