"""One request and its answer. A refusal has the form of the Open Inference Protocol v2, with code and hint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from kernos.base.errors import KernosError

if TYPE_CHECKING:
    from kernos.runtime.http import Connection

_JSON = b"application/json"


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    kind: bytes = _JSON
    headers: bytes = b""
    """Further header lines, each ending in CRLF."""


def refusal(status: int, code: str, message: str, hint: str = "", headers: bytes = b"") -> Reply:
    """An error in the form of the Open Inference Protocol v2, with Kernos' code and hint."""
    body = msgspec.json.encode({"error": message, "code": code, "hint": hint})
    return Reply(status, body, headers=headers)


def refusal_of(error: KernosError) -> Reply:
    return refusal(error.status, error.code, error.message, error.hint)


class Request:
    """One request, and its place in the order of answers. Lives on the event loop."""

    __slots__ = (
        "_connection",
        "authorization",
        "body",
        "close",
        "method",
        "principal",
        "received_s",
        "refused",
        "reply",
        "subject",
        "url",
    )

    def __init__(self, connection: Connection, received_s: float) -> None:
        self._connection = connection
        self.reply: bytes | None = None
        """The bytes of the answer, once there is one."""
        self.received_s = received_s
        """Monotonic time at which its last bytes were read."""
        self.method = b""
        self.url = b""
        self.authorization = b""
        self.principal = ""
        self.body = b""
        self.subject: Any = None
        """What `admit` found; `serve` uses it."""
        self.refused: Reply | None = None
        self.close = False

    @property
    def gone(self) -> bool:
        """The client has left: nobody waits for this answer."""
        return self._connection.closed

    @property
    def is_last(self) -> bool:
        """Nothing of this connection waits or comes behind it."""
        return self._connection.newest is self

    def answer(self, status: int, body: bytes, kind: bytes = _JSON, headers: bytes = b"") -> None:
        """Answer once. The bytes leave when all earlier requests of the connection are answered."""
        self.reply = self._connection.server.render(self, status, body, kind, headers)
        self._connection.flush()

    def send(self, reply: Reply) -> None:
        self.answer(reply.status, reply.body, reply.kind, reply.headers)
