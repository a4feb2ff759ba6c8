"""Is this machine fit for Kernos? Every check says what it found and what to do. No kernel is needed."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Literal

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from kernos.base.errors import KernosError
from kernos.base.settings import load_settings
from kernos.base.units import show_bytes
from kernos.cli.session import Home, Json, answer, home_path
from kernos.cli.table import table
from kernos.client.home import living_kernel

LIBRARIES = (
    "msgspec",
    "sqlalchemy",
    "litestar",
    "uvloop",
    "cryptography",
    "polars",
    "scikit-learn",
    "onnx",
    "onnxruntime",
    "skl2onnx",
    "optuna",
)
_DISK_BYTES = 2 * 2**30
"""Room for one model of a gigabyte, its package and the journal."""
_MEMORY_BYTES = 2 * 2**30
"""One Run's limit."""
_SOCKET_PATH_BYTES = 107 - len("/kernel.sock")

Verdict = Literal["ok", "warning", "error"]


class Check(msgspec.Struct, frozen=True):
    name: str
    verdict: Verdict
    found: str
    hint: str = ""


def doctor(home: Home = None, as_json: Json = False) -> None:
    """Check this machine: Python, memory, disk, ports, processes, libraries."""
    folder = home_path(home)
    checks = examine(folder)

    def draw(console: Console) -> None:
        made = table("check", "verdict", "found", "next")
        styles = {"ok": "green", "warning": "yellow", "error": "red"}
        for check in checks:
            made.add_row(check.name, Text(check.verdict, styles[check.verdict]), check.found, check.hint)
        console.print(made)

    answer(as_json).show(checks, draw)
    if any(check.verdict == "error" for check in checks):
        raise typer.Exit(1)


def examine(home: Path) -> list[Check]:
    """All checks, in the order a person would look."""
    checks: list[Callable[[], Check]] = [
        _python,
        _system,
        _fork,
        lambda: _memory(Path("/proc/meminfo")),
        _cgroup,
        lambda: _disk(home),
        lambda: _socket_path(home),
        lambda: _settings(home),
        lambda: _ports(home),
        _libraries,
        lambda: _kernel(home),
    ]
    return [check() for check in checks]


def _python() -> Check:
    found = sys.version.split()[0]
    return Check("python", "ok", found)


def _system() -> Check:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    if sys.platform != "linux":
        return Check("system", "error", sys.platform, "Kernos runs on Linux.")
    return Check("system", "ok", f"Linux, {cores} cpus")


def _fork() -> Check:
    """Runs are forked; sandboxes and limits on processes can forbid that."""
    try:
        child = os.fork()
    except OSError as error:
        return Check("fork", "error", str(error.strerror), "Raise the limit on processes: ulimit -u")
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return Check("fork", "ok", "a process can be forked")


def _memory(path: Path) -> Check:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return Check("memory", "warning", "unknown", "Mount /proc.")
    if free < _MEMORY_BYTES:
        return Check("memory", "warning", f"{show_bytes(free)} free", "Set kernel.run_memory_bytes lower.")
    return Check("memory", "ok", f"{show_bytes(free)} free")


def _cgroup() -> Check:
    """Without a cgroup, limits are kept by watching, which is a little later than Linux's own."""
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        return Check("cgroup", "ok", "version 2")
    return Check("cgroup", "ok", "none; limits are watched")


def _disk(home: Path) -> Check:
    place = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(place).free
    if not os.access(place, os.W_OK | os.X_OK):
        return Check("disk", "error", f"{place} cannot be written", "Choose another home: --home DIR")
    if free < _DISK_BYTES:
        return Check(
            "disk", "warning", f"{show_bytes(free)} free at {place}", "Free some, or choose another home."
        )
    return Check("disk", "ok", f"{show_bytes(free)} free at {place}")


def _socket_path(home: Path) -> Check:
    length = len(os.fsencode(home))
    if length > _SOCKET_PATH_BYTES:
        return Check(
            "home", "error", f"its path has {length} bytes", f"Choose one of {_SOCKET_PATH_BYTES} at most."
        )
    return Check("home", "ok", str(home))


def _settings(home: Path) -> Check:
    try:
        load_settings({"home": str(home)})
    except KernosError as error:
        return Check("settings", "error", error.message, error.hint)
    file = home / "kernos.toml"
    return Check("settings", "ok", str(file) if file.exists() else "defaults")


def _ports(home: Path) -> Check:
    """The ports that are asked for are free, unless this home's own kernel holds them."""
    try:
        settings = load_settings({"home": str(home)})
    except KernosError:
        return Check("ports", "warning", "unknown", "Correct the settings first.")
    if living_kernel(home) is not None:
        return Check("ports", "ok", "held by the kernel of this home")
    for name, host, port in (
        ("api", settings.api.host, settings.api.port),
        ("plane", settings.plane.host, settings.plane.port),
    ):
        if port and not _is_free(host, port):
            return Check(
                "ports", "error", f"{name}.port {port} is taken", f"Set {name}.port to another, or to 0."
            )
    return Check("ports", "ok", "free")


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except OSError:
            return False
    return True


def _libraries() -> Check:
    """By package metadata; nothing is imported."""
    missing = []
    for name in LIBRARIES:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Check("libraries", "error", f"missing: {', '.join(missing)}", "pip install kernos")
    return Check("libraries", "ok", f"{len(LIBRARIES)} of {len(LIBRARIES)}")


def _kernel(home: Path) -> Check:
    try:
        file = living_kernel(home)
    except KernosError as error:
        return Check("kernel", "error", error.message, error.hint)
    if file is None:
        return Check("kernel", "ok", "not running", "kernos up --detach")
    return Check("kernel", "ok", f"running, pid {file.pid}, {file.url}")
