"""A Run's log: bounded, whole up to its limit, honest about the rest."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from kernos.kernel.output import Output


def drained(path: Path, data: bytes, limit_bytes: int, attempt: int = 1) -> Output:
    output = Output(path, attempt, limit_bytes)
    os.write(output.writing, data)
    os.close(output.writing)
    while output.drain():
        pass
    output.close()
    output.close()
    return output


@given(st.binary(max_size=200), st.integers(0, 250))
def test_a_log_is_what_was_printed_up_to_the_limit(
    tmp_path_factory: object, data: bytes, limit_bytes: int
) -> None:
    path = Path(tmp_path_factory.mktemp("log")) / "log"  # type: ignore[attr-defined] # pytest's factory has no public type

    output = drained(path, data, limit_bytes)

    log = path.read_bytes()
    assert log.startswith(data[:limit_bytes])
    assert (b"more were printed and dropped" in log) == (len(data) > limit_bytes)
    assert output.size_bytes == len(log)
    assert not output.is_open


def test_an_open_pipe_may_still_bring_more(tmp_path: Path) -> None:
    output = Output(tmp_path / "log", 1, 100)

    assert output.drain()
    os.close(output.writing)
    assert not output.drain()
    output.close()


def test_a_later_attempt_goes_on_in_the_same_log(tmp_path: Path) -> None:
    drained(tmp_path / "log", b"first\n", 100)
    drained(tmp_path / "log", b"second\n", 100, attempt=2)

    assert (tmp_path / "log").read_text() == "first\n[kernos: attempt 2]\nsecond\n"


def test_a_full_disk_drops_output_and_blocks_nobody() -> None:
    output = drained(Path("/dev/full"), b"lost", 100)

    assert output.size_bytes == 0
