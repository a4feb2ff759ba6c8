"""A hint that names a command names one that exists."""

from __future__ import annotations

import re
from pathlib import Path

from kernos.cli.main import _FAMILIES, _VERBS

SOURCES = Path(__file__).parents[3] / "src" / "kernos"
NAMED = re.compile(r"[`\"';:] ?kernos ([a-z]+)(?: ([a-z]+))?")
PROSE = {"without"}


def test_every_command_in_a_message_exists() -> None:
    unknown = []
    for file in SOURCES.rglob("*.py"):
        for verb, second in NAMED.findall(file.read_text()):
            if verb in _FAMILIES:
                if second and second not in _FAMILIES[verb][1]:
                    unknown.append(f"{file.name}: kernos {verb} {second}")
            elif verb not in _VERBS and verb not in PROSE:
                unknown.append(f"{file.name}: kernos {verb}")
    assert unknown == []
