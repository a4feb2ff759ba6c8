"""A worker: one attempt of one Run in its own process. It leaves a result, or a problem, or nothing."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from kernos.base.errors import FailedError, InvalidError, KernosError, to_problem
from kernos.kernel.folder import Result, read_task, write_result
from kernos.kernel.run import Task

_TRACEBACK_LINES = 12

Step = Callable[[Task], dict[str, Any]]


def main(folder: Path, cpus: float) -> int:
    """Run the task in `folder`; the exit code. An error's traceback goes to the log, its end into the
    problem."""
    task = read_task(folder)
    try:
        _refresh(cpus)
        result = Result(task.attempt, ok=_checked(task.entry, find(task.entry)(task)))
        write_result(folder, result)
    except BaseException as error:  # the outermost loop of a Run: whatever its code raises is its result
        traceback.print_exc()
        write_result(folder, Result(task.attempt, error=to_problem(_as_problem(task, error))))
        return 1
    return 0


def find(entry: str) -> Step:
    """The function behind `package.module:function` (or `package.module.function`)."""
    module_name, _, name = entry.replace(":", ".").rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise InvalidError(f"The module of {entry!r} cannot be imported: {error}.") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise InvalidError(
            f"{module_name} has no function {name}.", hint="Write it like kernos.loop.work:step."
        )
    return function  # type: ignore[no-any-return] # what it returns is checked when it has


def _checked(entry: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidError(f"{entry} returned {type(value).__name__}, not a dict.")
    return value


def _as_problem(task: Task, error: BaseException) -> KernosError:
    """A KernosError says what to do; anything else is the code's own, and its last lines say where."""
    if isinstance(error, KernosError):
        error.details = _plain(error.details)
        return error
    lines = traceback.format_exception(error)
    details = {"type": type(error).__name__, "traceback": "".join(lines).splitlines()[-_TRACEBACK_LINES:]}
    message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return FailedError(message[:2000], hint=f"kernos logs {task.run}", **details)


def _plain(details: dict[str, Any]) -> dict[str, Any]:
    """Details as they go into JSON, whatever an error was given."""
    plain: dict[str, Any] = msgspec.to_builtins(details, enc_hook=str, str_keys=True)
    return plain


def _refresh(cpus: float) -> None:
    """Undo what a fork copies and must not: numpy's random state, and pools of one thread where more were
    asked for."""
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()
    threads = max(1, int(cpus))
    if threads == 1:
        return
    os.environ.update(dict.fromkeys(THREAD_LIMITS, str(threads)))  # noqa: TID251 - libraries read these, not Kernos
    polars = sys.modules.get("polars._plr")
    if polars is not None and hasattr(polars, "config_reload_env_var"):
        polars.config_reload_env_var("POLARS_MAX_THREADS")
    if "threadpoolctl" in sys.modules:
        sys.modules["threadpoolctl"].threadpool_limits(threads)


THREAD_LIMITS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
"""Environment variables that say how many threads a library starts."""
