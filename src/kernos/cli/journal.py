"""The journal, Principals and Devices on the command line."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from kernos.api.views import AuditView, DeviceView, EventPage, EventView, PrincipalView
from kernos.base.clock import SystemClock
from kernos.base.errors import CorruptError, UnavailableError
from kernos.cli.session import Home, Json, answer, connect, write_json
from kernos.cli.show import events_table
from kernos.cli.table import ago, document, fields, state, table

_PROBLEMS_SHOWN = 20


def events(
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.", show_default=False)
    ] = False,
    subject: Annotated[
        str, typer.Option("--subject", help="run:13, /models/income@2, deployment:income", show_default=False)
    ] = "",
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=1000, help="How many of the newest.")
    ] = 30,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """The journal: what happened, when, by whom."""
    client = connect(home)
    value = client.events(limit=limit, subject=subject)
    page = msgspec.convert(value, EventPage)
    out = answer(as_json)
    if not follow:
        out.show(value, lambda console: console.print(events_table(page.events)))
        return
    for event in page.events:
        out.line(event, lambda console, one=event: console.print(event_line(one)))  # type: ignore[misc]  # called now
    try:
        for told in client.follow_events(page.next_after):
            event = msgspec.convert(told, EventView)
            if not subject or event.subject == subject:
                out.line(event, lambda console, one=event: console.print(event_line(one)))  # type: ignore[misc]
    except KeyboardInterrupt:
        return
    raise UnavailableError("The kernel has ended the stream.", hint="kernos status")


def event_line(event: EventView) -> Text:
    told = {
        key: value
        for key, value in event.payload.items()
        if isinstance(value, str | int | float) and value != ""
    }
    what = ", ".join(f"{key}={value}" for key, value in told.items())
    return Text.assemble(
        (f"{event.seq:>7}  ", "dim"), (f"{event.kind:<18}", "bold"), f"  {event.subject:<24}  ", (what, "dim")
    )


def audit_verify(home: Home = None, as_json: Json = False) -> None:
    """Prove that no Event and no row was changed behind the journal's back."""
    value = connect(home).audit()
    view = msgspec.convert(value, AuditView)

    def draw(console: Console) -> None:
        verdict = Text("intact", "green") if view.ok else Text("NOT intact", "bold red")
        console.print(
            fields(
                [
                    ("journal", verdict),
                    ("events", f"{view.size:,}"),
                    ("root", view.root),
                    (
                        "signed",
                        f"{view.signed_size:,} events by {view.key_id}" if view.signed_size else "not yet",
                    ),
                ]
            )
        )

    if view.ok:
        answer(as_json).show(value, draw)
        return
    if as_json:
        write_json(value)
        raise typer.Exit(CorruptError.exit)
    draw(answer(False).console)
    raise CorruptError(
        f"The journal does not verify: {len(view.problems)} problems.",
        hint="Restore the catalog from a backup; keep this one for whoever asks who changed it.",
        problems=view.problems[:_PROBLEMS_SHOWN],
    )


def principals_list(home: Home = None, as_json: Json = False) -> None:
    """Who may call."""
    value = connect(home).principals()
    views = msgspec.convert(value, list[PrincipalView])
    now_ms = SystemClock().wall_ms()

    def draw(console: Console) -> None:
        made = table("name", "kind", "role", "since", right=("since",))
        for view in views:
            made.add_row(view.name, view.kind, view.role, ago(view.at_ms, now_ms))
        console.print(made)

    answer(as_json).show(value, draw)


def principals_add(
    name: Annotated[str, typer.Argument(help="A name nobody has yet.", show_default=False)],
    role: Annotated[str, typer.Option("--role", help="admin, operator, viewer or infer.")] = "viewer",
    kind: Annotated[str, typer.Option("--kind", help="person, service, agent or device.")] = "person",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make a Principal and print its token, this once."""
    value = connect(home).add_principal(name, kind, role)

    def draw(console: Console) -> None:
        console.print(value["token"], soft_wrap=True)
        console.print(Text("Keep it: the kernel holds only its hash and cannot show it again.", "dim"))

    answer(as_json).show(value, draw)


def devices(home: Home = None, as_json: Json = False) -> None:
    """What Runs may be placed on, and what is absent, with the reason."""
    value = connect(home).devices()
    views = msgspec.convert(value, list[DeviceView])

    def draw(console: Console) -> None:
        made = table("device", "kind", "state", "detail")
        for view in views:
            made.add_row(
                view.name, view.kind, state(view.state), document(view.detail) if view.detail else ""
            )
        console.print(made)

    answer(as_json).show(value, draw)
