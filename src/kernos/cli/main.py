"""`kernos`: every verb, thin over the API. A heavy library is imported by the verb that needs it alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from kernos.base.errors import InvalidError, KernosError
from kernos.base.version import VERSION
from kernos.cli import artifacts, build, demo, doctor, journal, kernel, packages, runs, services
from kernos.cli.problem import report
from kernos.cli.session import Json, answer, make_console

_INTERRUPTED = 130
"""128 and the number of SIGINT, as shells have it."""


class Grouped(TyperGroup):
    """Help that lists the verbs by what they are about, in the order a newcomer meets them."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for title, verbs in _GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name, self._short_help(ctx, name)) for name in verbs])

    def _short_help(self, ctx: Any, name: str) -> str:
        command = self.get_command(ctx, name)
        return command.get_short_help_str(limit=90) if command else ""


def make_app() -> typer.Typer:
    """The command line as a Typer application."""
    app = typer.Typer(
        name="kernos",
        cls=Grouped,
        help="Kernos: an AI operating system. One kernel, one catalog, one journal.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name, verb in _VERBS.items():
        app.command(name)(verb)
    for name, (about, verbs) in _FAMILIES.items():
        family = typer.Typer(name=name, help=about, no_args_is_help=True, rich_markup_mode=None)
        for verb_name, verb in verbs.items():
            family.command(verb_name)(verb)
        app.add_typer(family)
    return app


def version(as_json: Json = False) -> None:
    """Print the version."""
    answer(as_json).show({"version": VERSION}, lambda console: console.print(f"kernos {VERSION}"))


def main() -> None:
    """The `kernos` command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """One command; its exit code. Every error is printed here and nowhere else."""
    as_json = "--json" in arguments
    console = make_console(stderr=True)
    try:
        code = make_app()(args=list(arguments), prog_name="kernos", standalone_mode=False)
    except KernosError as error:
        return report(error, console, as_json=as_json)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except typer.Abort:
        return 1
    except BrokenPipeError:
        return _silence()
    except Exception as error:
        told = _usage_error(error)
        if told is None:
            raise
        return report(told, console, as_json=as_json)
    return code if isinstance(code, int) else 0


def _usage_error(error: Exception) -> InvalidError | None:
    """What Typer says of wrong arguments; its exceptions share this method, not a public class."""
    tell = getattr(error, "format_message", None)
    if tell is None:
        return None
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "kernos"
    return InvalidError(str(tell()).strip() or "Something is missing.", hint=f"{command} --help")


def _silence() -> int:
    """The reader of the pipe has gone (`kernos ps | head`): nothing more is written, not even at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


_VERBS: dict[str, Callable[..., None]] = {
    "up": kernel.up,
    "down": kernel.down,
    "status": kernel.status,
    "console": kernel.console,
    "doctor": doctor.doctor,
    "version": version,
    "demo": demo.demo,
    "run": build.run,
    "ps": runs.ps,
    "top": runs.top,
    "why": runs.why,
    "logs": runs.logs,
    "stop": runs.stop,
    "nice": runs.nice,
    "ingest": artifacts.ingest,
    "ls": artifacts.ls,
    "show": artifacts.show,
    "lineage": artifacts.lineage,
    "diff": artifacts.diff,
    "services": services.services,
    "predict": services.predict,
    "feedback": services.feedback,
    "deploy": services.deploy,
    "rollback": services.rollback,
    "events": journal.events,
    "devices": journal.devices,
}
_FAMILIES: dict[str, tuple[str, dict[str, Callable[..., None]]]] = {
    "apps": ("The Apps there are.", {"list": build.list_apps, "add": build.add}),
    "audit": ("Prove the journal.", {"verify": journal.audit_verify}),
    "principals": ("Who may call.", {"list": journal.principals_list, "add": journal.principals_add}),
    "package": ("Look into a package file.", {"verify": packages.verify, "show": packages.show}),
}
_GROUPS: dict[str, list[str]] = {
    "Kernel": ["up", "down", "status", "console", "doctor", "version"],
    "Work": ["demo", "run", "apps", "ps", "top", "why", "logs", "stop", "nice"],
    "Artifacts": ["ingest", "ls", "show", "lineage", "diff"],
    "Services": ["services", "predict", "feedback", "deploy", "rollback"],
    "Trust": ["events", "audit", "principals", "package", "devices"],
}
"""Every verb stands in one of these; a test compares."""

if __name__ == "__main__":
    main()
