"""A Run's folder: task, result and exit, each whole or absent, each of one attempt.

These files outlive processes, not power cuts: no fsync, for a power cut ends the Run as well. What is worth
keeping is committed to the catalog; a file that does not parse counts as absent and its Run as lost.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from kernos.base.ids import RunId
from kernos.kernel.run import Exit, Task

_T = TypeVar("_T")

RESULT_LIMIT_BYTES = 16 * 2**20
"""A result is a document for the catalog; data goes by digest."""


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the worker returned, or the problem it ended with."""

    attempt: int
    ok: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


def folder_of(home: Path, run: RunId) -> Path:
    return home / "runs" / str(run)


def write_task(task: Task) -> None:
    """Private to the user: the task holds the Run's token."""
    folder = Path(task.folder)
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / "task.json", msgspec.json.encode(task))


def read_task(folder: Path) -> Task:
    return msgspec.json.decode((folder / "task.json").read_bytes(), type=Task)


def write_result(folder: Path, result: Result) -> None:
    """Raises TypeError where the value is not JSON-able, ValueError where it is too large."""
    data = msgspec.json.encode(result)
    if len(data) > RESULT_LIMIT_BYTES:
        raise ValueError(f"the result has {len(data)} bytes, {RESULT_LIMIT_BYTES} is the limit")
    _replace(folder / "result.json", data)


def read_result(folder: Path, attempt: int) -> Result | None:
    """The result of this attempt, or None where it left none."""
    result = _read(folder / "result.json", Result)
    return result if result is not None and result.attempt == attempt else None


def write_exit(folder: Path, exit_: Exit) -> None:
    _replace(folder / "exit.json", msgspec.json.encode(exit_))


def read_exit(folder: Path, attempt: int) -> Exit | None:
    """How this attempt ended, or None where nobody saw it end."""
    exit_ = _read(folder / "exit.json", Exit)
    return exit_ if exit_ is not None and exit_.attempt == attempt else None


def clear(folder: Path) -> None:
    """Make room for a new attempt: what an earlier one left is gone, its log stays."""
    for name in ("result.json", "exit.json"):
        (folder / name).unlink(missing_ok=True)


def _read(path: Path, kind: type[_T]) -> _T | None:
    try:
        with path.open("rb") as file:
            data = file.read(RESULT_LIMIT_BYTES + 1)
        return msgspec.json.decode(data, type=kind)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    temporary.replace(path)
