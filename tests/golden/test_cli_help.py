from __future__ import annotations

from collections.abc import Callable

import pytest

from kernos.cli.main import _FAMILIES, _VERBS, run


def test_help_of_every_command(
    golden: Callable[[str, str], None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    commands: list[tuple[str, ...]] = [(), *((verb,) for verb in _VERBS)]
    commands += [(family, verb) for family, (_, verbs) in _FAMILIES.items() for verb in verbs]

    for words in commands:
        assert run([*words, "--help"]) == 0

    golden("cli_help.txt", capsys.readouterr().out)
