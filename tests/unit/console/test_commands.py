from __future__ import annotations

import re
import shlex
from html import unescape
from typing import Any

import pytest
from typer.main import get_command

from kernos.cli.main import make_app
from kernos.console import commands

PAGES = [
    "/", "/runs", "/runs?app=none", "/runs/24", "/runs/19", "/runs/24/stop", "/apps", "/apps/diabetes", "/services",
    "/services/diabetes", "/services/wine", "/services/diabetes/rollback", "/catalog", "/catalog?prefix=/none",
    "/catalog/versions?path=/packages/diabetes", "/catalog/version?ref=/packages/diabetes@2", "/catalog/lineage",
    "/catalog/diff", "/audit", "/login",
]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (commands.runs(), "kernos ps --all"),
        (
            commands.runs("failed", "build", "my app", 3),
            "kernos ps --state failed --kind build --app 'my app' --parent 3",
        ),
        (commands.rollback("a;rm -rf /"), "kernos rollback 'a;rm -rf /'"),
        (commands.artifacts(""), "kernos ls"),
        (commands.artifacts("/data/收入"), "kernos ls '/data/收入'"),
        (commands.diff("/data/a@1", ""), "kernos diff /data/a@1 @2"),
        (commands.lineage("pred:a b"), "kernos lineage 'pred:a b'"),
    ],
)
def test_names_are_quoted_for_the_shell(line: str, wanted: str) -> None:
    assert line == wanted


@pytest.mark.parametrize("path", PAGES)
def test_every_command_a_page_shows_exists(client: Any, path: str) -> None:
    root: Any = get_command(make_app())
    shown = [unescape(line) for line in re.findall(r'data-copy="([^"]*)"', client.get(path).text)]

    assert shown
    for line in shown:
        program, verb, *rest = shlex.split(line)
        command = root.commands[verb]
        if hasattr(command, "commands"):
            command = command.commands[rest.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert program == "kernos"
        assert {word for word in rest if word.startswith("-")} <= known
