"""What there is for Runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kernos.base.settings import KernelSettings
from kernos.kernel.capacity import capacity


def test_settings_win() -> None:
    assert capacity(KernelSettings(cpus=1.5, memory_bytes=7)) == (1.5, 7)


def test_else_it_is_what_the_machine_has(tmp_path: Path) -> None:
    cpus, memory_bytes = capacity(KernelSettings(), tmp_path)

    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert cpus == len(os.sched_getaffinity(0))
    assert memory_bytes == round(0.8 * physical)


@pytest.mark.parametrize("name", ["memory.max", "memory/memory.limit_in_bytes"])
def test_a_container_may_allow_less(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("1000000\n")

    assert capacity(KernelSettings(), tmp_path)[1] == 800_000


def test_a_container_without_limit_allows_all(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")

    assert capacity(KernelSettings(), tmp_path)[1] > 2**20
