"""What a Run is to the kernel: what was asked, what a worker gets, how it ended, what it used."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from kernos.base.ids import RunId
from kernos.catalog.records import RunClass, RunKind

Cause = Literal["", "stopped", "memory", "time", "processes", "lost"]
"""Why a process ended: by itself, at somebody's wish, at one of its limits, or with the machinery that ran
it."""


class RunSpec(msgspec.Struct, frozen=True):
    """What somebody asks for. A Run that only waits for its children takes `cpus=0`: it starts at once."""

    kind: RunKind
    app: str
    name: str
    owner: str
    parent: RunId | None = None
    key: str = ""
    klass: RunClass = "batch"
    weight: float = 1.0
    cpus: float = 1.0
    memory_bytes: int = 0
    """0 takes the setting `kernel.run_memory_bytes`."""
    wall_s: float = 0.0
    """0 takes the setting `kernel.run_wall_s`."""
    entry: str = ""
    payload: dict[str, Any] = {}
    retries: int = 0
    """How often a failed attempt is started again; a lost one has the setting `kernel.retries` besides."""


class Task(msgspec.Struct, frozen=True):
    """What a worker gets (`task.json`). Its entry is `def step(task: Task) -> dict`, JSON in and out."""

    run: RunId
    entry: str
    payload: dict[str, Any]
    home: str
    folder: str
    token: str
    socket: str
    attempt: int


class Limits(msgspec.Struct, frozen=True):
    cpus: float
    memory_bytes: int
    """Of all its processes together; memory shared with the warm parent counts by its share."""
    wall_s: float
    processes: int
    log_bytes: int


class Exit(msgspec.Struct, frozen=True):
    """How one attempt ended (`exit.json`), written by the process that waited for it."""

    run: RunId
    attempt: int
    code: int | None = None
    signal: int | None = None
    reason: Cause = ""
    cpu_s: float = 0.0
    peak_rss_bytes: int = 0
    wall_s: float = 0.0
    log_bytes: int = 0


class Usage(msgspec.Struct, frozen=True):
    """What a living Run has used so far: CPU time, and resident memory now, of all its processes."""

    cpu_s: float
    rss_bytes: int


class Why(msgspec.Struct, frozen=True):
    because: list[str]
    """The causes of the Run's state, the nearest first."""
    next: str
    """The command that helps next; may be empty."""
