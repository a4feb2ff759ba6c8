from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kernos.base.errors import InvalidError, UnavailableError
from kernos.cli.session import agree, connect, home_path, pairs


def test_values_are_json_where_they_are_and_text_elsewhere() -> None:
    assert pairs(["C=0.5", "n=3", "name=Ann", "flag=true", "none=null", "text=a=b", "empty="]) == {
        "C": 0.5, "n": 3, "name": "Ann", "flag": True, "none": None, "text": "a=b", "empty": "",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["C", "=1", ""])
def test_what_is_no_pair_is_told(text: str) -> None:
    with pytest.raises(InvalidError):
        pairs([text])


def test_the_home_is_the_flag_then_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KERNOS_HOME", str(tmp_path / "environment"))

    assert home_path(tmp_path / "flag") == tmp_path / "flag"
    assert home_path(None) == tmp_path / "environment"
    monkeypatch.delenv("KERNOS_HOME")
    assert home_path(None) == Path.home() / ".kernos"


def test_a_named_home_goes_before_the_url(kernel: Any, tmp_path: Path) -> None:
    kernel.answers["GET /v1/health"] = {"status": "ok"}

    assert connect(None).health() == {"status": "ok"}
    with pytest.raises(UnavailableError, match="No kernel"):
        connect(tmp_path)


def test_a_url_without_a_token_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNOS_URL", "http://127.0.0.1:1")

    with pytest.raises(InvalidError, match="KERNOS_TOKEN"):
        connect(None)


def test_without_a_terminal_only_yes_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    agree("This stops it.", yes=True)
    with pytest.raises(InvalidError) as caught:
        agree("This stops it.", yes=False)

    assert "--yes" in caught.value.hint
    assert capsys.readouterr().err.count("This stops it.") == 2
