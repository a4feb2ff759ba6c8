"""The Devices of this machine, as the operating system tells of them. What is absent says so."""

from __future__ import annotations

import os
from pathlib import Path

from kernos.api.views import DeviceView


def devices_here(root: Path) -> list[DeviceView]:
    """CPU and GPU. `root` is where /proc and /sys lie below."""
    return [_cpu(root), _gpu(root)]


def _memory_bytes(root: Path) -> int:
    """All of the machine's memory; 0 where it is not told."""
    fields = _fields(root / "proc/meminfo")
    return int(fields.get("MemTotal", "0 kB").split()[0]) * 1024


def _cpu(root: Path) -> DeviceView:
    fields = _fields(root / "proc/cpuinfo")
    detail = {
        "model": fields.get("model name", "unknown"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": _memory_bytes(root),
    }
    return DeviceView("cpu", "cpu", "available", detail)


def _gpu(root: Path) -> DeviceView:
    version = root / "proc/driver/nvidia/version"
    try:
        driver = version.read_text(encoding="utf-8").splitlines()[0].removeprefix("NVRM version:").strip()
    except (OSError, IndexError):
        return DeviceView("gpu", "gpu", "unavailable: no NVIDIA driver is loaded", {})
    return DeviceView("gpu", "gpu", "unavailable: this Kernos places no Runs on GPUs", {"driver": driver})


def _fields(path: Path) -> dict[str, str]:
    """The first value of each `name: value` line."""
    fields: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return fields
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    return fields
