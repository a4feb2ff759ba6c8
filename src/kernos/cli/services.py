"""Services on the command line: how they do, ask one, tell it the truth, move its versions."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from kernos.api.views import ServiceView
from kernos.base.clock import SystemClock
from kernos.base.errors import InvalidError
from kernos.cli.question import answer_rows, question
from kernos.cli.session import Home, Json, Yes, agree, answer, connect, pairs
from kernos.cli.show import service_details, services_table
from kernos.cli.table import table

AppArgument = Annotated[str, typer.Argument(metavar="APP", help="The App's name.", show_default=False)]


def services(
    app: Annotated[
        str, typer.Argument(metavar="[APP]", help="One service in full.", show_default=False)
    ] = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """What is served: versions, traffic, drift, accuracy."""
    client = connect(home)
    now_ms = SystemClock().wall_ms()
    out = answer(as_json)
    if app:
        value = client.service(app)
        view = msgspec.convert(value, ServiceView)
        out.show(value, lambda console: console.print(service_details(view, now_ms)))
        return
    value = client.services()
    views = msgspec.convert(value, list[ServiceView])

    def draw(console: Console) -> None:
        if views:
            console.print(services_table(views, now_ms))
        else:
            console.print(Text("Nothing is in service. Next: kernos run app.py", "dim"))

    out.show(value, draw)


def predict(
    app: AppArgument,
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="NAME=VALUE… | JSON", help="One row, or JSON: a row or a list of rows."),
    ],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Ask a service for predictions, by the Open Inference Protocol."""
    client = connect(home)
    request = question(_rows(inputs), client.model(app))
    value = client.infer(app, request)
    prediction = value.get("parameters", {}).get("prediction_id", "")

    def draw(console: Console) -> None:
        names, rows = answer_rows(value)
        made = table(*names, right=names)
        for row in rows:
            made.add_row(*row)
        console.print(made)
        version = value.get("model_version", "")
        console.print(Text(f"{app} version {version}   prediction {prediction}", "dim"))
        console.print(Text(f"why: kernos lineage pred:{prediction}", "dim"))

    answer(as_json).show(value, draw)


def feedback(
    prediction: Annotated[
        str, typer.Argument(metavar="ID", help="A prediction's id, or ID:ROW.", show_default=False)
    ],
    values: Annotated[list[str], typer.Argument(metavar="NAME=VALUE…", help="What turned out to be true.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Tell what turned out to be true of a prediction."""
    value = connect(home).feedback(prediction, pairs(values))
    answer(as_json).show(value, lambda console: console.print(f"Noted for {prediction}."))


def deploy(
    app: AppArgument,
    version: Annotated[int, typer.Argument(min=1, help="Of /packages/APP.")],
    home: Home = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Put a package into service, as a canary where the App says so."""
    client = connect(home)
    package = client.artifact(f"/packages/{app}@{version}")
    agree(f"This puts {package['ref']} into service. {_stands(client, app)}", yes=yes)
    value = client.deploy(app, version)
    _told(value, as_json)


def rollback(app: AppArgument, home: Home = None, yes: Yes = False, as_json: Json = False) -> None:
    """Go back to the version before; a canary is taken away."""
    client = connect(home)
    view = msgspec.convert(client.service(app), ServiceView)
    if view.canary is not None:
        plan = f"This takes the canary, version {view.canary} of {app}, away; version {view.live} stays live."
    elif view.previous is not None:
        plan = f"This puts version {view.previous} of {app} live in place of version {view.live}."
    else:
        plan = f"{app} has no version before {view.live}."
    agree(plan, yes=yes)
    _told(client.rollback(app), as_json)


def _told(value: Any, as_json: bool) -> None:
    view = msgspec.convert(value, ServiceView)
    answer(as_json).show(
        value, lambda console: console.print(services_table([view], SystemClock().wall_ms()))
    )


def _stands(client: Any, app: str) -> str:
    standing = [service for service in client.services() if service["app"] == app]
    return f"Live now: version {standing[0]['live']}." if standing else "Nothing of it is live now."


def _rows(inputs: list[str]) -> Any:
    """`bmi=24 age=50` as one row; or what stands in the one JSON argument."""
    if len(inputs) == 1 and inputs[0].lstrip()[:1] in ("{", "["):
        try:
            return msgspec.json.decode(inputs[0])
        except msgspec.DecodeError as error:
            raise InvalidError(f"This is not JSON: {error}.", hint="Quote it: '{\"bmi\": 24.1}'") from error
    return pairs(inputs)
