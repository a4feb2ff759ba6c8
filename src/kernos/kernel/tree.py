"""Processes below a process, read from /proc: who they are, what they hold, and how to end them all."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterable
from pathlib import Path

from kernos.base.processes import cpu_seconds, pss_bytes, rss_bytes

_GONE = (FileNotFoundError, ProcessLookupError, PermissionError, NotADirectoryError)


def children(pid: int) -> set[int]:
    """Direct children, zombies included. May miss one that ends while it is read: ask again."""
    found: set[int] = set()
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except _GONE:
        return found
    for thread in threads:
        try:
            text = Path(f"/proc/{pid}/task/{thread}/children").read_text()
        except _GONE:
            continue
        found.update(int(word) for word in text.split())
    return found


def descendants(pid: int) -> set[int]:
    found: set[int] = set()
    unseen = [pid]
    while unseen:
        new = children(unseen.pop()) - found
        found |= new
        unseen.extend(new)
    return found


def kill(pids: Iterable[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def rss_sum(pids: Iterable[int]) -> int:
    return sum(rss_bytes(pid) for pid in pids)


def pss_sum(pids: Iterable[int]) -> int:
    return sum(pss_bytes(pid) for pid in pids)


def cpu_sum(pids: Iterable[int]) -> float:
    return sum(cpu_seconds(pid) for pid in pids)


def marked(mark: str) -> set[int]:
    """Living processes, but this one, that carry `NAME=value` in the environment they began with."""
    found: set[int] = set()
    wanted = mark.encode()
    for name in os.listdir("/proc"):
        if not name.isdecimal() or int(name) == os.getpid():
            continue
        try:
            environment = Path(f"/proc/{name}/environ").read_bytes()
        except (*_GONE, OSError):
            continue
        if wanted in environment.split(b"\0"):
            found.add(int(name))
    return found


def end(pids: Iterable[int], timeout_s: float) -> None:
    """Kill these processes and wait until they are gone, or the time is up."""
    handles: list[int] = []
    for pid in pids:
        try:
            handles.append(os.pidfd_open(pid))
        except ProcessLookupError:
            continue
        kill([pid])
    for handle in handles:
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        poller.poll(timeout_s * 1000)
        os.close(handle)
