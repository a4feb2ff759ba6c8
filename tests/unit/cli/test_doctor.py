from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from kernos.cli.doctor import _is_free, _memory, _socket_path, examine


def test_this_machine_is_examined_without_a_kernel(kernos: Any) -> None:
    done = kernos("doctor")

    assert done.code == 0, done.out
    names = [line.split()[0] for line in done.out.splitlines()[1:]]
    assert names[:4] == ["python", "system", "fork", "memory"]
    assert "kernos up --detach" in done.out


def test_json_has_every_check(kernos: Any, tmp_path: Path) -> None:
    checks = kernos("doctor", "--json").json

    assert [check["name"] for check in checks] == [check.name for check in examine(tmp_path)]


def test_a_wrong_setting_is_an_error_with_exit_code_one(kernos: Any, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "kernos.toml").write_text("[api]\nprot = 7070\n")

    done = kernos("doctor", "--home", str(home))

    assert "Did you mean api.port?" in done.out + done.err
    assert done.code != 0


def test_a_port_that_is_taken_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        assert not _is_free("127.0.0.1", port)


def test_a_home_too_long_for_a_socket_is_an_error(tmp_path: Path) -> None:
    assert _socket_path(tmp_path / ("x" * 120)).verdict == "error"
    assert _socket_path(Path("/srv")).verdict == "ok"


@pytest.mark.parametrize(
    ("text", "verdict"),
    [("MemAvailable: 99999999 kB\n", "ok"), ("MemAvailable: 1000 kB\n", "warning"), ("", "warning")],
)
def test_little_memory_is_a_warning(tmp_path: Path, text: str, verdict: str) -> None:
    path = tmp_path / "meminfo"
    path.write_text(text)

    assert _memory(path).verdict == verdict
