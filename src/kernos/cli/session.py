"""Whom a command talks to, and how it answers: as a table for a person or as JSON for a program."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TextIO, cast

import msgspec
import typer
from rich.console import Console

from kernos.base.errors import InvalidError
from kernos.base.settings import load_settings
from kernos.client.api import Client

Home = Annotated[
    Path | None,
    typer.Option(
        "--home", help="The home of the kernel; KERNOS_HOME or ~/.kernos without it.", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.", show_default=False)]

_PIPE_COLUMNS = 4000
"""Width of what goes into a pipe or a file: nothing is cut or wrapped for a terminal that is not there."""


def home_path(home: Path | None) -> Path:
    """The flag, else KERNOS_HOME, else ~/.kernos."""
    return load_settings({"home": str(home)} if home else None).home_path


def connect(home: Path | None) -> Client:
    """KERNOS_URL with KERNOS_TOKEN where they are set and no home is named, else the home's own kernel."""
    environment = os.environ  # noqa: TID251 - the caller's credentials are no settings of a kernel
    url, token = environment.get("KERNOS_URL", ""), environment.get("KERNOS_TOKEN", "")
    if url and home is None:
        if not token:
            raise InvalidError("KERNOS_URL is set and KERNOS_TOKEN is not.", hint="Set both, or neither.")
        return Client.from_url(url, token)
    return Client.from_home(home_path(home))


@dataclass(frozen=True, slots=True)
class Answer:
    """Where a command's result goes. Only one of the two forms is ever printed."""

    as_json: bool
    console: Console

    def show(self, value: Any, draw: Callable[[Console], None]) -> None:
        """The whole result at once."""
        if self.as_json:
            write_json(value)
        else:
            draw(self.console)

    def line(self, value: Any, draw: Callable[[Console], None]) -> None:
        """One of many, as it comes: JSON lines."""
        if self.as_json:
            sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
            sys.stdout.flush()
        else:
            draw(self.console)


def answer(as_json: bool) -> Answer:
    return Answer(as_json, make_console())


def make_console(*, stderr: bool = False) -> Console:
    """Colours only on a terminal and never under NO_COLOR (no-color.org); full width in a pipe."""
    file = sys.stderr if stderr else sys.stdout
    if file.isatty():
        return Console(file=file, highlight=False, markup=False, emoji=False)
    trimmed = cast(TextIO, _Trimmed(file))
    return Console(file=trimmed, width=_PIPE_COLUMNS, highlight=False, markup=False, emoji=False)


class _Trimmed:
    """A pipe that gets no spaces at the ends of lines, with which tables fill their last column."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write("\n".join(line.rstrip(" ") for line in text.split("\n")))

    def flush(self) -> None:
        self._file.flush()

    def isatty(self) -> bool:
        return False


def write_json(value: Any) -> None:
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    sys.stdout.write(text + "\n")


def agree(plan: str, *, yes: bool) -> None:
    """Say what will be done, and have it agreed to. Without a terminal to ask on, only `--yes` agrees."""
    console = make_console(stderr=True)
    console.print(plan)
    if yes:
        return
    if not sys.stdin.isatty():
        raise InvalidError("Nobody can be asked here.", hint="Add --yes to agree beforehand.")
    if not typer.confirm("Go on?", err=True):
        raise typer.Exit(1)


def pairs(texts: Iterable[str]) -> dict[str, Any]:
    """`C=0.5 name=Ann flag=true` as values: JSON where it is JSON, else text."""
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InvalidError(f"{text!r} is not NAME=VALUE.", hint="Write it like C=0.5.")
        try:
            values[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            values[name] = value
    return values
