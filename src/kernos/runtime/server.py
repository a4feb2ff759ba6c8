"""The connections of the data plane's listener: what they share, how their answers are written, when they end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus

from kernos.base.clock import Clock
from kernos.base.settings import PlaneSettings
from kernos.runtime.exchange import Reply, Request
from kernos.runtime.http import Connection

Admit = Callable[[Request], Reply | None]
"""Called when the head of a request is there, before its body is read; a Reply refuses it."""
Serve = Callable[[Request], None]
"""Called when the request is whole; answers now or later, on the event loop."""


class Server:
    """The connections of one listener. `sweep` must be called about once a second."""

    def __init__(self, settings: PlaneSettings, clock: Clock, admit: Admit, serve: Serve) -> None:
        self.settings = settings
        self.clock = clock
        self.admit = admit
        self.serve = serve
        self.connections: set[Connection] = set()
        self.refused = 0
        """Requests answered 4xx."""
        self.buffered_bytes = 0
        """Of bodies that are still coming."""
        self.draining = False
        self.empty = asyncio.Event()
        """Set when `drain` was called and the last connection has gone."""
        self._starts: dict[int, bytes] = {}
        self._date = b""
        self._set_date()

    def connect(self) -> Connection:
        return Connection(self)

    def render(self, request: Request, status: int, body: bytes, kind: bytes, headers: bytes) -> bytes:
        if 400 <= status < 500:
            self.refused += 1
        start = self._starts.get(status) or self._start(status)
        if request.close or (self.draining and request.is_last):
            request.close = True
            headers += b"Connection: close\r\n"
        content = b"" if request.method == b"HEAD" else body
        return b"%b%bContent-Type: %b\r\n%bContent-Length: %d\r\n\r\n%b" % (
            start,
            self._date,
            kind,
            headers,
            len(body),
            content,
        )

    def sweep(self) -> None:
        """Cut off who is too slow, silent or idle: one pass over all, so that a request costs no timer."""
        self._set_date()
        now_s = self.clock.monotonic_s()
        for connection in list(self.connections):
            connection.sweep(now_s)

    def drain(self) -> None:
        """Answer what has come, keep no connection."""
        self.draining = True
        for connection in list(self.connections):
            connection.end_if_idle()
        self.forget(None)

    def forget(self, connection: Connection | None) -> None:
        """A connection has gone."""
        if connection is not None:
            self.connections.discard(connection)
        if self.draining and not self.connections:
            self.empty.set()

    def _start(self, status: int) -> bytes:
        start = self._starts[status] = b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode())
        return start

    def _set_date(self) -> None:
        self._date = b"Date: %b\r\n" % formatdate(self.clock.wall_ms() / 1000, usegmt=True).encode()
