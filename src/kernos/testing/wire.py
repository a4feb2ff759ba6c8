"""A connection to the data plane without a network: bytes in, answers out, a clock and a loop that stand
still."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernos.base.clock import ManualClock
from kernos.base.errors import KernosError
from kernos.base.settings import PlaneSettings
from kernos.runtime.batcher import Batcher
from kernos.runtime.exchange import Reply, Request, refusal
from kernos.runtime.feedback import FeedbackItem
from kernos.runtime.http import Connection
from kernos.runtime.lane import Loaded
from kernos.runtime.plane import Answered, Journal, Plane
from kernos.runtime.server import Server
from kernos.runtime.signature import Signature, TensorSpec
from kernos.runtime.wanted import Caller, Revision, Route, Wanted

TOKEN = "kernos_test"  # noqa: S105 - of tests alone
WIDTH = 3
Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


class FakeTransport:
    """What uvloop's transport does, as far as a Connection asks for it."""

    def __init__(self) -> None:
        self.sent = b""
        self.is_reading = True
        self.is_closed = self.is_aborted = self.has_eof = False

    def write(self, data: bytes) -> None:
        assert not self.has_eof
        self.sent += data

    def write_eof(self) -> None:
        self.has_eof = True

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_aborted = self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        assert self.is_reading
        self.is_reading = False

    def resume_reading(self) -> None:
        assert not self.is_reading
        self.is_reading = True


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """One client's connection."""

    def __init__(self, server: Server) -> None:
        self.transport = FakeTransport()
        self.connection: Connection = server.connect()
        self.connection.connection_made(self.transport)  # type: ignore[arg-type]  # a fake

    def send(self, data: bytes) -> None:
        self.connection.data_received(data)

    def reads(self) -> bool:
        """The server takes more from this client."""
        return self.transport.is_reading

    def is_over(self) -> bool:
        return self.transport.is_closed

    def take(self) -> list[Answer]:
        """The answers since the last call."""
        data, self.transport.sent = self.transport.sent, b""
        answers = []
        while data:
            head, _, data = data.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            headers = {key.lower(): value for key, value in (line.split(": ", 1) for line in lines[1:])}
            length = int(headers.get("content-length", 0))
            answers.append(Answer(int(lines[0].split()[1]), headers, data[:length]))
            data = data[length:]
        return answers


SMALL = PlaneSettings(body_limit_bytes=1000, header_limit_bytes=500, connection_limit=2, body_timeout_s=5)


class Echo:
    """A server that answers with method, path and body; `/later…` waits, `/no` is refused at its head."""

    def __init__(self, settings: PlaneSettings = SMALL) -> None:
        self.clock = ManualClock()
        self.waiting: list[Request] = []
        self.server = Server(settings, self.clock, self.admit, self.serve)

    def admit(self, request: Request) -> Reply | None:
        return refusal(403, "denied", "no") if request.url == b"/no" else None

    def serve(self, request: Request) -> None:
        if request.url.startswith(b"/bug"):
            raise RuntimeError("a bug")
        if request.url.startswith(b"/later"):
            self.waiting.append(request)
        else:
            echo(request)

    def wire(self) -> Wire:
        return Wire(self.server)


def echo(request: Request) -> None:
    request.answer(200, request.method + b" " + request.url + b" " + request.body)


def post(path: str, body: bytes, *headers: str, token: str = TOKEN) -> bytes:
    lines = [f"POST {path} HTTP/1.1", f"Content-Length: {len(body)}", *headers]
    lines += [f"Authorization: Bearer {token}"] if token else []
    return "\r\n".join([*lines, "", ""]).encode() + body


def get(path: str, *headers: str, method: str = "GET", token: str = TOKEN) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *headers]
    lines += [f"Authorization: Bearer {token}"] if token else []
    return "\r\n".join([*lines, "", ""]).encode()


def infer_body(rows: Sequence[Sequence[float]] = ((1.0, 2.0, 3.0),), **more: Any) -> bytes:
    data = [value for row in rows for value in row]
    tensor = {"name": "input", "shape": [len(rows), WIDTH], "datatype": "FP32", "data": data}
    return json.dumps({"inputs": [tensor], **more}).encode()


TABLE = Signature(
    task="classification",
    inputs=[TensorSpec("input", "FP32", [-1, WIDTH], ["a", "b", "c"])],
    outputs=[TensorSpec("label", "INT64", [-1]), TensorSpec("sum", "FP32", [-1, 1])],
    classes=[0, 1],
)


def summing(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A model of `TABLE`: the sum of each row, and whether it is above 5."""
    total = inputs["input"].sum(axis=1, keepdims=True, dtype=np.float32)
    return {"label": (total[:, 0] > 5).astype(np.int64), "sum": total}


def broken(_: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    raise RuntimeError("the model is broken")


@dataclass
class Notebook:
    """A Journal's other side."""

    answered: list[Answered] = field(default_factory=list)
    feedback: list[FeedbackItem] = field(default_factory=list)
    problem: KernosError | None = None

    def take(self, items: Sequence[FeedbackItem], _: str, done: Callable[[KernosError | None], None]) -> None:
        self.feedback += items
        done(self.problem)

    def journal(self) -> Journal:
        return Journal(self.answered.append, self.take, lambda: 7)


class Bench:
    """A Plane on a loop that turns when told."""

    def __init__(self, loop: asyncio.AbstractEventLoop, settings: PlaneSettings) -> None:
        self.loop = loop
        self.clock = ManualClock()
        self.notebook = Notebook()
        self.closed: list[int] = []
        self.plane = Plane(loop, settings, self.clock, "boot", self.notebook.journal())

    def serve(
        self,
        models: Mapping[int, Run],
        route: Route | None = None,
        *,
        failures: Sequence[tuple[str, int, str]] = (),
        signatures: Mapping[int, Signature] | None = None,
        is_threaded: bool = False,
    ) -> None:
        """Bring `models` (version -> run) into service; the first is live unless `route` says otherwise."""
        refused = [(version, f"digest{version}") for _, version, _ in failures]
        revisions = [
            Revision("m", version, "", digest) for version, digest in [*self._digests(models), *refused]
        ]
        routes = [route or Route("m", next(iter(models)))] if models or route else []
        callers = [Caller("ann", hashlib.sha256(TOKEN.encode()).hexdigest())]
        wanted = Wanted(generation=1, revisions=revisions, routes=routes, callers=callers)
        missing = {one.version for one in self.plane.missing(wanted)}
        loaded = [
            (self._load(version, run, (signatures or {}).get(version, TABLE)), self._batcher(is_threaded))
            for version, run in models.items()
            if version in missing
        ]
        self.plane.apply(wanted, loaded, failures)

    def wire(self) -> Wire:
        return Wire(self.plane.server)

    def turn(self, count: int = 5) -> None:
        """Let what is scheduled run."""
        for _ in range(count):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def ask(self, request: bytes) -> Answer:
        """One request on a connection of its own."""
        wire = self.wire()
        wire.send(request)
        self.turn()
        (answer,) = wire.take()
        return answer

    def wait(self, is_done: Callable[[], bool]) -> None:
        """Turn until the engine's thread has brought it about."""
        deadline_s = self.loop.time() + 10
        while not is_done():
            assert self.loop.time() < deadline_s, "the engine's thread has not brought it about"
            self.loop.call_later(0.001, self.loop.stop)
            self.loop.run_forever()

    def _digests(self, models: Mapping[int, Run]) -> list[tuple[int, str]]:
        return [(version, f"digest{version}") for version in models]

    def _load(self, version: int, run: Run, signature: Signature) -> Loaded:
        return Loaded("m", version, f"digest{version}", signature, run, lambda: self.closed.append(version))

    def _batcher(self, is_threaded: bool) -> Batcher:
        batcher = Batcher()
        if is_threaded:
            batcher.measured(1, 1.0)
        return batcher


@contextmanager
def bench(settings: PlaneSettings | None = None) -> Iterator[Bench]:
    loop = asyncio.new_event_loop()
    one = Bench(loop, settings or PlaneSettings())
    try:
        yield one
    finally:
        one.plane.close()
        loop.close()
