"""The console's pages: one view-model each, read and drawn. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, get_args

from litestar import Response, Router, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, QueryParameter

from kernos.api.context import offload
from kernos.api.views import RunView, ServiceView, TrafficView
from kernos.base.errors import NotFoundError
from kernos.base.ids import parse_ref
from kernos.catalog.records import ENDED, RunKind, RunState
from kernos.console import commands
from kernos.console.actions import action_routes
from kernos.console.assets import asset_routes
from kernos.console.charts import Part, Series
from kernos.console.frame import AnyRequest, Console, Frame, run_number
from kernos.console.login import login_routes
from kernos.console.problem import problem_handlers, problem_routes
from kernos.console.render import Renderer
from kernos.console.show import plural
from kernos.console.source import RunFilter, Source
from kernos.console.stream import stream_routes
from kernos.console.system_source import SystemSource
from kernos.console.tree import families

if TYPE_CHECKING:
    from kernos.system import System

_LOG_TAIL_BYTES = 64 * 2**10
"""About six hundred lines: what a reader scrolls through; the whole log is one command away."""
_EVENTS_A_PAGE = 50
_MOST = 2**53
"""Larger numbers name nothing, and a database may not hold them."""


def handlers(system: System) -> list[Router]:
    """The console of a running system, for `create_app(system, extra_handlers=…)`."""

    def source(request: AnyRequest) -> Source:
        return SystemSource(request.app.state.api)

    return [console_router(Console(source, system.sessions, system.clock, Renderer(system.clock)))]


def console_router(console: Console) -> Router:
    """Every page, form, asset and stream. It stands behind the API's guard, which reads each route's `action`."""
    pages = [
        *_run_routes(console),
        *_app_routes(console),
        *_service_routes(console),
        *_catalog_routes(console),
        *_audit_routes(console),
    ]
    return Router(
        path="/",
        route_handlers=[
            *pages,
            *action_routes(console),
            *login_routes(console),
            *asset_routes(),
            *stream_routes(console),
            *problem_routes(),
        ],
        before_request=_note_newest(console),
        exception_handlers=problem_handlers(console),
        include_in_schema=False,
    )


def _note_newest(console: Console) -> Callable[[AnyRequest], Awaitable[None]]:
    async def note_newest(request: AnyRequest) -> None:
        """Before a page is read: what happens from here on is the stream's to tell, so that nothing falls between."""
        if getattr(request.state, "caller", None) is not None:
            request.state.newest = await offload(console.source(request).newest)

    return note_newest


def _run_routes(console: Console) -> list[HTTPRouteHandler]:
    @get("/", opt={"action": "system:read"}, sync_to_thread=True)
    def home(request: AnyRequest) -> Response[str]:
        view = console.source(request).home()
        needs = [item for item in view.attention if item.level != "info"]
        said = f"{plural(len(needs), 'thing')} need you, {plural(len(view.running), 'Run')} running."
        frame = Frame("Home", "home", "kernos top", "home tick", said)
        return console.page(
            request, "home.html", frame, view=view, needs=needs, families=families(view.running)
        )

    @get("/runs", opt={"action": "runs:read"}, sync_to_thread=True)
    def runs(
        request: AnyRequest,
        run_state: Annotated[str, QueryParameter(name="state")] = "",
        kind: FromQuery[str] = "",
        app: FromQuery[str] = "",
        parent: FromQuery[str] = "",
        below: Annotated[int | None, QueryParameter(ge=1, le=_MOST)] = None,
    ) -> Response[str]:
        of = run_number(parent.strip()) if parent.strip() else None
        wanted = RunFilter(state=run_state, kind=kind, app=app.strip(), parent=of, below=below)
        page = console.source(request).runs(wanted)
        frame = Frame(
            "Runs", "runs", commands.runs(run_state, kind, wanted.app, of), "runs tick", _said_runs(page.runs)
        )
        return console.page(
            request,
            "runs.html",
            frame,
            wanted=wanted,
            page=page,
            families=families(page.runs),
            states=get_args(RunState),
            kinds=get_args(RunKind),
        )

    @get("/runs/{run_id:str}", opt={"action": "runs:read"}, sync_to_thread=True)
    def run(request: AnyRequest, run_id: FromPath[str]) -> Response[str]:
        why = console.source(request).run(run_number(run_id))
        view = why.run
        children = console.source(request).runs(RunFilter(parent=view.id)).runs
        log = console.source(request).tail(view.id, _LOG_TAIL_BYTES)
        living = view.state not in ENDED
        topics = f"run:{view.id} tick" if living else f"run:{view.id}"
        frame = Frame(
            f"Run {view.id}", "runs", commands.why(view.id), topics, f"Run {view.id} is {view.state}."
        )
        return console.page(
            request,
            "run.html",
            frame,
            why=why,
            run=view,
            living=living,
            log=log,
            families=families(children),
        )

    return [home, runs, run]


def _app_routes(console: Console) -> list[HTTPRouteHandler]:
    @get("/apps", opt={"action": "runs:read"}, sync_to_thread=True)
    def apps(request: AnyRequest) -> Response[str]:
        return console.page(
            request,
            "apps.html",
            Frame("Apps", "apps", "kernos apps list", "apps"),
            apps=console.source(request).apps(),
        )

    @get("/apps/{name:str}", opt={"action": "runs:read"}, sync_to_thread=True)
    def app(request: AnyRequest, name: FromPath[str]) -> Response[str]:
        view = console.source(request).app(name)
        newest = view.builds[0] if view.builds else None
        said = f"Build {newest.id} is {newest.state}." if newest else ""
        frame = Frame(view.name, "apps", commands.show(view.name), f"app:{view.name}", said)
        return console.page(request, "app.html", frame, app=view, newest_build=newest)

    return [apps, app]


def _service_routes(console: Console) -> list[HTTPRouteHandler]:
    @get("/services", opt={"action": "runs:read"}, sync_to_thread=True)
    def services(request: AnyRequest) -> Response[str]:
        frame = Frame("Services", "services", "kernos services", "services tick")
        return console.page(request, "services.html", frame, services=console.source(request).services())

    @get("/services/{app:str}", opt={"action": "runs:read"}, sync_to_thread=True)
    def service(request: AnyRequest, app: FromPath[str]) -> Response[str]:
        view = console.source(request).service(app)
        said = f"{view.app} is {view.phase}" + (", drift alarm." if view.drift and view.drift.alarm else ".")
        frame = Frame(view.app, "services", commands.service(view.app), f"service:{view.app} tick", said)
        return console.page(
            request,
            "service.html",
            frame,
            service=view,
            parts=[_part(line) for line in view.traffic],
            latency=_latency(view),
            requests=[Series("req/s", view.requests_per_s)] if len(view.requests_per_s) > 1 else [],
        )

    return [services, service]


def _catalog_routes(console: Console) -> list[HTTPRouteHandler]:
    @get("/catalog", opt={"action": "data:read"}, sync_to_thread=True)
    def catalog(request: AnyRequest, prefix: FromQuery[str] = "") -> Response[str]:
        frame = Frame("Catalog", "catalog", commands.artifacts(prefix.strip()), "catalog")
        lines = console.source(request).catalog(prefix.strip())
        return console.page(request, "catalog.html", frame, prefix=prefix, lines=lines)

    @get("/catalog/versions", opt={"action": "data:read"}, sync_to_thread=True)
    def versions(request: AnyRequest, path: FromQuery[str]) -> Response[str]:
        listed = console.source(request).versions(str(parse_ref(path)))
        if not listed:
            raise NotFoundError(f"There is no Artifact at {path}.", hint="kernos ls shows every path.")
        frame = Frame(path, "catalog", commands.artifacts(path), "catalog")
        return console.page(request, "versions.html", frame, path=path, versions=listed)

    @get("/catalog/version", opt={"action": "data:read"}, sync_to_thread=True)
    def version(request: AnyRequest, ref: FromQuery[str]) -> Response[str]:
        view = console.source(request).version(ref)
        frame = Frame(view.ref, "catalog", commands.show(view.ref), "catalog")
        return console.page(
            request,
            "version.html",
            frame,
            version=view,
            lineage=console.source(request).lineage(view.ref, request.state.caller),
        )

    @get("/catalog/lineage", opt={"action": "data:read"}, sync_to_thread=True)
    def lineage(request: AnyRequest, ref: FromQuery[str] = "") -> Response[str]:
        ref = ref.strip()
        view = console.source(request).lineage(ref, request.state.caller) if ref else None
        frame = Frame("Lineage", "catalog", commands.lineage(ref), "catalog")
        return console.page(request, "lineage.html", frame, ref=ref, lineage=view)

    @get("/catalog/diff", opt={"action": "data:read"}, sync_to_thread=True)
    def diff(request: AnyRequest, a: FromQuery[str] = "", b: FromQuery[str] = "") -> Response[str]:
        a, b = a.strip(), b.strip()
        found = console.source(request).diff(a, b, request.state.caller) if a and b else None
        return console.page(
            request, "diff.html", Frame("Diff", "catalog", commands.diff(a, b)), a=a, b=b, found=found
        )

    return [catalog, versions, version, lineage, diff]


def _audit_routes(console: Console) -> list[HTTPRouteHandler]:
    @get("/audit", opt={"action": "audit:read"}, sync_to_thread=True)
    def audit(
        request: AnyRequest,
        after: Annotated[int | None, QueryParameter(ge=-1, le=_MOST)] = None,
        subject: FromQuery[str] = "",
        verify: FromQuery[bool] = False,
    ) -> Response[str]:
        """The newest page unless `after` says where to start; the newest Event first within a page."""
        newest = console.source(request).newest()
        subject = subject.strip()
        start = after if after is not None else -1 if subject else newest - _EVENTS_A_PAGE
        page = console.source(request).events(max(-1, start), _EVENTS_A_PAGE, subject)
        frame = Frame("Audit", "audit", "kernos audit verify", "" if verify else "audit")
        return console.page(
            request,
            "audit.html",
            frame,
            events=page.events[::-1],
            subject=subject,
            start=max(-1, start),
            size=_EVENTS_A_PAGE,
            next_after=page.next_after,
            head=newest,
            verified=console.source(request).audit() if verify else None,
        )

    return [audit]


def _said_runs(runs: list[RunView]) -> str:
    counts = [(state, sum(run.state == state for run in runs)) for state in ("running", "queued", "failed")]
    return ", ".join(f"{amount} {state}" for state, amount in counts) + "."


def _part(line: TrafficView) -> Part:
    return Part(f"{line.role} @{line.version}", line.role, line.share)


def _latency(view: ServiceView) -> list[Series]:
    if len(view.latency_ms) < 2:
        return []
    return [
        Series("p50", [(at, p50) for at, p50, _ in view.latency_ms]),
        Series("p99", [(at, p99) for at, _, p99 in view.latency_ms]),
    ]
