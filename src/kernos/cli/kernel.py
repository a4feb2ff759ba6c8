"""The kernel's process from outside: start it, stop it, ask how it is, open its console."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from kernos.api.views import HomeView
from kernos.base.clock import Clock, SystemClock
from kernos.base.errors import DeadlineError, KernosError, UnavailableError, from_problem
from kernos.base.processes import ProcessId, identify, is_alive
from kernos.base.units import show_bytes
from kernos.base.version import VERSION
from kernos.cli.session import Home, Json, Yes, agree, answer, connect, home_path
from kernos.cli.show import home_group
from kernos.cli.table import number
from kernos.client.api import Client
from kernos.client.home import KernelFile, living_kernel, need_kernel

START_LIMIT_S = 60.0
"""A kernel that has to recover a long journal may take this long."""
STOP_LIMIT_S = 30.0
_PAUSE_S = 0.02
_LOG_TAIL_BYTES = 1 << 16

Detach = Annotated[
    bool, typer.Option("--detach", "-d", help="Leave it running in the background.", show_default=False)
]
Port = Annotated[
    int | None, typer.Option("--port", help="Of the API and the console; 0: a free one.", show_default=False)
]
PlanePort = Annotated[
    int | None, typer.Option("--plane-port", help="Of the predictions.", show_default=False)
]


def up(
    home: Home = None,
    detach: Detach = False,
    port: Port = None,
    plane_port: PlanePort = None,
    as_json: Json = False,
) -> None:
    """Start the kernel, and with it the console, on this machine."""
    folder = home_path(home)
    file = living_kernel(folder)
    process = None
    if file is None:
        process = start(folder, port, plane_port, detach=detach)
        if not detach:
            _pass_signals_on(process)
        file = wait_until_ready(folder, process, SystemClock())
    client = Client.from_home(folder, patience_s=5.0)
    _announce(file, client, folder, as_json, is_new=process is not None)
    if process is not None and not detach:
        code = process.wait()
        raise typer.Exit(0 if code in (0, -signal.SIGINT, -signal.SIGTERM) else 1)


def down(home: Home = None, yes: Yes = False, as_json: Json = False) -> None:
    """Stop the kernel and everything it serves. Asks on a terminal alone: nothing is lost, Runs go on at the next `up`."""
    folder = home_path(home)
    file = need_kernel(folder)
    view = msgspec.convert(Client.from_home(folder).home(), HomeView)
    count = len(view.running)
    running = (
        "no Run is at work"
        if not count
        else "1 Run is stopped"
        if count == 1
        else f"{count} Runs are stopped"
    )
    served = ", ".join(service.app for service in view.services)
    unserved = f"{served} is no longer served" if served else "nothing is served"
    agree(
        f"This stops the kernel of {folder} (pid {file.pid}): {running}, and {unserved}.",
        yes=yes or not sys.stdin.isatty(),
    )
    process = ProcessId(file.pid, file.started_ticks)
    os.kill(file.pid, signal.SIGTERM)
    if not until(lambda: not is_alive(process), STOP_LIMIT_S, SystemClock()):
        raise DeadlineError(
            f"The kernel (pid {file.pid}) has not stopped within {STOP_LIMIT_S:.0f} s.",
            hint=f"Look at {folder / 'kernel.log'}, or end it: kill -9 {file.pid}",
        )
    answer(as_json).show(
        {"stopped": file.pid}, lambda console: console.print(f"The kernel of {folder} has stopped.")
    )


def status(home: Home = None, as_json: Json = False) -> None:
    """Is the kernel up, and what does it hold?"""
    value = connect(home).home()
    view = msgspec.convert(value, HomeView)
    now_ms = SystemClock().wall_ms()
    answer(as_json).show(value, lambda console: console.print(home_group(view, now_ms)))


def console(home: Home = None, as_json: Json = False) -> None:
    """Print a link that opens the console once."""
    value = connect(home).console_code()
    answer(as_json).show(value, lambda out: out.print(value["url"], soft_wrap=True))


def start(home: Path, port: int | None, plane_port: int | None, *, detach: bool) -> subprocess.Popen[bytes]:
    """The kernel's process; its log goes to `kernel.log` in the home."""
    command = [sys.executable, "-m", "kernos.main", "--set", f"home={home}"]
    for name, value in (("api.port", port), ("plane.port", plane_port)):
        if value is not None:
            command += ["--set", f"{name}={value}"]
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        log = (home / "kernel.log").open("ab")
    except OSError as error:
        raise UnavailableError(
            f"The home {home} cannot be used: {error.strerror}.", hint="Choose another with --home DIR."
        ) from error
    with log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=detach
        )


def wait_until_ready(home: Path, process: subprocess.Popen[bytes], clock: Clock) -> KernelFile:
    """What the new kernel says of itself. Raises the error it ended with, or DeadlineError."""

    def is_over() -> bool:
        file = living_kernel(home)
        return process.poll() is not None or (file is not None and file.pid == process.pid)

    until(is_over, START_LIMIT_S, clock)
    if process.poll() is not None:
        raise _last_words(home / "kernel.log", process.returncode)
    file = living_kernel(home)
    if file is None:
        raise DeadlineError(
            f"The kernel is not ready after {START_LIMIT_S:.0f} s.", hint=f"Look at {home / 'kernel.log'}."
        )
    return file


def until(is_so: Callable[[], bool], limit_s: float, clock: Clock) -> bool:
    """Whether it became so in time."""
    give_up_s = clock.monotonic_s() + limit_s
    pause = threading.Event()
    while not is_so():
        if clock.monotonic_s() > give_up_s:
            return False
        pause.wait(_PAUSE_S)
    return True


def _last_words(log: Path, code: int) -> KernosError:
    """The problem document a kernel ends its log with when it cannot start."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _LOG_TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    for line in reversed(lines[-20:]):
        try:
            problem = msgspec.json.decode(line, type=dict)
        except msgspec.MsgspecError:
            continue
        if "code" in problem and "detail" in problem:
            return from_problem(problem)
    return KernosError(f"The kernel ended with code {code} before it was ready.", hint=f"Look at {log}.")


def _announce(file: KernelFile, client: Client, home: Path, as_json: bool, *, is_new: bool) -> None:
    link = client.console_code()["url"]
    view = msgspec.convert(client.home(), HomeView)
    value = {"pid": file.pid, "url": file.url, "console": link, "home": str(home), "version": VERSION}

    def draw(out: Console) -> None:
        machine = f"{number(view.cpus)} cpus, {show_bytes(view.memory_bytes)}"
        verb = "" if is_new else "   was up already"
        out.print(
            Text.assemble((f"kernos {VERSION}", "bold"), f"   {machine}   home {home}{verb}"), soft_wrap=True
        )
        out.print(Text.assemble(("console  ", "dim"), link, ("   opens once", "dim")), soft_wrap=True)
        out.print(Text.assemble(("api      ", "dim"), file.url), soft_wrap=True)
        out.print(Text.assemble(("next     ", "dim"), "kernos run app.py"))

    answer(as_json).show(value, draw)
    sys.stdout.flush()


def _pass_signals_on(process: subprocess.Popen[bytes]) -> None:
    """Be the kernel's foreground: SIGTERM goes on to it; Ctrl-C reaches it by itself, and this waits for its end."""
    kernel = identify(process.pid)

    def pass_on(number: int, frame: object) -> None:
        if kernel is not None and is_alive(kernel):
            os.kill(kernel.pid, number)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
