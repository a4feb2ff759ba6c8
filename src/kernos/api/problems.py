"""Every error leaves the API as problem+json (RFC 9457). What went wrong inside goes to the log alone."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from kernos.base.errors import InvalidError, KernosError, LimitError, NotFoundError, to_problem

_log = logging.getLogger(__name__)

AnyRequest = Request[Any, Any, Any]


def answer_kernos_error(request: AnyRequest, error: KernosError) -> Response[bytes]:
    """What was raised on purpose, as it is."""
    if error.status >= 500 and not error.retry:
        _log.error("a request failed", extra={"path": request.url.path, "code": error.code}, exc_info=error)
    return respond(to_problem(error))


def answer_http_error(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    """What the web framework refuses: unknown paths and methods, bodies and queries of the wrong shape."""
    match error.status_code:
        case 404:
            known = NotFoundError(
                f"There is no {request.url.path}.", hint="GET /v1/openapi.json lists what there is."
            )
            return respond(to_problem(known))
        case 413:
            return respond(
                to_problem(LimitError("The request's body is too large.", hint="Send data by path."))
            )
        case status if status >= 500:
            return answer_bug(request, error)
    if isinstance(error, ValidationException):
        return respond(to_problem(_invalid(error)))
    problem = to_problem(
        InvalidError(str(error.detail), hint="GET /v1/openapi.json tells the request's shape.")
    )
    return respond(problem | {"status": error.status_code}, error.headers)


def answer_bug(request: AnyRequest, error: Exception) -> Response[bytes]:
    """An error nobody raised on purpose: the caller learns nothing of the inside."""
    _log.error("a request failed", extra={"path": request.url.path}, exc_info=error)
    return respond(
        to_problem(
            KernosError("Something went wrong inside the kernel.", hint="The kernel's log tells what.")
        )
    )


def respond(problem: dict[str, Any], headers: dict[str, str] | None = None) -> Response[bytes]:
    return Response(
        content=msgspec.json.encode(problem, enc_hook=str),
        status_code=problem["status"],
        media_type="application/problem+json",
        headers=headers or {},
    )


def _invalid(error: ValidationException) -> InvalidError:
    """The first wrong field in words, all of them in the details."""
    extra = error.extra if isinstance(error.extra, list) else []
    fields = [
        {
            "field": str(line.get("key", "")),
            "message": str(line.get("message", "")),
            "in": _text(line.get("source")),
        }
        for line in extra
        if isinstance(line, dict)
    ]
    if not fields:
        return InvalidError(str(error.detail), hint="GET /v1/openapi.json tells the request's shape.")
    first = fields[0]
    where = f"{first['field']}: " if first["field"] else ""
    return InvalidError(
        f"{where}{first['message']}.", hint="GET /v1/openapi.json tells the request's shape.", fields=fields
    )


def _text(source: Any) -> str:
    return str(getattr(source, "value", source) or "body")
