from __future__ import annotations

import os
import signal
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar

from kernos.api.server import bind_unix, check_exposure, serve
from kernos.base.errors import InvalidError, RefusedError, UnavailableError
from kernos.base.settings import ApiSettings
from kernos.client.http import Http


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound


def _serve(app: Litestar, listener: socket.socket, path: Path, act: Callable[[], None]) -> None:
    """Serve, do `act` once ready, and end by SIGTERM."""

    def on_ready() -> None:
        try:
            act()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    serve(app, listener, path, ApiSettings(), on_ready)


def test_both_sockets_answer_until_the_signal(app: Litestar, listener: socket.socket, tmp_path: Path) -> None:
    path = tmp_path / "kernel.sock"
    port = listener.getsockname()[1]
    answers: list[Any] = []

    def act() -> None:
        answers.append(Http.tcp(f"http://127.0.0.1:{port}").request("GET", "/v1/health"))
        answers.append(Http.unix(str(path)).request("GET", "/v1/health"))
        answers.append(stat.S_IMODE(path.stat().st_mode))

    _serve(app, listener, path, act)

    assert [answers[0]["status"], answers[1]["status"], answers[2]] == ["ok", "ok", 0o600]
    assert not path.exists()
    with pytest.raises(UnavailableError):
        Http.tcp(f"http://127.0.0.1:{port}").request("GET", "/v1/health")


def test_an_open_stream_does_not_hold_up_the_end(
    world: Any, app: Litestar, listener: socket.socket, tmp_path: Path
) -> None:
    token = world.token("ann", "viewer")
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    started = threading.Event()
    seen: list[str] = []

    def follow() -> None:
        for event in Http.tcp(url, token).stream("/v1/events/stream?after=-1"):
            seen.append(event.kind)
            started.set()

    reader = threading.Thread(target=follow)

    def act() -> None:
        reader.start()
        assert started.wait(10)

    _serve(app, listener, tmp_path / "s", act)

    reader.join(10)
    assert not reader.is_alive()
    assert seen == ["principal.created"]


def test_what_on_ready_raises_ends_the_serving(
    app: Litestar, listener: socket.socket, tmp_path: Path
) -> None:
    def on_ready() -> None:
        raise UnavailableError("The journal cannot be read.")

    with pytest.raises(UnavailableError, match="journal"):
        serve(app, listener, tmp_path / "s", ApiSettings(), on_ready)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_nothing_is_served_beyond_loopback_in_the_clear(
    app: Litestar, listener: socket.socket, tmp_path: Path, host: str
) -> None:
    with pytest.raises(RefusedError, match="TLS"):
        serve(app, listener, tmp_path / "s", ApiSettings(host=host), lambda: None)
    check_exposure(ApiSettings(host=host, tls_certificate="c.pem", tls_key="k.pem"))


def test_a_certificate_without_its_key_is_refused() -> None:
    with pytest.raises(InvalidError):
        check_exposure(ApiSettings(tls_certificate="c.pem"))


def test_the_socket_of_a_dead_kernel_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    bind_unix(path).close()

    with bind_unix(path):
        assert path.is_socket()


def test_a_path_too_long_for_a_socket_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="too long"):
        bind_unix(tmp_path / ("x" * 120))
