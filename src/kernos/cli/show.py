"""Views as calm tables: no borders, numbers to the right, times in words; a colour only repeats a word."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from kernos.api.views import (
    AppView,
    ArtifactLine,
    EventView,
    HomeView,
    LineageView,
    RunView,
    ServiceView,
    VerdictView,
    VersionView,
)
from kernos.base.clock import iso
from kernos.base.units import show_bytes, show_seconds
from kernos.cli.table import ago, brief, fields, number, state, table

_DIGEST_SHOWN = 19


def runs_table(runs: Iterable[RunView]) -> Table:
    columns = ("run", "kind", "name", "app", "state", "time", "cpu", "memory", "class", "why / out")
    made = table(*columns, right=("run", "time", "cpu", "memory"))
    for run in runs:
        made.add_row(
            str(run.id),
            run.kind,
            run.name,
            run.app,
            state(run.state),
            show_seconds(run.wall_s) if run.started_ms is not None else "",
            show_seconds(run.cpu_s) if run.cpu_s else "",
            show_bytes(run.rss_bytes) if run.rss_bytes else "",
            run.klass,
            Text(", ".join(run.outputs) or _reason(run)),
        )
    return made


def run_details(run: RunView, now_ms: int) -> Table:
    """One Run, a field a line."""
    rows: list[tuple[str, RenderableType]] = [
        ("run", f"{run.id}  {run.kind} {run.name}"),
        ("app", run.app),
        ("state", state(run.state)),
        ("why", run.reason),
        ("owner", run.owner),
        ("parent", "" if run.parent is None else str(run.parent)),
        ("class", f"{run.klass}, weight {number(run.weight)}"),
        ("asked for", f"{number(run.cpus)} cpus, {show_bytes(run.memory_bytes)}"),
        (
            "used",
            f"{show_seconds(run.wall_s)}, {show_seconds(run.cpu_s)} of cpu, {show_bytes(run.rss_bytes)}",
        ),
        ("attempts", str(run.attempts)),
        ("queued", ago(run.queued_ms, now_ms)),
        ("ended", ago(run.ended_ms, now_ms)),
        ("params", _listed(run.params)),
        ("metrics", _listed({key: number(value) for key, value in run.metrics.items()})),
        ("out", ", ".join(run.outputs)),
    ]
    if run.error:
        rows.append(("error", Text(str(run.error.get("detail", "")), "red")))
        rows.append(("next", str(run.error.get("hint", ""))))
    return fields(rows)


def verdicts_table(verdicts: Iterable[VerdictView]) -> Table:
    made = table("gate", "verdict", "value", "95 %", "rows", "note", right=("value", "95 %", "rows"))
    for verdict in verdicts:
        interval = (
            "" if verdict.low is None or verdict.high is None else f"{verdict.low:.3f} to {verdict.high:.3f}"
        )
        made.add_row(
            verdict.rule,
            Text("passed", "green") if verdict.passed else Text("refused", "red"),
            "" if verdict.value is None else f"{verdict.value:.3f}",
            interval,
            number(verdict.rows),
            verdict.note,
        )
    return made


def app_details(app: AppView, now_ms: int) -> Group:
    versions = "" if app.live is None else f"version {app.live}"
    head = fields(
        [
            ("app", f"{app.name}, version {app.version}"),
            ("", app.doc.strip().partition("\n")[0]),
            ("target", app.target),
            ("sensitive", ", ".join(app.sensitive)),
            ("retrain", app.trigger),
            ("live", versions),
            ("canary", "" if app.canary is None else f"version {app.canary}"),
        ]
    )
    builds = table("build", "state", "cause", "package", "when", "why", right=("build",))
    for build in app.builds:
        when = ago(build.ended_ms or build.queued_ms, now_ms)
        builds.add_row(
            str(build.id), state(build.state), build.cause, build.package, when, Text(build.reason)
        )
    parts: list[RenderableType] = [head]
    if app.verdicts:
        parts += ["", verdicts_table(app.verdicts)]
    if app.builds:
        parts += ["", builds]
    return Group(*parts)


def apps_table(apps: Iterable[AppView]) -> Table:
    made = table(
        "app", "version", "live", "canary", "last build", "retrain", right=("version", "live", "canary")
    )
    for app in apps:
        build = app.builds[0] if app.builds else None
        made.add_row(
            app.name,
            str(app.version),
            "" if app.live is None else str(app.live),
            "" if app.canary is None else str(app.canary),
            state(build.state) if build else "",
            app.trigger,
        )
    return made


def artifacts_table(lines: Iterable[ArtifactLine], now_ms: int) -> Table:
    made = table("path", "newest", "kind", "names", "size", "made", right=("newest", "size", "made"))
    for line in lines:
        names = ", ".join(f"{name}={version}" for name, version in sorted(line.names.items()))
        made.add_row(
            line.path,
            str(line.newest),
            line.kind,
            names,
            show_bytes(line.size_bytes),
            ago(line.at_ms, now_ms),
        )
    return made


def version_details(version: VersionView, now_ms: int) -> Table:
    rows: list[tuple[str, RenderableType]] = [
        ("ref", version.ref),
        ("kind", version.kind),
        ("digest", version.digest),
        ("size", show_bytes(version.size_bytes)),
        ("made", f"{ago(version.at_ms, now_ms)}" + ("" if version.run is None else f" by run {version.run}")),
        ("names", ", ".join(version.names)),
    ]
    rows += [(name, brief(value)) for name, value in version.meta.items()]
    return fields(rows)


def lineage_tree(view: LineageView) -> Tree:
    """What each thing was made from. A thing met a second time is named and not opened again."""
    below: dict[str, list[Any]] = {}
    for edge in view.edges:
        below.setdefault(edge.target, []).append(edge)
    named = {edge.target: edge.target_ref for edge in view.edges}
    sources = {edge.source for edge in view.edges}
    roots = [target for target in below if target not in sources] or list(below)[:1]
    tree = Tree(Text(view.root, "bold"), guide_style="dim")
    seen: set[str] = set()

    def grow(branch: Tree, target: str) -> None:
        seen.add(target)
        for edge in below.get(target, ()):
            run = "" if edge.run is None else f"  run {edge.run}"
            twig = branch.add(Text.assemble((f"{edge.role}  ", "dim"), _ref(edge.source_ref), (run, "dim")))
            if edge.source not in seen:
                grow(twig, edge.source)

    for root in roots:
        same = named[root] == view.root or root == view.root
        grow(tree if same else tree.add(Text(_ref(named[root]))), root)
    return tree


def services_table(services: Iterable[ServiceView], now_ms: int) -> Table:
    right = ("live", "canary", "requests", "errors", "p50", "p99")
    made = table(
        "app",
        "phase",
        "live",
        "canary",
        "requests",
        "errors",
        "p50",
        "p99",
        "drift",
        "since",
        "url",
        right=right,
    )
    for service in services:
        live = next((line for line in service.traffic if line.role == "live"), None)
        canary = "" if service.canary is None else f"{service.canary} ({service.share:.0%})"
        made.add_row(
            service.app,
            state(service.phase),
            "" if service.live is None else str(service.live),
            canary,
            number(sum(line.requests for line in service.traffic)),
            number(sum(line.errors for line in service.traffic)),
            f"{live.p50_ms:.1f} ms" if live else "",
            f"{live.p99_ms:.1f} ms" if live else "",
            _drift(service),
            ago(service.since_ms, now_ms),
            service.url,
        )
    return made


def service_details(service: ServiceView, now_ms: int) -> Group:
    accuracy = service.accuracy
    told = ""
    if accuracy is not None and accuracy.value is not None:
        told = f"{accuracy.value:.3f} ({accuracy.low:.3f} to {accuracy.high:.3f}) on {accuracy.rows:,} rows"
    head = fields(
        [
            ("service", service.app),
            ("phase", state(service.phase)),
            ("why", service.reason),
            ("url", service.url),
            ("since", ago(service.since_ms, now_ms)),
            ("accuracy", told),
            ("drift", _drift(service)),
            *(("note", note) for note in service.notes),
        ]
    )
    right = ("version", "share", "requests", "rows", "errors", "rescued", "p50", "p99")
    traffic = table("version", "role", *right[1:], right=right)
    for line in service.traffic:
        traffic.add_row(
            str(line.version),
            line.role,
            f"{line.share:.0%}",
            *(number(value) for value in (line.requests, line.rows, line.errors, line.rescued)),
            f"{line.p50_ms:.1f} ms",
            f"{line.p99_ms:.1f} ms",
        )
    parts: list[RenderableType] = [head, "", traffic]
    if service.history:
        parts += ["", events_table(service.history)]
    return Group(*parts)


def events_table(events: Iterable[EventView]) -> Table:
    made = table("seq", "at", "event", "subject", "by", "what", right=("seq",))
    for event in events:
        made.add_row(
            str(event.seq),
            iso(event.at_ms)[:19],
            event.kind,
            event.subject,
            event.principal,
            Text(_payload(event)),
        )
    return made


def home_group(home: HomeView, now_ms: int) -> Group:
    """`top`: what is held, what runs, what is served, what needs a person."""
    held = (
        f"{number(home.cpus_held)} of {number(home.cpus)} cpus, "
        f"{show_bytes(home.memory_held_bytes)} of {show_bytes(home.memory_bytes)} held"
    )
    head = f"kernos {home.version}   up {show_seconds(home.uptime_s)}   {held}   {home.queued} queued"
    parts: list[RenderableType] = [Text(head, "bold")]
    for line in home.attention:
        style = {"error": "red", "warning": "yellow"}.get(line.level, "dim")
        parts.append(Text.assemble((f"{line.level}: ", style), line.text, (f"   {line.command}", "dim")))
    if home.running:
        parts += ["", runs_table(home.running)]
    if home.services:
        parts += ["", services_table(home.services, now_ms)]
    if not home.running and not home.services:
        parts += ["", Text("Nothing runs and nothing is served. Next: kernos run app.py", "dim")]
    return Group(*parts)


def _reason(run: RunView) -> str:
    return "" if run.reason == run.state else run.reason


def _drift(service: ServiceView) -> str:
    if service.drift is None:
        return ""
    return "drift" if service.drift.alarm else f"none in {service.drift.rows:,} rows"


def _ref(ref: str) -> str:
    return f"{ref[:_DIGEST_SHOWN]}…" if ref.startswith("sha256:") else ref


def _listed(values: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items())


def _payload(event: EventView) -> str:
    told = {
        key: value
        for key, value in event.payload.items()
        if isinstance(value, str | int | float) and value != ""
    }
    return ", ".join(f"{key}={value}" for key, value in told.items())
