"""The kernel's process: its settings, its port, and how it ends when it cannot start."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernos.base.errors import InvalidError, UnavailableError
from kernos.base.settings import ApiSettings, Settings
from kernos.main import _listen, _pair, main


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def listening(home: Path, port: int = 0, host: str = "127.0.0.1") -> int:
    listener = _listen(Settings(home=str(home), api=ApiSettings(host=host, port=port)), home)
    with listener:
        socket.create_connection(listener.getsockname()[:2], timeout=5).close()
        return int(listener.getsockname()[1])


def test_a_home_keeps_the_port_it_got(tmp_path: Path) -> None:
    port = listening(tmp_path)

    assert listening(tmp_path) == port
    assert (tmp_path / "api.port").read_text() == str(port)


def test_a_port_that_was_ours_and_is_taken_is_given_up(tmp_path: Path, taken: int) -> None:
    (tmp_path / "api.port").write_text(str(taken))

    assert listening(tmp_path) != taken


def test_a_port_that_is_asked_for_is_taken_or_refused(tmp_path: Path, taken: int) -> None:
    with pytest.raises(UnavailableError, match=f"Port {taken} on 127.0.0.1 cannot be taken") as caught:
        listening(tmp_path, taken)
    assert "--port" in caught.value.hint
    assert not (tmp_path / "api.port").exists()

    free = listening(tmp_path)
    assert listening(tmp_path, free) == free


@pytest.mark.parametrize("port", [-1, 65536, 70000])
def test_a_number_that_is_no_port_is_refused(tmp_path: Path, port: int) -> None:
    with pytest.raises(InvalidError, match=f"{port} is not a port"):
        listening(tmp_path, port)


def test_it_listens_on_the_other_loopback_too(tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("SKIPPED: this machine has no IPv6")

    assert listening(tmp_path, host="::1") > 0


def test_a_setting_is_a_name_and_a_value() -> None:
    assert _pair("api.port=7070") == ("api.port", "7070")
    assert _pair("a=b=c") == ("a", "b=c")
    with pytest.raises(InvalidError, match="not NAME=VALUE"):
        _pair("api.port")


@pytest.mark.parametrize(
    ("setting", "exit_code", "code"),
    [("api.prot=1", 2, "invalid"), ("api.port=x", 2, "invalid"), ("nonsense", 2, "invalid")],
)
def test_a_kernel_that_cannot_start_says_why_as_a_problem(
    setting: str,
    exit_code: int,
    code: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["kernos.main", "--set", f"home={tmp_path}", "--set", setting])

    assert main() == exit_code
    problem = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert problem["code"] == code
    assert problem["hint"]
