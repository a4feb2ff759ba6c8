"""The control plane's process side: two sockets, one application, an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

import uvicorn
import uvloop
from litestar import Litestar

from kernos.api.guard import is_loopback
from kernos.base.errors import InvalidError, RefusedError, UnavailableError
from kernos.base.settings import ApiSettings

GRACE_S = 5
"""How long requests at work may take to end after the signal."""
_BACKLOG = 512
_PATH_LIMIT_BYTES = 107
"""sun_path of a Unix address, less its closing zero (unix(7))."""


def serve(
    app: Litestar,
    listener: socket.socket,
    unix_path: Path,
    settings: ApiSettings,
    on_ready: Callable[[], None],
) -> None:
    """Answer on `listener` and on the Unix socket until SIGTERM or SIGINT, then let what is at work end.

    For the main thread. `on_ready` runs once requests are answered, on a thread of its own; what it raises
    ends the serving. The Unix socket is this user's alone (0600) and gone afterwards, as is the listener.
    RefusedError for a host beyond loopback without TLS.
    """
    check_exposure(settings)
    unix = bind_unix(unix_path)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(app, listener, unix, settings, on_ready))
    finally:
        listener.close()
        unix.close()
        unix_path.unlink(missing_ok=True)


def check_exposure(settings: ApiSettings) -> None:
    """Kernos is not reached from other machines in the clear."""
    if bool(settings.tls_certificate) != bool(settings.tls_key):
        raise InvalidError(
            "TLS needs both a certificate and a key.", hint="Set api.tls_certificate and api.tls_key."
        )
    if not is_loopback(settings.host) and not settings.tls_certificate:
        raise RefusedError(
            f"{settings.host} is reached from other machines, and there is no TLS.",
            hint="Set api.tls_certificate and api.tls_key, or keep api.host = 127.0.0.1.",
        )


def bind_unix(path: Path) -> socket.socket:
    """A socket only this user may open, in place of what a dead kernel left there."""
    if len(os.fsencode(path)) > _PATH_LIMIT_BYTES:
        raise InvalidError(
            f"{path} is too long for a socket ({_PATH_LIMIT_BYTES} bytes at most).",
            hint="Choose a home with a shorter path.",
        )
    path.unlink(missing_ok=True)
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        unix.bind(str(path))
    finally:
        os.umask(mask)
    return unix


async def _serve(
    app: Litestar,
    listener: socket.socket,
    unix: socket.socket,
    settings: ApiSettings,
    on_ready: Callable[[], None],
) -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    outer = _Server(_config(app, "on", settings))
    workers = _Server(_config(app, "off", ApiSettings()))
    tasks: dict[_Server, asyncio.Task[None]] = {}
    try:
        for server, bound in ((outer, listener), (workers, unix)):
            tasks[server] = loop.create_task(server.serve([bound]))
            await _until_started(server, tasks[server])
        await asyncio.to_thread(on_ready)
        await _until_any(over, tasks.values())
    finally:
        app.state.api.feed.end_watches()
        for server in (workers, outer):  # the application's end comes with the outer one
            if server in tasks:
                await _stop(server, tasks[server])
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


class _Server(uvicorn.Server):
    """One of two servers in one loop: signals are caught once, for both."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _config(app: Litestar, lifespan: Literal["on", "off"], settings: ApiSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        lifespan=lifespan,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        http="httptools",
        ws="none",
        backlog=_BACKLOG,
        timeout_graceful_shutdown=GRACE_S,
        ssl_certfile=settings.tls_certificate or None,
        ssl_keyfile=settings.tls_key or None,
    )


async def _until_started(server: _Server, task: asyncio.Task[None]) -> None:
    """UnavailableError when the server ends before it has begun."""
    while not server.started:
        await asyncio.wait([task], timeout=0.002)
        if task.done():
            raise UnavailableError(
                "The control plane did not start.", hint="The lines above say why."
            ) from task.exception()


async def _until_any(over: asyncio.Event, tasks: Iterable[asyncio.Task[None]]) -> None:
    """The signal, or a server that ended by itself."""
    signalled = asyncio.get_running_loop().create_task(over.wait())
    await asyncio.wait([signalled, *tasks], return_when=asyncio.FIRST_COMPLETED)
    signalled.cancel()


async def _stop(server: _Server, task: asyncio.Task[None]) -> None:
    server.should_exit = True
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
