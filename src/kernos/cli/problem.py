"""An error for a person: what happened, why, what to do next; with --json, the problem document."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from kernos.base.errors import KernosError, to_problem
from kernos.cli.session import write_json

_ROWS = 5
"""Details beyond these are for programs."""


def report(error: KernosError, console: Console, *, as_json: bool) -> int:
    """Print the error; its exit code."""
    if as_json:
        write_json(to_problem(error))
        return error.exit
    console.print(Text.assemble((f"{error.code.replace('_', ' ')}: ", "bold red"), error.message))
    for line in _details(error):
        console.print(Text(f"  {line}", "dim"))
    if error.hint:
        first, *others = error.hint.splitlines()
        console.print(Text.assemble(("next: ", "bold"), first))
        for line in others:
            console.print(Text(f"{' ' * len('next: ')}{line}"))
    return error.exit


def _details(error: KernosError) -> list[str]:
    lines = []
    for name, value in error.details.items():
        if name == "type":
            continue
        if name == "traceback" and isinstance(value, list):
            lines += [str(item) for item in value[-_ROWS:]]
            continue
        values = value if isinstance(value, list) else [value]
        lines += [f"{name}: {item}" for item in values[:_ROWS]]
        if len(values) > _ROWS:
            lines.append(f"{name}: and {len(values) - _ROWS} more")
    return lines
