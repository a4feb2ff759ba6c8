"""Every error Kernos raises on purpose: a stable code, what happened, and what to do next.

A class exists where a caller would act differently. Python's own exceptions mean bugs.
"""

from __future__ import annotations

from typing import Any, ClassVar


class KernosError(Exception):
    """The root. `message` says what and why, `hint` says what to do next, `details` is for programs."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    exit: ClassVar[int] = 1
    retry: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def __reduce__(self) -> Any:
        return _rebuild, (type(self), self.message, self.hint, self.details)


class InvalidError(KernosError):
    """What was given is wrong and will stay wrong."""

    code, status, exit = "invalid", 400, 2


class NotFoundError(KernosError):
    code, status, exit = "not_found", 404, 3


class ConflictError(KernosError):
    """The state has moved on, or somebody else holds it."""

    code, status, exit = "conflict", 409, 4


class DeniedError(KernosError):
    """Known or unknown, this caller may not. Unknown callers get 401 through `UnknownCallerError`."""

    code, status, exit = "denied", 403, 5


class UnknownCallerError(KernosError):
    code, status, exit = "unauthenticated", 401, 5


class RefusedError(KernosError):
    """A gate, contract or signature said no. Refusing is a feature."""

    code, status, exit = "refused", 422, 6


class UnavailableError(KernosError):
    """It may work later, or elsewhere."""

    code, status, exit, retry = "unavailable", 503, 7, True


class LimitError(KernosError):
    """Too large, too many, too fast."""

    code, status, exit = "limit", 413, 8


class CorruptError(KernosError):
    """Bytes are not what their digest, signature or journal says."""

    code, status, exit = "corrupt", 500, 9


class FailedError(KernosError):
    """A Run ended without success."""

    code, status, exit = "failed", 500, 1


class DeadlineError(KernosError):
    code, status, exit, retry = "deadline", 504, 10, True


_BY_CODE: dict[str, type[KernosError]] = {
    kind.code: kind
    for kind in (
        KernosError,
        InvalidError,
        NotFoundError,
        ConflictError,
        DeniedError,
        UnknownCallerError,
        RefusedError,
        UnavailableError,
        LimitError,
        CorruptError,
        FailedError,
        DeadlineError,
    )
}


def to_problem(error: KernosError) -> dict[str, Any]:
    """The error as problem+json (RFC 9457)."""
    return {
        "type": f"urn:kernos:error:{error.code}",
        "title": error.code.replace("_", " "),
        "status": error.status,
        "code": error.code,
        "detail": error.message,
        "hint": error.hint,
        "details": error.details,
    }


def from_problem(problem: dict[str, Any]) -> KernosError:
    """The error a problem document tells of; an unknown code becomes the root class."""
    kind = _BY_CODE.get(str(problem.get("code", "")), KernosError)
    details = problem.get("details")
    return _rebuild(
        kind,
        str(problem.get("detail") or problem.get("title") or "unknown error"),
        str(problem.get("hint", "")),
        details if isinstance(details, dict) else {},
    )


def _rebuild(kind: type[KernosError], message: str, hint: str, details: dict[str, Any]) -> KernosError:
    error = kind(message, hint=hint)
    error.details = details
    return error
