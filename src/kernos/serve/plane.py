"""The data plane's process: `python -m kernos.serve.plane --home DIR`. Obeys `plane/wanted.json`,
outlives the kernel.

In `plane/`: `plane.lock` is held by the one plane of a home, `plane.sock` answers one JSON line with the
Status, `plane.json` tells which process answers at which url, `log/` is the prediction log. SIGTERM: no
new connections, what was asked is answered, the log is finished, exit 0.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import fcntl
import gc
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
import uvloop

from kernos.base.clock import Clock, SystemClock
from kernos.base.errors import ConflictError, KernosError, to_problem
from kernos.base.files import write_atomic
from kernos.base.logging import start_logging
from kernos.base.processes import ProcessId, identify
from kernos.base.settings import PlaneSettings, load_settings
from kernos.runtime.plane import Journal, Plane
from kernos.runtime.wanted import Status
from kernos.serve.address import check_address
from kernos.serve.keeper import Keeper
from kernos.serve.log import PredictionLog

_log = logging.getLogger(__name__)

_BACKLOG = 1024
_SWEEP_S = 1.0
_DRAIN_S = 4.0
"""The supervisor kills after five seconds."""
_QUESTION_S = 5.0


class _Question(msgspec.Struct, forbid_unknown_fields=True):
    ask: Literal["status", "reload"]


class _Known(msgspec.Struct, frozen=True):
    """`plane.json`, as the supervisor reads and writes it."""

    process: ProcessId
    url: str = ""


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="kernos.serve.plane")
    parser.add_argument("--home", required=True)
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    given = parser.parse_args(arguments)
    flags = {"home": given.home, "plane.host": given.host, "plane.port": given.port}
    start_logging("info")
    try:
        settings = load_settings({name: value for name, value in flags.items() if value is not None})
        start_logging(settings.log_level)
        with uvloop_runner() as runner:
            runner.run(run(settings.home_path, settings.plane, SystemClock()))
    except KernosError as error:
        _log.error(str(error), extra={"problem": to_problem(error)})
        return error.exit
    return 0


def uvloop_runner() -> asyncio.Runner:
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


async def run(home: Path, settings: PlaneSettings, clock: Clock) -> None:
    """Serve until SIGTERM. ConflictError where the port or the home is taken, RefusedError beyond
    loopback."""
    folder = home / "plane"
    folder.mkdir(parents=True, exist_ok=True)
    with _held(folder / "plane.lock"), _listener(settings, _last_port(folder)) as listener:
        boot = f"{clock.wall_ms():011x}{secrets.token_hex(4)}"
        log = PredictionLog(folder / "log", boot, clock, flush_s=settings.log_flush_s)
        log.open()
        try:
            journal = Journal(log.record, log.feedback, lambda: log.dropped)
            plane = Plane(asyncio.get_running_loop(), settings, clock, boot, journal)
            await _serve(folder, plane, Keeper(folder / "wanted.json", plane, clock), listener)
        finally:
            log.close()


async def _serve(folder: Path, plane: Plane, keeper: Keeper, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await keeper.reload()
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    server = await loop.create_server(plane.server.connect, sock=listener, backlog=_BACKLOG)
    control = await _control(folder, Desk(plane, keeper, url))
    process = identify(os.getpid())
    assert process is not None
    write_atomic(folder / "plane.json", msgspec.json.encode(_Known(process, url)))
    _log.info("the data plane serves", extra={"url": url})
    gc.collect()
    gc.freeze()  # models, codecs and modules live as long as the process: collections need not walk them
    while not stop.is_set():
        plane.server.sweep()
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _SWEEP_S)
    control.close()
    server.close()
    plane.server.drain()
    with suppress(TimeoutError):
        await asyncio.wait_for(plane.server.empty.wait(), _DRAIN_S)
    plane.close()
    (folder / "plane.sock").unlink(missing_ok=True)


class Desk:
    """Answers questions on the status socket: one JSON line in, one out."""

    def __init__(self, plane: Plane, keeper: Keeper, url: str) -> None:
        self._plane = plane
        self._keeper = keeper
        self._url = url

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await asyncio.wait_for(reader.readline(), _QUESTION_S)
            writer.write(msgspec.json.encode(await self._reply(line)) + b"\n")
            await writer.drain()
        except (OSError, TimeoutError, ValueError):
            return  # whoever asked has left, or asks no question
        finally:
            writer.close()

    async def _reply(self, line: bytes) -> Status | dict[str, Any]:
        try:
            question = msgspec.json.decode(line, type=_Question)
            if question.ask == "reload":
                await self._keeper.reload()
        except msgspec.DecodeError as error:
            return {
                "error": f"This is no question: {error}.",
                "hint": 'Ask {"ask": "status"} or {"ask": "reload"}.',
            }
        except KernosError as error:
            _log.error(str(error))
            return {"error": error.message, "code": error.code, "hint": error.hint}
        return self.status()

    def status(self) -> Status:
        plane = self._plane
        return Status(
            generation=self._keeper.generation,
            pid=os.getpid(),
            url=self._url,
            loaded=plane.loaded,
            failed=plane.failures,
            traffic=plane.traffic,
            refused_requests=plane.server.refused,
        )


async def _control(folder: Path, desk: Desk) -> asyncio.Server:
    """The status socket, for this user alone."""
    path = folder / "plane.sock"
    path.unlink(missing_ok=True)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    opened = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        control.bind(
            f"/proc/self/fd/{opened}/plane.sock"
        )  # an address ends at 107 bytes; homes may lie deeper
    finally:
        os.close(opened)
    path.chmod(0o600)
    return await asyncio.start_unix_server(desk.answer, sock=control)


@contextmanager
def _held(path: Path) -> Iterator[None]:
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(
                "A data plane of this home is running already.", hint=f"See {path.with_name('plane.json')}."
            ) from None
        yield


@contextmanager
def _listener(settings: PlaneSettings, last_port: int) -> Iterator[socket.socket]:
    """The wanted port; else the last one, so that addresses last; else a free one."""
    host = "127.0.0.1" if settings.host == "localhost" else settings.host
    check_address(host, settings.port)
    listener = None
    for port in [settings.port] if settings.port else [last_port, 0]:
        listener = listener or _bound(host, port)
    if listener is None:
        hint = "Stop who holds it, or choose another: plane.port in kernos.toml, 0 for any free one."
        raise ConflictError(f"Port {settings.port} of {host} is taken.", hint=hint)
    with listener:
        yield listener


def _bound(host: str, port: int) -> socket.socket | None:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            return None
        raise
    return listener


def _last_port(folder: Path) -> int:
    try:
        known = msgspec.json.decode((folder / "plane.json").read_bytes(), type=_Known)
        return urlsplit(known.url).port or 0
    except (OSError, msgspec.DecodeError, ValueError):
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
