"""Steps that behave and misbehave: what the executor's contract and the fault tests run in workers."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from kernos.base.errors import RefusedError
from kernos.kernel.run import Task

_BLOCK = b"x" * 2**20


def nothing(task: Task) -> dict[str, Any]:
    return {}


def echo(task: Task) -> dict[str, Any]:
    print(f"run {task.run} attempt {task.attempt}")  # noqa: T201 - it shows that prints reach the log
    return {"payload": task.payload, "attempt": task.attempt}


def fail(task: Task) -> dict[str, Any]:
    raise ValueError("this step raises")


def refuse(task: Task) -> dict[str, Any]:
    raise RefusedError("the rows are wrong", hint="correct them", rows=[1, 2])


def vanish(task: Task) -> dict[str, Any]:
    """End without a result."""
    os._exit(int(task.payload.get("code", 3)))


def crash(task: Task) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGSEGV)
    return {}


def hang(task: Task) -> dict[str, Any]:
    threading.Event().wait()
    return {}


def mark_and_wait(task: Task) -> dict[str, Any]:
    """Leave a line per attempt in a file, wait, and count the completion in another."""
    _append(Path(task.payload["begun"]), f"{task.run} {task.attempt}\n")
    threading.Event().wait(float(task.payload["seconds"]))
    _append(Path(task.payload["completed"]), f"{task.run} {task.attempt}\n")
    return {"attempt": task.attempt}


def fail_first(task: Task) -> dict[str, Any]:
    if task.attempt == 1:
        raise ValueError("not at the first attempt")
    return {"attempt": task.attempt}


def fork_many(task: Task) -> dict[str, Any]:
    """Fork sleepers, every second one in a session of its own; write their pids and end, or stay with
    them."""
    pids = [_sleeper(own_session=number % 2 == 0) for number in range(int(task.payload["count"]))]
    Path(task.payload["pids"]).write_text(" ".join(map(str, pids)))
    return hang(task) if task.payload.get("stay") else {"forked": len(pids)}


def eat_memory(task: Task) -> dict[str, Any]:
    hoard = []
    while True:
        hoard.append(bytearray(_BLOCK))


def shout(task: Task) -> dict[str, Any]:
    """Write that many bytes to standard output."""
    left = int(task.payload["bytes"])
    while left > 0:
        left -= os.write(1, _BLOCK[: min(left, len(_BLOCK))])
    return {"is_interactive": sys.stdin.isatty()}


def _append(path: Path, line: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def _sleeper(*, own_session: bool) -> int:
    pid = os.fork()
    if pid == 0:
        if own_session:
            os.setsid()
        threading.Event().wait()
        os._exit(0)
    return pid
