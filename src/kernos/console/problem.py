"""Errors as pages: what happened, why, what to do next. Who does not ask for HTML gets problem+json."""

from __future__ import annotations

import logging
from typing import Any

from litestar import Response, get
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.types import ExceptionHandlersMap

from kernos.api.guard import OPEN
from kernos.api.problems import respond
from kernos.base.errors import (
    DeniedError,
    InvalidError,
    KernosError,
    NotFoundError,
    UnknownCallerError,
    to_problem,
)
from kernos.console.frame import HEADERS, AnyRequest, Console, Frame

_log = logging.getLogger("kernos.console")

_TITLES = {
    400: "That does not fit",
    401: "Sign in",
    403: "Not for your role",
    404: "Nothing here",
    409: "Things have moved on",
    422: "Refused",
    503: "Not available now",
}


def problem_routes() -> list[HTTPRouteHandler]:
    @get("/{path:path}", opt={"action": OPEN}, sync_to_thread=False)
    def nothing(path: FromPath[str]) -> Response[str]:
        raise NotFoundError(f"There is no page at {path[:200]}.", hint="Start at the console's home page.")

    return [nothing]


def problem_handlers(console: Console) -> ExceptionHandlersMap:
    def on_kernos(request: AnyRequest, error: KernosError) -> Response[Any]:
        return _answer(console, request, error)

    def on_http(request: AnyRequest, error: HTTPException) -> Response[Any]:
        return _answer(console, request, _translate(error))

    def on_bug(request: AnyRequest, error: Exception) -> Response[Any]:
        _log.error("the console failed", exc_info=error, extra={"path": request.url.path})
        hint = "The kernel's log has the traceback; kernos doctor checks the rest."
        return _answer(console, request, KernosError("The console met an error of its own.", hint=hint))

    return {KernosError: on_kernos, HTTPException: on_http, Exception: on_bug}


def _translate(error: HTTPException) -> KernosError:
    if error.status_code == 404:
        return NotFoundError("There is no such page.", hint="Start at the console's home page.")
    if error.status_code in (401, 403):
        return DeniedError(error.detail)
    if error.status_code < 500:
        return InvalidError(f"The request does not fit this page: {error.detail}", hint="Check the address.")
    return KernosError(error.detail)


def _answer(console: Console, request: AnyRequest, error: KernosError) -> Response[Any]:
    if "text/html" not in request.headers.get("Accept", "text/html") and "X-Fragment" not in request.headers:
        return respond(to_problem(error), HEADERS)
    if isinstance(error, UnknownCallerError):
        return console.page(request, "login.html", Frame("Sign in"), status=error.status, problem=None)
    title = _TITLES.get(error.status, "Something broke")
    return console.page(request, "problem.html", Frame(title), status=error.status, problem=error)
