"""A server that answers as told and remembers what it was asked, over TCP or a Unix socket."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import msgspec
import pytest

Answer = tuple[int, bytes] | Callable[[Any], None]


class Stub:
    """`answers` are given in order, the last one again and again."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [(200, b'{"ok":true}')]
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.url = ""

    def next(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def json(self, status: int, value: Any) -> None:
        self.answers = [(status, msgspec.json.encode(value))]

    def handler(self) -> type[BaseHTTPRequestHandler]:
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def setup(self) -> None:
                super().setup()
                self.client_address = ("local", 0)

            def log_message(self, format: str, *args: Any) -> None:
                """Silent."""

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                stub.asked.append((self.command, self.path, dict(self.headers), body))
                given = stub.next()
                if callable(given):
                    given(self)
                    return
                self.send_response(given[0])
                self.send_header("Content-Length", str(len(given[1])))
                self.end_headers()
                self.wfile.write(given[1])

            do_GET = do_POST = answer

        return Handler


@contextmanager
def running(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True


class _Unix(socketserver.ThreadingUnixStreamServer):
    pass


@pytest.fixture
def stub() -> Iterator[Stub]:
    made = Stub()
    server = _Tcp(("127.0.0.1", 0), made.handler())
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    with running(server):
        yield made


@pytest.fixture
def unix_stub(tmp_path: Path) -> Iterator[Stub]:
    made = Stub()
    made.url = str(tmp_path / "s")
    with running(_Unix(made.url, made.handler())):
        yield made


@pytest.fixture
def later_stub() -> Iterator[Callable[[str], None]]:
    """Start a server at an address where nobody has answered so far."""
    with_servers: list[Any] = []

    def start(address: tuple[str, int], stub: Stub) -> None:
        manager = running(_Tcp(address, stub.handler()))
        manager.__enter__()
        with_servers.append(manager)

    yield start  # type: ignore[misc]  # the test names the arguments
    for manager in with_servers:
        manager.__exit__(None, None, None)
