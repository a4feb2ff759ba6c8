"""HTTP/1.1 for the data plane: every request read whole within bounds, every answer in the order asked.

An asyncio Protocol on httptools (llhttp). Requests of one connection may be pipelined (RFC 9112, 9.3.2). What
breaks a bound or the grammar is answered once with a reason, then the connection ends: the rest is read and
dropped for a moment, so that the answer is not lost to a reset (RFC 9112, 9.6).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

import httptools

from kernos.runtime.exchange import Reply, Request, refusal

if TYPE_CHECKING:
    from kernos.runtime.server import Server

_log = logging.getLogger(__name__)

_IDLE_S = 75.0
"""A kept connection without a request ends after this; common proxies give up before, at 60 s."""
_LINGER_S = 3.0
"""How long the rest of a refused request is read and dropped."""
_SLOWEST_BYTES_S = 16 * 2**10
"""A body that comes more slowly than this on the whole is cut off: a drip keeps no connection for hours."""
_PIPELINE = 256
"""Unanswered requests of one connection beyond which no more is read from it."""
_BUFFER_BODIES = 4
"""Unfinished bodies of all connections together hold at most this many times the largest body."""
_LENGTHS = frozenset(map(len, (b"authorization", b"content-length", b"expect", b"connection")))
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(asyncio.Protocol):
    """One client. httptools calls the `on_…` methods while `data_received` feeds it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.closed = False
        self._limit_bytes = server.settings.body_limit_bytes
        self._head_limit_bytes = server.settings.header_limit_bytes
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._pending: deque[Request] = deque()
        self._open: Request | None = None
        self._in_body = False
        self._chunks: list[bytes] = []
        self._head_bytes = 0
        self._body_bytes = 0
        self._messages = 0
        self._raw_bytes = 0
        self._expects = False
        self._stopped = False
        self._is_held = False
        self._blocked_s: float | None = None
        self._now_s = self._since_s = self._ended_s = server.clock.monotonic_s()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        if len(self.server.connections) < self.server.settings.connection_limit:
            self.server.connections.add(self)
            return
        self._fail(
            refusal(503, "unavailable", "There are too many connections.", "Keep connections and reuse them.")
        )
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._drop_body()
        self._pending.clear()
        self.server.forget(self)

    def eof_received(self) -> bool:
        """A client may end its side and still wait for answers; half a request is worth none."""
        if self._pending and self._open is None:
            self._pending[-1].close = True
            return True
        return False

    def pause_writing(self) -> None:
        self._blocked_s = self.server.clock.monotonic_s()
        self._hold()

    def resume_writing(self) -> None:
        self._blocked_s = None
        self._release()

    @property
    def newest(self) -> Request | None:
        """The request that came last: still coming, or the last that waits for its answer."""
        return self._open or (self._pending[-1] if self._pending else None)

    def data_received(self, data: bytes) -> None:
        if self._stopped:
            return
        self._now_s = self.server.clock.monotonic_s()
        messages = self._messages
        try:
            self._parser.feed_data(data)
            if messages == self._messages and not self._in_body:
                self._count_raw(len(data))
        except httptools.HttpParserUpgrade:
            self._fail(refusal(400, "invalid", "This port speaks HTTP/1.1 only.", "Send no Upgrade header."))
        except (httptools.HttpParserError, _Cut) as error:
            if not self._stopped:
                self._fail(refusal(400, "invalid", f"This is not HTTP/1.1: {error}."))
        if len(self._pending) >= _PIPELINE:
            self._hold()

    # httptools

    def on_message_begin(self) -> None:
        self._open = Request(self, self._now_s)
        self._messages += 1
        self._head_bytes = self._body_bytes = self._raw_bytes = 0
        self._since_s = self._now_s

    def on_url(self, url: bytes) -> None:
        assert self._open is not None
        self._open.url += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value))
        if len(name) in _LENGTHS and not self._in_body:
            self._note_header(name.lower(), value)

    def on_headers_complete(self) -> None:
        request = self._open
        assert request is not None
        self._in_body = True
        request.method = self._parser.get_method()
        request.close = request.close or not self._parser.should_keep_alive()
        request.refused = self.server.admit(request)
        if not self._expects:
            return
        self._expects = False
        if request.refused is not None:
            self._cut(request.refused)
        waiting = Request(self, self._now_s)
        waiting.reply = _CONTINUE
        self._pending.append(waiting)
        self.flush()

    def on_body(self, chunk: bytes) -> None:
        request = self._open
        assert request is not None
        self._body_bytes += len(chunk)
        if self._body_bytes > self._limit_bytes:
            self._cut(self._too_large())
        if request.refused is not None:
            return
        if not request.body and not self._chunks:
            request.body = chunk
            return
        if not self._chunks:
            self._keep(request.body)
            request.body = b""
        self._keep(chunk)

    def on_message_complete(self) -> None:
        request = self._open
        assert request is not None
        self._open = None
        self._in_body = False
        request.received_s = self._ended_s = self._now_s
        if self._chunks:
            request.body = b"".join(self._chunks)
            self._drop_body()
        self._pending.append(request)
        if request.refused is not None:
            request.send(request.refused)
            return
        try:
            self.server.serve(request)
        except Exception:
            _log.exception("a request met a bug", extra={"url": request.url[:200].decode(errors="replace")})
            request.send(refusal(500, "internal", "The server failed.", "See the plane's log."))

    # order of answers

    def flush(self) -> None:
        """Write every answer whose turn has come."""
        pending = self._pending
        if self.closed:
            return
        while pending and (reply := pending[0].reply) is not None:
            request = pending.popleft()
            self._transport.write(reply)
            if request.close:
                self._end()
                return
        if self._is_held:
            self._release()

    def end_if_idle(self) -> None:
        if self._open is None and not self._pending and not self._stopped:
            self._stopped = True
            self._transport.close()

    def sweep(self, now_s: float) -> None:
        limit_s = self.server.settings.body_timeout_s
        if self._stopped:
            if not self._pending and now_s - self._ended_s > _LINGER_S:
                self._transport.abort()
        elif self._blocked_s is not None:
            if now_s - self._blocked_s > limit_s:
                self._transport.abort()
        elif self._open is not None:
            if self._is_slow(now_s, limit_s):
                self._fail(
                    refusal(408, "deadline", "The request did not come in time.", "Send it whole, then wait.")
                )
        elif not self._pending and now_s - self._ended_s > _IDLE_S:
            self.end_if_idle()

    def _is_slow(self, now_s: float, limit_s: float) -> bool:
        if now_s - self._now_s > limit_s:
            return True
        return now_s - self._since_s > limit_s + self._body_bytes / _SLOWEST_BYTES_S

    def _end(self) -> None:
        """The last answer is written. Where the client may still be sending, read and drop for a moment."""
        self._pending.clear()
        if not self._stopped:
            self._stopped = True
            self._transport.close()
            return
        self._ended_s = self.server.clock.monotonic_s()
        if not self._transport.is_closing():
            self._transport.write_eof()

    def _hold(self) -> None:
        """Read no more for now: the client does not take its answers, or has asked too much at once."""
        if not self._is_held and not self._stopped:
            self._is_held = True
            self._transport.pause_reading()

    def _release(self) -> None:
        if (
            self._is_held
            and self._blocked_s is None
            and len(self._pending) <= _PIPELINE // 2
            and not self.closed
        ):
            self._is_held = False
            self._transport.resume_reading()

    def _fail(self, reply: Reply) -> None:
        """Refuse what is being read, after the answers to what came before; read no more."""
        request = self._open or Request(self, self._now_s)
        self._open = None
        self._stopped = True
        self._drop_body()
        request.close = True
        self._pending.append(request)
        request.send(reply)

    def _cut(self, reply: Reply) -> None:
        """`_fail` from within the parser, which stops at the exception."""
        self._fail(reply)
        raise _Cut

    def _note_header(self, name: bytes, value: bytes) -> None:
        request = self._open
        assert request is not None
        if name == b"authorization":
            if request.authorization:
                self._cut(refusal(400, "invalid", "There are two Authorization headers.", "Send one."))
            request.authorization = value
        elif name == b"content-length":
            if len(value) > 18 or (value.isdigit() and int(value) > self._limit_bytes):
                self._cut(self._too_large())
        elif name == b"expect":
            self._expects = value.lower() == b"100-continue"
        elif name == b"connection":
            request.close = self._parser.get_http_version() == "1.0"

    def _count_head(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > self._head_limit_bytes:
            limit = f"{self._head_limit_bytes} bytes"
            self._cut(
                refusal(
                    431,
                    "limit",
                    f"The request's head is larger than {limit}.",
                    "Send fewer or shorter headers.",
                )
            )

    def _count_raw(self, count: int) -> None:
        """Bytes of a head that llhttp has not told of yet: an endless name, value or row of empty lines."""
        self._raw_bytes += count
        if self._raw_bytes > 2 * self._head_limit_bytes:
            self._count_head(self._raw_bytes)

    def _too_large(self) -> Reply:
        limit = f"{self._limit_bytes} bytes"
        return refusal(
            413,
            "limit",
            f"The body is larger than {limit}.",
            "Send fewer rows a request, or raise plane.body_limit_bytes.",
        )

    def _keep(self, chunk: bytes) -> None:
        self.server.buffered_bytes += len(chunk)
        self._chunks.append(chunk)
        if self.server.buffered_bytes > _BUFFER_BODIES * self._limit_bytes:
            self._cut(
                refusal(
                    503,
                    "unavailable",
                    "Too many large bodies are coming at once.",
                    "Send it again in a moment.",
                )
            )

    def _drop_body(self) -> None:
        if self._chunks:
            self.server.buffered_bytes -= sum(map(len, self._chunks))
            self._chunks = []


class _Cut(Exception):
    """Stops the parser. Never leaves `data_received`."""
