"""A source with rich, fixed data for the console's tests, and a server over it. What it shows can be changed while it runs."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import msgspec
import uvicorn
from litestar import Litestar

from kernos.api.guard import make_guard
from kernos.api.views import (
    AccuracyView,
    AppView,
    ArtifactLine,
    AttentionView,
    AuditView,
    BuildView,
    ColumnDrift,
    DriftView,
    EdgeView,
    EventPage,
    EventView,
    HomeView,
    LineageView,
    LogView,
    RunPage,
    RunView,
    ServiceView,
    StageView,
    TrafficView,
    VerdictView,
    VersionView,
    WhyView,
)
from kernos.base.digests import of_bytes
from kernos.base.errors import NotFoundError
from kernos.console.frame import Console
from kernos.console.pages import console_router
from kernos.console.render import Renderer
from kernos.console.source import RunFilter
from kernos.security.access import Caller
from kernos.security.sessions import Sessions

NOW_MS = 1_790_000_000_000
ADMIN = Caller("ada", "admin")
_MIB = 2**20


def digest(text: str) -> str:
    return of_bytes(text.encode())


def run_view(run: int, kind: str, name: str, state: str, **more: Any) -> RunView:
    begun = state not in {"queued", "cached"}
    given: dict[str, Any] = {
        "id": run, "kind": kind, "app": "diabetes", "name": name, "owner": "ada", "parent": None, "state": state,
        "reason": "", "klass": "batch", "weight": 1.0, "cpus": 1.0, "memory_bytes": 1024 * _MIB, "attempts": 1,
        "queued_ms": NOW_MS - 90_000, "started_ms": NOW_MS - 80_000 if begun else None,
        "ended_ms": None if state in {"running", "queued"} else NOW_MS - 60_000, "wall_s": 20.4, "cpu_s": 18.25,
        "rss_bytes": 212 * _MIB if begun else 0, "outputs": [],
    }  # fmt: skip
    return RunView(**(given | more))


def sample_runs() -> list[RunView]:
    trial = "waits for 1 CPU: 2 of 2 are held by Runs 24 and 25"
    refused = "gate refused: parity_gap(sex) 0.34 [0.21, 0.47] is over 0.30"
    return [
        run_view(29, "monitor", "diabetes", "running", klass="idle", wall_s=4.2, cpu_s=1.1),
        run_view(28, "trial", "C=0.013", "queued", parent=23, reason=trial),
        run_view(27, "trial", "C=4.6", "queued", parent=23, reason=trial),
        run_view(26, "trial", "C=0.21", "done", parent=23, metrics={"accuracy": 0.712}),
        run_view(25, "trial", "C=0.87", "running", parent=23, reason="on cpu:1", params={"C": "0.87"}),
        run_view(24, "trial", "C=1.9", "running", parent=23, reason="on cpu:0", params={"C": "1.9"}),
        run_view(23, "tune", "build", "running", parent=20, cpus=0, reason="waits for 4 of 8 trials"),
        run_view(22, "step", "clean", "cached", parent=20, reason="same code, arguments and data as Run 12"),
        run_view(21, "load", "app.py", "done", parent=20, outputs=["/apps/diabetes@3"]),
        run_view(20, "build", "build", "running", cpus=0, reason="tunes: 4 of 8 trials done"),
        run_view(
            19, "gate", "gates", "failed", app="income", parent=18, reason=refused,
            error={"detail": refused, "hint": "kernos show 19 lists each group.", "code": "refused"},
        ),
        run_view(18, "build", "build", "failed", app="income", reason="the gate refused version 4"),
        run_view(17, "ingest", "income", "done", app="", outputs=["/data/income@4"], wall_s=1.3),
        run_view(16, "build", "build", "stopped", app="income", reason="stopped by ada"),
        run_view(15, "package", "package", "done", parent=9, outputs=["/packages/diabetes@2"]),
        run_view(14, "gate", "gates", "done", parent=9, reason="3 of 3 rules passed"),
        run_view(
            13, "step", "train", "done", parent=9, outputs=["/models/diabetes@2"],
            params={"C": "0.7", "trials": "8"}, metrics={"accuracy": 0.7342, "auc": 0.8113, "loss": 0.52},
        ),
        run_view(12, "step", "clean", "done", parent=9, wall_s=0.412, cpu_s=0.31),
        run_view(9, "build", "build", "done", reason="version 2 is live", outputs=[]),
    ]  # fmt: skip


def stages(*states: str) -> list[StageView]:
    names = ("ingest", "prepare", "train", "gate", "package", "deploy", "infer", "observe")
    details = (
        "/data/diabetes@3, 442 rows", "clean: recalled", "4 of 8 trials done, best 0.734", "waits for the model", "",
        "@2 live, @3 takes 10 %", "12,480 requests, p99 3.2 ms", "no drift in 12,480 rows",
    )  # fmt: skip
    runs = (17, 22, 23, None, None, None, None, 29)
    return [StageView(n, s, d, r) for n, s, d, r in zip(names, states, details, runs, strict=True)]


VERDICTS = [
    VerdictView("accuracy >= 0.65", True, 0.734, 0.664, 0.795, 133, ""),
    VerdictView("parity_gap(sex) <= 0.30", True, 0.112, 0.0, 0.271, 133, "groups 1: 71 rows, 2: 62 rows"),
    VerdictView("not worse than live", True, 0.015, -0.045, 0.075, 133, "accuracy, candidate minus live @1"),
    VerdictView("auc >= 0.85", False, 0.811, 0.735, 0.868, 133, "the whole interval must not lie below"),
]


def build_view(build: int, state: str, **more: Any) -> BuildView:
    given: dict[str, Any] = {
        "id": build, "app": "diabetes", "state": state, "reason": "", "cause": "principal:ada", "cached": False,
        "stages": stages("done", "done", "done", "done", "done", "done", "running", "running"), "verdicts": VERDICTS,
        "data": ["/data/diabetes@2"], "best": {"C": 0.7, "accuracy": 0.734}, "package": "/packages/diabetes@2",
        "url": "", "queued_ms": NOW_MS - 3_600_000, "ended_ms": NOW_MS - 3_500_000,
    }  # fmt: skip
    return BuildView(**(given | more))


def version_view(path: str, version: int, kind: str, **more: Any) -> VersionView:
    given: dict[str, Any] = {
        "ref": f"{path}@{version}", "path": path, "version": version, "digest": digest(f"{path}{version}"),
        "kind": kind, "size_bytes": 41_236 * version, "at_ms": NOW_MS - 3_600_000 * (4 - version), "run": 13,
        "names": [], "meta": {},
    }  # fmt: skip
    return VersionView(**(given | more))


META = {
    "format": 1, "app": "diabetes", "target": "progressed", "model": digest("model"),
    "metrics": {"accuracy": 0.7342, "auc": 0.8113}, "params": {"C": "0.7"}, "data": ["/data/diabetes@2"],
    "columns": [
        {"name": "age", "type": "float", "nullable": False}, {"name": "bmi", "type": "float", "nullable": False},
        {"name": "体重指数", "type": "float", "nullable": True},
    ],
    "signed_by": "ed25519:9f3c2a77b1e04d55", "card": None,
}  # fmt: skip


def sample_app() -> AppView:
    builds = [
        build_view(
            20, "running", reason="tunes: 4 of 8 trials done", cause="drift", verdicts=[], package="", best={},
            data=["/data/diabetes@3"], ended_ms=None, queued_ms=NOW_MS - 90_000,
            stages=stages("done", "cached", "running", "waiting", "idle", "idle", "idle", "idle"),
        ),
        build_view(9, "done", reason="version 2 is live"),
        build_view(2, "done", reason="version 1 went live", cached=True, queued_ms=NOW_MS - 86_400_000),
    ]  # fmt: skip
    return AppView(
        name="diabetes", doc="Diabetes: table, clean, train, gate, signed package, canary, drift, retrain.", version=3,
        target="progressed", sensitive=["sex"], gates=[v.rule for v in VERDICTS], trigger="on drift, at most daily",
        stages=stages("done", "cached", "running", "waiting", "idle", "done", "running", "running"),
        verdicts=VERDICTS, builds=builds,
        packages=[
            version_view("/packages/diabetes", 3, "package", names=["canary"], run=15),
            version_view("/packages/diabetes", 2, "package", names=["live"], run=15),
            version_view("/packages/diabetes", 1, "package", run=2),
        ],
        live=2, canary=3,
    )  # fmt: skip


def failed_app() -> AppView:
    broken = stages("done", "done", "done", "failed", "idle", "idle", "idle", "idle")
    verdicts = [
        VerdictView("parity_gap(sex) <= 0.30", False, 0.34, 0.21, 0.47, 9044, "group 2 is served worse")
    ]
    build = build_view(
        18, "failed", app="income", reason="the gate refused version 4", stages=broken, verdicts=verdicts
    )
    return AppView(
        name="income", doc="", version=1, target="over50k", sensitive=["sex"], gates=["parity_gap(sex) <= 0.30"],
        trigger="", stages=broken, verdicts=verdicts, builds=[build], packages=[], live=None, canary=None,
    )  # fmt: skip


def sample_service() -> ServiceView:
    times = [NOW_MS - 600_000 + 10_000 * index for index in range(61)]
    wave = [(at, 1.1 + 0.2 * math.sin(i / 5), 3.1 + 0.9 * math.sin(i / 7) ** 2) for i, at in enumerate(times)]
    return ServiceView(
        app="diabetes", url="http://127.0.0.1:7071/v2/models/diabetes/infer", phase="canary",
        reason="canary @3 takes 10 % for 2 min", live=2, previous=1, canary=3, share=0.1, since_ms=NOW_MS - 48_000,
        traffic=[
            TrafficView(2, "live", 0.9, 11_232, 44_928, 0, 0, 1.12, 3.21),
            TrafficView(3, "canary", 0.1, 1_248, 4_992, 3, 3, 1.08, 4.87),
        ],
        drift=DriftView(
            alarm=False, rows=12_480, e_value=37.2, e_bound=10_000, rows_to_alarm=None,
            columns=[
                ColumnDrift("age", "KS", 0.41, 0.00625, 0.021, False),
                ColumnDrift("bmi", "KS", 0.0009, 0.00625, 0.284, True),
                ColumnDrift("blood_pressure", "KS", 0.12, 0.00625, 0.048, False),
                ColumnDrift("sex", "chi-squared", 0.77, 0.00625, 0.002, False),
                ColumnDrift("s5", "KS", None, 0.00625, None, False),
            ],
            note="One column has moved; the evidence over all columns is still under the bound.",
        ),
        accuracy=AccuracyView(0.741, 0.702, 0.777, 512), feedback_rows=540,
        history=[
            event_view(96, "name.moved", "/packages/diabetes", name="canary", version=3, reason="the gate passed"),
            event_view(61, "name.moved", "/packages/diabetes", name="live", version=2, reason="the canary held for 2 min"),
            event_view(12, "name.moved", "/packages/diabetes", name="live", version=1, reason="first version"),
        ],
        latency_ms=wave, requests_per_s=[(at, 20 + 6 * math.sin(i / 9)) for i, at in enumerate(times)],
    )  # fmt: skip


def event_view(seq: int, kind: str, subject: str, principal: str = "kernel", /, **payload: Any) -> EventView:
    return EventView(
        seq, NOW_MS - (120 - seq) * 1500, kind, subject, principal, payload, digest(f"leaf{seq}")
    )


def sample_events() -> list[EventView]:
    kinds = (
        ("run.queued", "run:{}", {"kind": "trial", "app": "diabetes", "parent": 23}),
        ("run.started", "run:{}", {"kind": "trial", "app": "diabetes", "parent": 23, "reason": "on cpu:1"}),
        ("artifact.created", "/models/diabetes@2", {"digest": digest("m")}),
        ("run.done", "run:{}", {"kind": "trial", "app": "diabetes", "parent": 23}),
        ("name.moved", "/packages/diabetes@3", {"name": "canary", "reason": "the gate passed"}),
        ("deployment.changed", "deployment:diabetes", {"phase": "canary", "share": 0.1}),
    )
    events = []
    for seq in range(120):
        kind, subject, payload = kinds[seq % len(kinds)]
        events.append(
            event_view(
                seq, kind, subject.format(12 + seq % 17), "ada" if seq % 5 == 0 else "kernel", **payload
            )
        )
    return events


def sample_lineage(root: str) -> LineageView:
    ids = {
        name: digest(name) for name in ("package", "model", "table", "data", "raw", "app", "verdict", "card")
    }
    package, model = "/packages/diabetes@2", "/models/diabetes@2"
    data = "/data/diabetes@2"
    rows = (
        ("package", package, "model", model, "model", 15),
        ("package", package, "verdict", "/reports/diabetes-gate@2", "gate", 15),
        ("package", package, "app", "/apps/diabetes@3", "code", 15),
        ("model", model, "table", "", "data", 13),
        ("model", model, "app", "/apps/diabetes@3", "code", 13),
        ("table", "", "data", data, "data", 12),
        ("table", "", "app", "/apps/diabetes@3", "code", 12),
        ("verdict", "/reports/diabetes-gate@2", "model", model, "model", 14),
        ("verdict", "/reports/diabetes-gate@2", "data", data, "held out", 14),
    )
    edges = [EdgeView(ids[t], tr, ids[s], sr, role, run) for t, tr, s, sr, role, run in rows]
    edges.append(EdgeView(ids["package"], package, "ed25519:9f3c2a77b1e04d55", "", "signer", 15))
    edges.append(EdgeView(ids["data"], data, ids["raw"], "", "source", 5))
    return LineageView(root, edges)


class FakeWatch:
    def __init__(self) -> None:
        self.changed = asyncio.Event()

    async def next(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                await self.changed.wait()
        except TimeoutError:
            return False
        self.changed.clear()
        return True


class FakeSource:
    """Everything the console can show. `change` puts a Run in and tells of it; verbs are written down."""

    def __init__(self) -> None:
        self.run_list = sample_runs()
        self.event_list = sample_events()
        self.done: list[tuple[str, str]] = []
        self.log = "".join(
            f"fold {n}: loss {0.9 / n:.3f}, accuracy {0.7 + n / 100:.3f}\n" for n in range(1, 25)
        )
        self.healthy = True
        self.is_closed = False
        self._watches: set[tuple[asyncio.AbstractEventLoop, FakeWatch]] = set()

    def home(self) -> HomeView:
        attention = [
            AttentionView("error", "Build 18 of income failed: the gate refused version 4", "/runs/18", "kernos why 18"),
            AttentionView("warning", "diabetes: column bmi has moved", "/services/diabetes", "kernos services diabetes"),
            AttentionView(
                "info", "diabetes has a canary, version 3, with 10% of the traffic", "/services/diabetes",
                "kernos services diabetes",
            ),
        ]  # fmt: skip
        running = [run for run in self.run_list if run.state == "running"]
        queued = sum(run.state == "queued" for run in self.run_list)
        return HomeView(
            "0.1.0", "/home/ada/.kernos", 11_520.0, 2.0, 2.0, 24 * 1024 * _MIB, 3 * 1024 * _MIB, running, queued,
            self.services(), attention, self.event_list[:-9:-1],
        )  # fmt: skip

    def runs(self, wanted: RunFilter) -> RunPage:
        fits = [
            run for run in self.run_list
            if wanted.state in ("", run.state) and wanted.kind in ("", run.kind) and wanted.app in ("", run.app)
            and wanted.parent in (None, run.parent) and (wanted.below is None or run.id < wanted.below)
        ]  # fmt: skip
        more = len(fits) > wanted.limit
        return RunPage(fits[: wanted.limit], fits[wanted.limit - 1].id if more else None)

    def run(self, run: int) -> WhyView:
        view = next((one for one in self.run_list if one.id == run), None)
        if view is None:
            raise NotFoundError(f"There is no Run {run}.", hint="kernos ps --all lists the Runs there are.")
        because = [view.reason or f"it is {view.state}", "its parent, Run 23, tunes build with 8 trials"]
        events = [event for event in self.event_list if event.subject == f"run:{run}"]
        return WhyView(
            view, because, events, "kernos logs -f 24" if view.state == "running" else "kernos show 19"
        )

    def tail(self, run: int, limit_bytes: int) -> LogView:
        return LogView(self.log[-limit_bytes:] if run != 28 else "", len(self.log), run not in (24, 25))

    def apps(self) -> list[AppView]:
        return [sample_app(), failed_app()]

    def app(self, name: str) -> AppView:
        found: AppView = _one(self.apps(), lambda app: app.name == name, f"There is no App {name}.")
        return found

    def services(self) -> list[ServiceView]:
        first = sample_service()
        alarm = msgspec.structs.replace(
            first, app="wine", phase="rolled_back", reason="errors 4 % over 1 %", canary=None, share=0.0, live=5,
            previous=4, traffic=[TrafficView(5, "live", 1.0, 940, 940, 0, 0, 0.84, 1.93)],
            drift=DriftView(True, 3_100, 48_211.0, 10_000, 412, [], "The alarm rang after 412 rows."),
            accuracy=None, feedback_rows=0, latency_ms=[], requests_per_s=[], history=[],
        )  # fmt: skip
        return [first, alarm]

    def service(self, app: str) -> ServiceView:
        found: ServiceView = _one(
            self.services(), lambda service: service.app == app, f"{app} is not in service."
        )
        return found

    def catalog(self, prefix: str) -> list[ArtifactLine]:
        lines = [
            ArtifactLine("/apps/diabetes", "app", 3, {}, 1_420, NOW_MS - 90_000),
            ArtifactLine("/data/diabetes", "dataset", 3, {}, 31_044, NOW_MS - 95_000),
            ArtifactLine("/data/income", "dataset", 4, {}, 3_311_044, NOW_MS - 1_200_000),
            ArtifactLine("/data/收入", "dataset", 1, {}, 12_044, NOW_MS - 9_200_000),
            ArtifactLine("/models/diabetes", "model", 3, {}, 20_118, NOW_MS - 50_000),
            ArtifactLine(
                "/packages/diabetes", "package", 3, {"live": 2, "canary": 3}, 41_236, NOW_MS - 48_000
            ),
            ArtifactLine("/reports/diabetes-gate", "report", 3, {}, 2_311, NOW_MS - 49_000),
        ]
        return [line for line in lines if line.path.startswith(prefix)]

    def versions(self, path: str) -> list[VersionView]:
        if path == "/packages/nothing":
            raise NotFoundError("There is no /packages/nothing.", hint="kernos ls lists what there is.")
        names = {3: ["canary"], 2: ["live"], 1: []}
        return [
            version_view(path, version, "package", names=names[version], meta=META) for version in (3, 2, 1)
        ]

    def version(self, ref: str) -> VersionView:
        path, _, at = ref.partition("@")
        number = int(at) if at.isdecimal() else 3
        return version_view(path, number, "package", names=["live"] if number == 2 else [], meta=META)

    def lineage(self, ref: str, caller: Caller) -> LineageView:
        return sample_lineage(ref)

    def diff(self, a: str, b: str, caller: Caller) -> dict[str, Any]:
        return {
            "columns_added": ["s6"], "columns_removed": [], "columns_changed": {"age": "int → float"},
            "rows_added": 120, "rows_removed": 3, "samples": [{"age": 59, "bmi": 32.1}, {"age": 48, "bmi": 21.6}],
        }  # fmt: skip

    def audit(self) -> AuditView:
        problems = [] if self.healthy else ["row runs/13 is not what Event 84 says: its digest differs"]
        return AuditView(self.healthy, 120, digest("root")[7:], problems, 96, "ed25519:9f3c2a77b1e04d55")

    def events(self, after: int, limit: int, subject: str) -> EventPage:
        fits = [e for e in self.event_list if e.seq > after and subject in ("", e.subject)][:limit]
        return EventPage(fits, fits[-1].seq if fits else after)

    def newest(self) -> int:
        return self.event_list[-1].seq if self.event_list else -1

    @contextmanager
    def watch(self) -> Iterator[FakeWatch]:
        entry = (asyncio.get_running_loop(), FakeWatch())
        self._watches.add(entry)
        try:
            yield entry[1]
        finally:
            self._watches.discard(entry)

    def closed(self) -> bool:
        return self.is_closed

    def rollback(self, app: str, caller: Caller) -> None:
        self.done.append(("rollback", f"{app} by {caller.principal}"))

    def stop(self, run: int, caller: Caller) -> None:
        self.done.append(("stop", f"{run} by {caller.principal}"))

    def change(self, run: RunView, kind: str = "run.started") -> None:
        """Put this Run in the place of the one with its id, or first, and tell of it."""
        self.run_list = sorted(
            [one for one in self.run_list if one.id != run.id] + [run], key=lambda one: -one.id
        )
        self.tell(kind, f"run:{run.id}", app=run.app, parent=run.parent)

    def tell(self, kind: str, subject: str, /, **payload: Any) -> None:
        self.event_list = [
            *self.event_list,
            event_view(self.newest() + 1, kind, subject, "kernel", **payload),
        ]
        self.wake()

    def wake(self) -> None:
        for loop, watch in list(self._watches):
            loop.call_soon_threadsafe(watch.changed.set)


class EmptySource(FakeSource):
    """A kernel that has just started."""

    def __init__(self) -> None:
        super().__init__()
        self.run_list, self.event_list = [], []

    def home(self) -> HomeView:
        return HomeView("0.1.0", "/home/ada/.kernos", 2.0, 2.0, 0.0, 24 * 1024 * _MIB, 0, [], 0, [], [], [])

    def apps(self) -> list[AppView]:
        return []

    def services(self) -> list[ServiceView]:
        return []

    def catalog(self, prefix: str) -> list[ArtifactLine]:
        return []


def sample_application(source: FakeSource, sessions: Sessions, clock: Any, renderer: Renderer) -> Litestar:
    """The console behind the API's own guard."""
    console = Console(lambda request: source, sessions, clock, renderer)
    settings = SimpleNamespace(api=SimpleNamespace(host="127.0.0.1"))
    api: Any = SimpleNamespace(system=SimpleNamespace(settings=settings, sessions=sessions, clock=clock))
    return Litestar(
        [console_router(console)], guards=[make_guard(api)], openapi_config=None, logging_config=None
    )


class SampleServer:
    """The console on a free loopback port, in a thread of its own."""

    def __init__(self, source: FakeSource, clock: Any) -> None:
        self.source = source
        self.clock = clock
        self.sessions = Sessions()
        app = sample_application(source, self.sessions, clock, Renderer(clock))
        config = uvicorn.Config(
            app, host="127.0.0.1", port=0, log_level="error", lifespan="off", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="sample-console")

    def __enter__(self) -> SampleServer:
        self._thread.start()
        waited = threading.Event()
        for _ in range(1000):
            if self._server.started:
                return self
            waited.wait(0.01)
        raise RuntimeError("the sample server did not start")

    def __exit__(self, *exc: object) -> None:
        self.source.is_closed = True
        self.source.wake()
        self._server.should_exit = True
        self._thread.join(10)

    @property
    def url(self) -> str:
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def link(self, caller: Caller = ADMIN) -> str:
        return f"{self.url}/login?code={self.sessions.issue_code(caller, self.clock.monotonic_s())}"


def _one(items: list[Any], fits: Any, message: str) -> Any:
    found = next((item for item in items if fits(item)), None)
    if found is None:
        raise NotFoundError(message, hint="kernos ls lists what there is.")
    return found
