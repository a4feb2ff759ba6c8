"""A Run's folder: whole files of one attempt, or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernos.base.ids import RunId
from kernos.kernel import folder
from kernos.kernel.folder import Result
from kernos.kernel.run import Exit, Task


def test_what_was_written_reads_back(tmp_path: Path) -> None:
    where = folder.folder_of(tmp_path, RunId(3))
    task = Task(RunId(3), "m:f", {"a": 1}, str(tmp_path), str(where), "secret", "sock", 1)

    folder.write_task(task)
    folder.write_result(where, Result(1, ok={"b": 2}))
    folder.write_exit(where, Exit(RunId(3), 1, code=0))

    assert folder.read_task(where) == task
    assert folder.read_result(where, 1) == Result(1, ok={"b": 2})
    assert folder.read_exit(where, 1) == Exit(RunId(3), 1, code=0)
    assert (where / "task.json").stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in where.iterdir()) == ["exit.json", "result.json", "task.json"]


def test_another_attempts_files_count_as_absent(tmp_path: Path) -> None:
    folder.write_result(tmp_path, Result(1, ok={}))
    folder.write_exit(tmp_path, Exit(RunId(3), 1))

    assert folder.read_result(tmp_path, 2) is None
    assert folder.read_exit(tmp_path, 2) is None


@pytest.mark.parametrize("data", [b"", b'{"attempt": 1', b"[]", b'{"attempt": "one"}', b"\xff"])
def test_a_broken_file_counts_as_absent(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "result.json").write_bytes(data)

    assert folder.read_result(tmp_path, 1) is None


def test_a_missing_folder_has_no_result(tmp_path: Path) -> None:
    assert folder.read_result(tmp_path / "none", 1) is None


def test_too_large_a_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is the limit"):
        folder.write_result(tmp_path, Result(1, ok={"x": "x" * folder.RESULT_LIMIT_BYTES}))

    assert folder.read_result(tmp_path, 1) is None


def test_a_new_attempt_clears_all_but_the_log(tmp_path: Path) -> None:
    folder.write_result(tmp_path, Result(1, ok={}))
    folder.write_exit(tmp_path, Exit(RunId(3), 1))
    (tmp_path / "log").touch()

    folder.clear(tmp_path)
    folder.clear(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["log"]
