"""What the data plane's process refuses before it serves, and what its desk answers."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernos.base.errors import ConflictError
from kernos.serve.plane import main


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """`main` sets the process's logging: put it back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_taken_port_is_an_error_that_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code = main(["--home", str(tmp_path), "--port", str(taken.getsockname()[1])])

    assert code == ConflictError.exit
    said = capsys.readouterr().err
    assert "is taken" in said
    assert "plane.port" in said


@pytest.mark.parametrize(
    ("host", "port", "told"),
    [
        ("0.0.0.0", "0", "without TLS"),
        ("example.org", "0", "not an address"),
        ("127.0.0.1", "70000", "not a port"),
    ],
)
def test_an_address_that_is_not_loopback_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], host: str, port: str, told: str
) -> None:
    assert main(["--home", str(tmp_path), "--host", host, "--port", port]) != 0
    assert told in capsys.readouterr().err


def test_a_damaged_wanted_file_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "plane").mkdir()
    (tmp_path / "plane" / "wanted.json").write_text("{")

    assert main(["--home", str(tmp_path)]) == 9
    assert "wanted.json cannot be read" in capsys.readouterr().err


def test_an_unknown_setting_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kernos.toml").write_text("[plane]\nports = 1\n")

    assert main(["--home", str(tmp_path)]) == 2
    assert "plane.port" in capsys.readouterr().err
