"""What this machine has for Runs: its cores and a share of its memory, less where a container allows less."""

from __future__ import annotations

import os
from pathlib import Path

from kernos.base.settings import KernelSettings

_MEMORY_SHARE = 0.8
_CGROUP_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")
"""Below /sys/fs/cgroup, version 2 and 1."""


def capacity(settings: KernelSettings, cgroup: Path = Path("/sys/fs/cgroup")) -> tuple[float, int]:
    """(CPUs, bytes of memory)."""
    cpus = settings.cpus or float(len(os.sched_getaffinity(0)))
    return cpus, settings.memory_bytes or round(_memory_bytes(cgroup) * _MEMORY_SHARE)


def _memory_bytes(cgroup: Path) -> int:
    amounts = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in _CGROUP_LIMITS:
        try:
            amounts.append(int((cgroup / name).read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return min(amounts)
