from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from kernos.base.errors import CorruptError, UnavailableError
from kernos.base.processes import identify
from kernos.client.home import (
    KernelFile,
    living_kernel,
    need_kernel,
    read_kernel_file,
    read_token,
    write_kernel_file,
)


def _write(home: Path, ticks: int = 0) -> KernelFile:
    me = identify(os.getpid())
    assert me is not None
    file = KernelFile(me.pid, ticks or me.started_ticks, "http://127.0.0.1:7070", str(home / "kernel.sock"))
    write_kernel_file(home, file)
    return file


def test_a_living_kernel_is_found(tmp_path: Path) -> None:
    file = _write(tmp_path)

    assert living_kernel(tmp_path) == need_kernel(tmp_path) == file
    assert stat.S_IMODE((tmp_path / "kernel.json").stat().st_mode) == 0o600


def test_a_reused_pid_is_not_taken_for_the_kernel(tmp_path: Path) -> None:
    file = _write(tmp_path, ticks=1)

    assert read_kernel_file(tmp_path) == file
    assert living_kernel(tmp_path) is None


def test_without_a_kernel_the_error_says_how_to_start_one(tmp_path: Path) -> None:
    assert read_kernel_file(tmp_path) is None
    with pytest.raises(UnavailableError) as caught:
        need_kernel(tmp_path)

    assert "kernos up" in caught.value.hint


def test_a_file_that_cannot_be_read_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / "kernel.json").write_text('{"pid": "x"}')

    with pytest.raises(CorruptError):
        read_kernel_file(tmp_path)


def test_a_field_of_a_newer_kernel_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "kernel.json").write_text(
        '{"pid":1,"started_ticks":2,"url":"u","socket":"s","colour":"blue"}'
    )

    assert read_kernel_file(tmp_path) == KernelFile(1, 2, "u", "s")


def test_the_token_is_read_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("kernos_x\n")

    assert read_token(tmp_path) == "kernos_x"
    with pytest.raises(UnavailableError):
        read_token(tmp_path / "elsewhere")
