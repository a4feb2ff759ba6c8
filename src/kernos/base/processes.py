"""Processes of this machine by (pid, start time), so that a reused pid is never mistaken for the old process."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import msgspec


class ProcessId(msgspec.Struct, frozen=True):
    pid: int
    started_ticks: int
    """Field 22 of /proc/PID/stat: clock ticks after boot."""


def identify(pid: int) -> ProcessId | None:
    """The process behind `pid` now, or None where there is none (zombies count as gone)."""
    fields = _stat(pid)
    if fields is None or fields[0] in {"Z", "X"}:
        return None
    return ProcessId(pid, int(fields[19]))


def is_alive(process: ProcessId) -> bool:
    return identify(process.pid) == process


def kill_group(process: ProcessId, number: int = signal.SIGKILL) -> None:
    """Signal the process group that `process` leads, if it is still that process."""
    if is_alive(process):
        try:
            os.killpg(process.pid, number)
        except (ProcessLookupError, PermissionError):
            return


def pss_bytes(pid: int) -> int:
    """Proportional set size: shared pages counted once among those who share them. 0 if gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def rss_bytes(pid: int) -> int:
    """Resident set size. 0 if gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError):
        return 0


def cpu_seconds(pid: int) -> float:
    """User and system time spent so far. 0 if gone."""
    fields = _stat(pid)
    if fields is None:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()
