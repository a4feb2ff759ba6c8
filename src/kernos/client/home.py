"""Where the kernel of a home is reached: `kernel.json` beside the catalog, and the administrator's token."""

from __future__ import annotations

from pathlib import Path

import msgspec

from kernos.base.errors import CorruptError, UnavailableError
from kernos.base.files import write_atomic
from kernos.base.processes import ProcessId, is_alive


class KernelFile(msgspec.Struct, frozen=True):
    """`kernel.json`: written by a kernel when it is ready, removed when it ends in order."""

    pid: int
    started_ticks: int
    url: str
    """Of the control plane: `http://127.0.0.1:7070`."""
    socket: str
    """Path of the Unix socket with the same API."""
    plane_url: str = ""
    """Of the inference data plane; empty until it answers."""


def write_kernel_file(home: Path, file: KernelFile) -> None:
    write_atomic(home / "kernel.json", msgspec.json.encode(file), mode=0o600)


def read_kernel_file(home: Path) -> KernelFile | None:
    """What the last kernel of this home wrote; it may have died since. CorruptError if unreadable."""
    path = home / "kernel.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=KernelFile)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise CorruptError(
            f"{path} cannot be read: {error}.", hint="Remove it and start the kernel with `kernos up`."
        ) from error


def living_kernel(home: Path) -> KernelFile | None:
    """The kernel that runs for this home now, if any."""
    file = read_kernel_file(home)
    if file is None or not is_alive(ProcessId(file.pid, file.started_ticks)):
        return None
    return file


def need_kernel(home: Path) -> KernelFile:
    """`living_kernel`, or UnavailableError that says how to start one."""
    file = living_kernel(home)
    if file is None:
        raise UnavailableError(
            f"No kernel is running for {home}.", hint="Start it with `kernos up --detach`."
        )
    return file


def read_token(home: Path) -> str:
    """The home's administrator token. UnavailableError where there is none this user may read."""
    path = home / "token"
    try:
        return path.read_text(encoding="ascii").strip()
    except (FileNotFoundError, PermissionError) as error:
        raise UnavailableError(
            f"There is no token to read at {path}.",
            hint="Start the kernel with `kernos up`, or set KERNOS_URL and KERNOS_TOKEN.",
        ) from error
