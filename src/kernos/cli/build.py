"""`kernos run app.py`: hand the App in, follow its build stage by stage, say what came of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from kernos.api.views import AppView, BuildView, RunView, ServiceView, StageView
from kernos.base.clock import SystemClock
from kernos.base.errors import FailedError, KernosError, NotFoundError, RefusedError, from_problem
from kernos.base.units import show_seconds
from kernos.cli.session import Answer, Home, Json, answer, connect, pairs
from kernos.cli.show import apps_table, runs_table, verdicts_table
from kernos.cli.table import state, table
from kernos.client.api import Client

_ENDED = frozenset({"done", "cached", "failed", "stopped"})
_REFRESH_S = 0.25
_RUNS_SHOWN = 12

Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="An argument of the flow, NAME=VALUE; may be repeated.", show_default=False),
]
Detach = Annotated[
    bool, typer.Option("--detach", "-d", help="Start the build and leave.", show_default=False)
]


def run(
    main: Annotated[
        Path, typer.Argument(metavar="APP.py", help="The module that declares the App.", show_default=False)
    ],
    arguments: Set = None,
    detach: Detach = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Build an App: train, gate, package, deploy. What has not changed is not done again."""
    flow_arguments = pairs(arguments or [])
    client = connect(home)
    registered = _register(client, main)
    value = client.start_build(registered["app"], str(main.resolve().parent), flow_arguments)
    out = answer(as_json)
    if detach:
        text = f"Build {value['id']} of {value['app']} has started. Follow it: kernos why {value['id']}"
        out.show(value, lambda console: console.print(text))
        return
    value = _follow(client, value, out)
    build = msgspec.convert(value, BuildView)
    failure = failure_of(build)
    if failure is None:
        service = _service(client, build)
        out.show(value, lambda console: draw_outcome(console, build, service))
        return
    if not as_json:
        draw_verdicts(out.console, build)
    raise failure


def add(
    main: Annotated[
        Path, typer.Argument(metavar="APP.py", help="The module that declares the App.", show_default=False)
    ],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make an App known without building it: its contract, gates and service."""
    registered = _register(connect(home), main)
    text = f"{registered['app']}, version {registered['version']}"
    answer(as_json).show(registered, lambda console: console.print(text))


def list_apps(home: Home = None, as_json: Json = False) -> None:
    """The Apps there are."""
    value = connect(home).apps()
    views = msgspec.convert(value, list[AppView])
    answer(as_json).show(value, lambda console: console.print(apps_table(views)))


def _register(client: Client, main: Path) -> Any:
    from kernos.spec.code import bundle

    if not main.is_file():
        raise NotFoundError(f"There is no file {main}.", hint="Give the Python file that declares the App.")
    return client.register_app(bundle(main), main.name)


def draw_outcome(console: Console, build: BuildView, service: ServiceView | None) -> None:
    """Verdicts, the package, and where predictions are asked for."""
    draw_verdicts(console, build)
    console.print()
    took = show_seconds(((build.ended_ms or build.queued_ms) - build.queued_ms) / 1000)
    how = "all from cache" if build.cached else took
    console.print(Text(f"{build.app} {build.package or 'built'}   build {build.id}   {how}", "dim"))
    if service is None or not service.url:
        return
    if service.canary is not None and build.package.endswith(f"@{service.canary}"):
        console.print(
            Text.assemble(("CANARY", "bold yellow"), f" {service.share:.0%}  {service.url}"), soft_wrap=True
        )
    else:
        console.print(Text.assemble(("LIVE", "bold green"), f"  {service.url}"), soft_wrap=True)


def draw_verdicts(console: Console, build: BuildView) -> None:
    if build.verdicts:
        console.print()
        console.print(verdicts_table(build.verdicts))


def failure_of(build: BuildView) -> KernosError | None:
    """What the build's end means for the exit code; None for success."""
    if build.state in {"done", "cached"}:
        return None
    if any(not verdict.passed for verdict in build.verdicts):
        return RefusedError(build.reason, hint=f"kernos why {build.id}", build=build.id)
    failed = [child for child in build.children if child.state == "failed" and child.error]
    for child in sorted(failed, key=lambda child: child.id):
        assert child.error is not None
        return from_problem({**child.error, "hint": child.error.get("hint") or f"kernos logs {child.id}"})
    return FailedError(f"Build {build.id} is {build.state}: {build.reason}", hint=f"kernos why {build.id}")


def _follow(client: Client, value: Any, out: Answer) -> Any:
    """The build once it has ended; drawn live on a terminal, told line by line in a pipe, silent for JSON."""
    if out.as_json:
        return _watch(client, value, lambda build: None)
    if not out.console.is_terminal:
        told: set[str] = set()
        return _watch(client, value, lambda build: _tell(out.console, build, told))
    with Live(console=out.console, auto_refresh=False) as live:
        clock = SystemClock()
        return _watch(
            client, value, lambda build: live.update(progress(build, clock.wall_ms()), refresh=True)
        )


def _watch(client: Client, value: Any, look: Callable[[BuildView], None]) -> Any:
    """Look at the build again and again until it has ended, the end included."""
    look(msgspec.convert(value, BuildView))
    while value["state"] not in _ENDED:
        client.wait(value["id"], _REFRESH_S)
        value = client.build(value["id"])
        look(msgspec.convert(value, BuildView))
    return value


def progress(build: BuildView, now_ms: int) -> Group:
    """Stages, then the Runs at work; trials in one line."""
    took = show_seconds(((build.ended_ms or now_ms) - build.queued_ms) / 1000)
    head = Text.assemble((build.app, "bold"), f"  build {build.id}  ", state(build.state), f"  {took}")
    stages = table("stage", "state", "run", "", right=("run",))
    for stage in build.stages[:5]:
        stages.add_row(stage.name, state(stage.state), _number(stage), Text(stage.detail))
    parts: list[RenderableType] = [head, "", stages]
    busy = [
        child for child in build.children if child.state == "running" and child.kind not in {"flow", "tune"}
    ]
    if busy:
        parts += ["", runs_table(busy[:_RUNS_SHOWN])]
    trials = [child for child in build.children if child.kind == "trial"]
    if trials:
        parts += ["", _trials(trials)]
    return Group(*parts)


def _trials(trials: list[RunView]) -> Text:
    """One mark a trial: done, at work, waiting, failed."""
    marks = {"done": "●", "cached": "●", "running": "◐", "queued": "○", "failed": "×", "stopped": "×"}
    ended = sum(trial.state in _ENDED for trial in trials)
    return Text.assemble(
        ("trials  ", "dim"), "".join(marks[trial.state] for trial in trials), f"  {ended} of {len(trials)}"
    )


def _tell(console: Console, build: BuildView, told: set[str]) -> None:
    """Each stage once, when it has come to an end."""
    for stage in build.stages[:5]:
        if stage.name not in told and stage.state in {"done", "cached", "failed"}:
            told.add(stage.name)
            console.print(f"{stage.name:<8} {stage.state:<7} {stage.detail}".rstrip())


def _number(stage: StageView) -> str:
    return "" if stage.run is None else str(stage.run)


def _service(client: Client, build: BuildView) -> ServiceView | None:
    found = [service for service in client.services() if service["app"] == build.app]
    return msgspec.convert(found[0], ServiceView) if found else None
