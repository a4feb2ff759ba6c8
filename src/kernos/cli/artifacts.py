"""Artifacts on the command line: bring data in, list, look, compare, and ask where a thing comes from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from kernos.api.views import AppView, ArtifactLine, LineageView, RunView, VersionView
from kernos.base.clock import SystemClock
from kernos.base.errors import FailedError, InvalidError, NotFoundError, from_problem
from kernos.cli.session import Home, Json, answer, connect
from kernos.cli.show import app_details, artifacts_table, lineage_tree, run_details, version_details
from kernos.cli.table import document

_ENDED = {"done", "cached", "failed", "stopped"}
_WAIT_S = 20.0


def ingest(
    file: Annotated[Path, typer.Argument(help="CSV, JSON lines or Parquet.", show_default=False)],
    name: Annotated[
        str,
        typer.Option(
            "--name", "-n", help="Of the dataset: /data/NAME. The file's own without it.", show_default=False
        ),
    ] = "",
    app: Annotated[
        str, typer.Option("--app", help="The App whose data contract it must keep.", show_default=False)
    ] = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make a file the next version of a dataset, checked row by row."""
    if not file.is_file():
        raise NotFoundError(
            f"There is no file {file}.", hint="Give the path of a CSV, JSON lines or Parquet file."
        )
    client = connect(home)
    value = client.ingest(str(file.resolve()), name or _name(file), app)
    while value["state"] not in _ENDED:
        value = client.wait(value["id"], _WAIT_S)
    view = msgspec.convert(value, RunView)
    if view.state not in {"done", "cached"}:
        raise (
            from_problem(view.error) if view.error else FailedError(view.reason, hint=f"kernos why {view.id}")
        )
    rows = view.metrics.get("rows")
    told = "" if rows is None else f", {rows:,.0f} rows"
    answer(as_json).show(
        value, lambda console: console.print(f"{', '.join(view.outputs) or 'unchanged'}{told}")
    )


def ls(
    prefix: Annotated[
        str, typer.Argument(metavar="[PREFIX]", help="/data, /models, /packages/income …")
    ] = "/",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """The Artifacts, a path a line."""
    value = connect(home).artifacts(prefix)
    lines = msgspec.convert(value, list[ArtifactLine])

    def draw(console: Console) -> None:
        if lines:
            console.print(artifacts_table(lines, SystemClock().wall_ms()))
        else:
            console.print(Text(f"Nothing below {prefix}.", "dim"))

    answer(as_json).show(value, draw)


def show(
    ref: Annotated[
        str, typer.Argument(help="/data/income@3, a Run's number, or an App's name.", show_default=False)
    ],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """One Artifact, one Run or one App in full."""
    client = connect(home)
    now_ms = SystemClock().wall_ms()
    drawing: Any
    if ref.isdecimal():
        value = client.run(int(ref))
        drawing = run_details(msgspec.convert(value, RunView), now_ms)
    elif "/" in ref:
        value = client.artifact(ref)
        drawing = version_details(msgspec.convert(value, VersionView), now_ms)
    else:
        value = client.app(ref)
        drawing = app_details(msgspec.convert(value, AppView), now_ms)
    answer(as_json).show(value, lambda console: console.print(drawing))


def lineage(
    ref: Annotated[str, typer.Argument(help="/models/income@2, a digest, or pred:ID.", show_default=False)],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """All that stands behind a thing: data, code, gate, signer."""
    value = connect(home).lineage(ref)
    view = msgspec.convert(value, LineageView)

    def draw(console: Console) -> None:
        console.print(lineage_tree(view))
        if not view.edges:
            console.print(Text("It was brought here from outside; nothing stands behind it.", "dim"))

    answer(as_json).show(value, draw)


def diff(
    a: Annotated[str, typer.Argument(help="/data/income@1", show_default=False)],
    b: Annotated[str, typer.Argument(help="/data/income@2, or @2 for short.", show_default=False)],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """What differs between two versions of a dataset."""
    value = connect(home).diff(a, b)
    answer(as_json).show(value, lambda console: console.print(document(value)))


def _name(file: Path) -> str:
    name = re.sub(r"[^\w.-]+", "_", file.name.split(".")[0]).strip("_.-")
    if not name:
        raise InvalidError(f"{file.name!r} gives no name for a dataset.", hint="Add --name NAME.")
    return name
