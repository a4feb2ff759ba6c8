"""One request, one answer, or one typed error. Waits out a kernel that is being restarted, up to a deadline.

Standard library and msgspec only: workers and devices carry this file.
"""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec

from kernos.base.clock import Clock, SystemClock
from kernos.base.errors import InvalidError, KernosError, LimitError, UnavailableError, from_problem

_ANSWER_LIMIT_BYTES = 256 * 2**20
_FIRST_DELAY_S = 0.05
_LONGEST_DELAY_S = 1.0
_SAFE = frozenset({"GET", "HEAD"})


class ServerEvent(msgspec.Struct, frozen=True):
    """One event of a stream of server-sent events (WHATWG HTML, section 9.2)."""

    id: str
    kind: str
    data: str


class Http:
    """Requests to one address with one token. Each request has its own connection: threads may share it."""

    def __init__(
        self,
        address: Address,
        token: str = "",
        *,
        patience_s: float = 0.0,
        repeatable: bool = False,
        clock: Clock | None = None,
    ) -> None:
        """`patience_s`: how long to try again while nobody answers, which is what a restart looks like.

        `repeatable`: all that is sent here may be sent twice, so what breaks half-way is tried again too.
        """
        self._address = address
        self._token = token
        self._patience_s = patience_s
        self._repeatable = repeatable
        self._clock = clock or SystemClock()

    @classmethod
    def tcp(cls, url: str, token: str = "", *, patience_s: float = 0.0) -> Http:
        """A server at a URL of http or https."""
        return cls(Address(url=url.rstrip("/")), token, patience_s=patience_s)

    @classmethod
    def unix(cls, socket: str, token: str = "", *, patience_s: float = 0.0) -> Http:
        """The kernel's socket, as workers use it: what they ask may be asked twice."""
        return cls(Address(socket=socket), token, patience_s=patience_s, repeatable=True)

    def beside(self, url: str) -> Http:
        """The same caller and patience at another address."""
        return Http.tcp(url, self._token, patience_s=self._patience_s)

    def request(self, method: str, path: str, body: Any = None, *, timeout_s: float = 60.0) -> Any:
        """The decoded JSON answer; None for an empty one. `timeout_s` bounds each wait for bytes.

        A refused connection is tried again, since nothing was sent; a connection that breaks later, or a 503,
        only where that is harmless. Raises the KernosError the server told of, or UnavailableError.
        """
        data = None if body is None else msgspec.json.encode(body)
        harmless = self._repeatable or method in _SAFE
        give_up_s = self._clock.monotonic_s() + self._patience_s
        delay_s = _FIRST_DELAY_S
        while True:
            try:
                return self._once(method, path, data, timeout_s)
            except _NotSentError as error:
                failure = error.failure
            except UnavailableError as error:
                if not harmless:
                    raise
                failure = error
            if self._clock.monotonic_s() + delay_s > give_up_s:
                raise failure
            threading.Event().wait(delay_s)
            delay_s = min(delay_s * 2, _LONGEST_DELAY_S)

    def stream(self, path: str, *, last_id: str = "", timeout_s: float = 60.0) -> Iterator[ServerEvent]:
        """Server-sent events until the stream ends. Silence for `timeout_s` is UnavailableError."""
        headers = self._headers() | {"Accept": "text/event-stream"}
        if last_id:
            headers["Last-Event-ID"] = last_id
        with closing(self._address.connect(timeout_s)) as connection:
            try:
                _open(connection, self._address)
                connection.request("GET", path, headers=headers)
                response = connection.getresponse()
                if response.status >= 400:
                    raise _told(response.status, response.read(_ANSWER_LIMIT_BYTES))
                yield from read_events(iter(response.readline, b""))
            except _NotSentError as error:
                raise error.failure from error
            except (OSError, http.client.HTTPException) as error:
                raise _broken(self._address, error) from error

    def _once(self, method: str, path: str, data: bytes | None, timeout_s: float) -> Any:
        headers = self._headers()
        if data is not None:
            headers["Content-Type"] = "application/json"
        with closing(self._address.connect(timeout_s)) as connection:
            _open(connection, self._address)
            try:
                connection.request(method, path, body=data, headers=headers)
                response = connection.getresponse()
                answer = response.read(_ANSWER_LIMIT_BYTES + 1)
            except (OSError, http.client.HTTPException) as error:
                raise _broken(self._address, error) from error
        if len(answer) > _ANSWER_LIMIT_BYTES:
            raise LimitError(
                f"The answer is larger than {_ANSWER_LIMIT_BYTES} bytes.",
                hint="Ask for fewer rows at a time.",
            )
        if response.status >= 400:
            raise _told(response.status, answer)
        return _decode(answer)

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers


def read_events(lines: Iterator[bytes]) -> Iterator[ServerEvent]:
    """Lines of an event stream as events. Comments and unknown fields are dropped, as the standard says."""
    last_id, kind, data = "", "", list[str]()
    for raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not line:
            if data:
                yield ServerEvent(last_id, kind or "message", "\n".join(data))
            kind, data = "", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "id" if "\0" not in value:
                last_id = value
            case "event":
                kind = value
            case "data":
                data.append(value)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens: a URL of http or https, or a Unix socket's path."""

    url: str = ""
    socket: str = ""

    def connect(self, timeout_s: float) -> http.client.HTTPConnection:
        """A connection that has not been opened yet."""
        if self.socket:
            return _UnixConnection(self.socket, timeout_s)
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InvalidError(
                f"{self.url!r} is not an address.", hint="Write it like http://127.0.0.1:7070."
            )
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        return kind(parts.hostname, parts.port, timeout=timeout_s)

    def __str__(self) -> str:
        return self.socket or self.url


class _NotSentError(Exception):
    """Nobody listens: nothing has been sent, so trying again is always safe."""

    def __init__(self, failure: UnavailableError) -> None:
        super().__init__(failure)
        self.failure = failure


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _open(connection: http.client.HTTPConnection, address: Address) -> None:
    try:
        connection.connect()
    except (ConnectionRefusedError, FileNotFoundError, ConnectionResetError) as error:
        raise _NotSentError(
            UnavailableError(
                f"Nobody answers at {address}.", hint="Start the kernel with `kernos up --detach`."
            )
        ) from error
    except OSError as error:
        raise _NotSentError(_broken(address, error)) from error


def _broken(address: Address, error: Exception) -> UnavailableError:
    what = "took too long to answer" if isinstance(error, TimeoutError) else "broke the connection off"
    return UnavailableError(f"{address} {what}.", hint="Try again; `kernos status` tells how the kernel is.")


def _told(status: int, answer: bytes) -> KernosError:
    try:
        problem = msgspec.json.decode(answer)
    except msgspec.DecodeError:
        problem = None
    if isinstance(problem, dict):
        if "error" in problem:  # the data plane answers in the form of the Open Inference Protocol
            problem = {**problem, "detail": problem["error"]}
        return from_problem(problem)
    text = answer[:200].decode("utf-8", "replace")
    return KernosError(f"The server answered {status}: {text}", hint="Is this address a Kernos kernel?")


def _decode(answer: bytes) -> Any:
    if not answer:
        return None
    try:
        return msgspec.json.decode(answer)
    except msgspec.DecodeError as error:
        raise KernosError("The answer is not JSON.", hint="Is this address a Kernos kernel?") from error
