"""Runs on the command line: the table, one Run's story, its log, and what may be done to it."""

from __future__ import annotations

import sys
import threading
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from kernos.api.views import HomeView, LogView, RunPage, RunView, WhyView
from kernos.base.clock import SystemClock
from kernos.base.errors import InvalidError, NotFoundError
from kernos.cli.session import Home, Json, Yes, agree, answer, connect
from kernos.cli.show import events_table, home_group, runs_table
from kernos.client.api import Client

_LIVING = ["queued", "running"]
_REFRESH_S = 1.0
_FOLLOW_S = 0.4

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="A Run's number, or an App for its newest build.")
]


def ps(
    home: Home = None,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="Ended Runs too.", show_default=False)
    ] = False,
    state: Annotated[
        list[str] | None, typer.Option("--state", help="Only in this state.", show_default=False)
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help="Only of this kind.", show_default=False)
    ] = None,
    app: Annotated[str, typer.Option("--app", help="Only of this App.", show_default=False)] = "",
    parent: Annotated[
        int | None, typer.Option("--parent", help="Only children of this Run.", show_default=False)
    ] = None,
    below: Annotated[
        int | None, typer.Option("--below", help="Only older than this Run.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="How many at most.")] = 50,
    as_json: Json = False,
) -> None:
    """The Runs: what works, what waits, and why."""
    narrow = everything or bool(state or kind or app or parent or below)
    value = connect(home).runs(
        state=state or (None if narrow else _LIVING),
        kind=kind,
        app=app,
        parent=parent,
        below=below,
        limit=limit,
    )
    page = msgspec.convert(value, RunPage)

    def draw(console: Console) -> None:
        if not page.runs:
            what = "No such Run." if narrow else "Nothing works or waits. Ended Runs: kernos ps --all"
            console.print(Text(what, "dim"))
            return
        console.print(runs_table(page.runs))
        if page.next_below is not None:
            console.print(Text(f"older: kernos ps --all --below {page.next_below}", "dim"))

    answer(as_json).show(value, draw)


def top(home: Home = None, as_json: Json = False) -> None:
    """The whole machine at a glance, live until Ctrl-C; once in a pipe or with --json."""
    client = connect(home)
    out = answer(as_json)
    if as_json or not out.console.is_terminal:
        value = client.home()
        out.show(value, lambda console: console.print(_glance(value)))
        return
    pause = threading.Event()
    with Live(_glance(client.home()), console=out.console, screen=True, auto_refresh=False) as live:
        try:
            while not pause.wait(_REFRESH_S):
                live.update(_glance(client.home()), refresh=True)
        except KeyboardInterrupt:
            return


def why(run: RunArgument, home: Home = None, as_json: Json = False) -> None:
    """Why a Run is as it is: the causes, the Events, what to do next."""
    client = connect(home)
    value = client.why(find_run(client, run))
    view = msgspec.convert(value, WhyView)

    def draw(console: Console) -> None:
        console.print(runs_table([view.run]))
        console.print()
        for depth, cause in enumerate(view.because):
            console.print(Text(f"{'because  ' if depth == 0 else '         '}{cause}"))
        if view.events:
            console.print()
            console.print(events_table(view.events))
        if view.next:
            console.print()
            console.print(Text.assemble(("next     ", "dim"), view.next))

    answer(as_json).show(value, draw)


def logs(
    run: RunArgument,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until it ends.", show_default=False)
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """What a Run has printed."""
    client = connect(home)
    number = find_run(client, run)
    out = answer(as_json)
    offset, pause = 0, threading.Event()
    while True:
        value = client.log(number, offset)
        view = msgspec.convert(value, LogView)
        if view.text or as_json:
            out.line(value, lambda _, text=view.text: _write(text))  # type: ignore[misc]  # bound now, called now
        is_stuck = view.next_offset == offset
        offset = view.next_offset
        if view.ended or (is_stuck and not follow):
            return
        if is_stuck:
            pause.wait(_FOLLOW_S)


def stop(run: RunArgument, home: Home = None, yes: Yes = False, as_json: Json = False) -> None:
    """Stop a Run and its children; a build asks first."""
    client = connect(home)
    view = msgspec.convert(client.run(find_run(client, run)), RunView)
    if view.kind == "build":
        agree(f"This stops build {view.id} of {view.app} and all its Runs.", yes=yes)
    value = client.stop(view.id)
    answer(as_json).show(
        value, lambda console: console.print(f"Run {view.id} ({view.kind} {view.name}) is being stopped.")
    )


def nice(
    run: RunArgument,
    klass: Annotated[
        str,
        typer.Argument(metavar="[CLASS]", help="realtime, interactive, batch or idle.", show_default=False),
    ] = "",
    weight: Annotated[
        float | None, typer.Option("--weight", help="Its share within its class.", show_default=False)
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Give a Run another class, another weight, or both."""
    if not klass and weight is None:
        raise InvalidError("Nothing to change.", hint="Give a class, or --weight: kernos nice 13 interactive")
    client = connect(home)
    value = client.nice(find_run(client, run), klass, weight)
    view = msgspec.convert(value, RunView)
    answer(as_json).show(
        value, lambda console: console.print(f"Run {view.id} is {view.klass}, weight {view.weight:g}.")
    )


def find_run(client: Client, text: str) -> int:
    """A Run's number as it stands, or the newest build of the App of that name."""
    if text.isdecimal():
        return int(text)
    page = msgspec.convert(client.runs(app=text, kind="build", limit=1), RunPage)
    if not page.runs:
        raise NotFoundError(f"There is no Run and no build of an App {text!r}.", hint="kernos ps --all")
    return page.runs[0].id


def _glance(value: Any) -> Any:
    return home_group(msgspec.convert(value, HomeView), SystemClock().wall_ms())


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
