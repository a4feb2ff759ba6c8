"""View-models: what the API answers, the console draws, `--json` prints: one shape. Times: ms since 1970."""

from __future__ import annotations

from typing import Any

import msgspec


class RunView(msgspec.Struct, frozen=True):
    id: int
    kind: str
    app: str
    name: str
    owner: str
    parent: int | None
    state: str
    reason: str
    klass: str = msgspec.field(name="class")
    weight: float
    cpus: float
    memory_bytes: int
    attempts: int
    queued_ms: int
    started_ms: int | None
    ended_ms: int | None
    wall_s: float
    cpu_s: float
    rss_bytes: int
    """Now, or at its peak once ended."""
    outputs: list[str]
    """Artifacts it made: `/models/diabetes@2`."""
    params: dict[str, str] = {}
    metrics: dict[str, float] = {}
    """The last value of each."""
    error: dict[str, Any] | None = None


class RunPage(msgspec.Struct, frozen=True):
    runs: list[RunView]
    next_below: int | None = None
    """Ask again with `below` = this for older ones."""


class EventView(msgspec.Struct, frozen=True):
    seq: int
    at_ms: int
    kind: str
    subject: str
    principal: str
    payload: dict[str, Any]
    leaf: str


class WhyView(msgspec.Struct, frozen=True):
    run: RunView
    because: list[str]
    """The causes of its state, the nearest first."""
    events: list[EventView]
    next: str
    """The command that helps next; may be empty."""


class LogView(msgspec.Struct, frozen=True):
    text: str
    next_offset: int
    ended: bool


class EventPage(msgspec.Struct, frozen=True):
    events: list[EventView]
    next_after: int


class ArtifactLine(msgspec.Struct, frozen=True):
    path: str
    kind: str
    newest: int
    names: dict[str, int]
    size_bytes: int
    at_ms: int


class VersionView(msgspec.Struct, frozen=True):
    ref: str
    path: str
    version: int
    digest: str
    kind: str
    size_bytes: int
    at_ms: int
    run: int | None
    names: list[str]
    meta: dict[str, Any]


class EdgeView(msgspec.Struct, frozen=True):
    target: str
    target_ref: str
    source: str
    source_ref: str
    role: str
    run: int | None


class LineageView(msgspec.Struct, frozen=True):
    root: str
    edges: list[EdgeView]


class VerdictView(msgspec.Struct, frozen=True):
    rule: str
    passed: bool
    value: float | None
    low: float | None
    high: float | None
    rows: int
    note: str


class StageView(msgspec.Struct, frozen=True):
    """One place on the loop's ring: ingest, prepare, train, gate, package, deploy, infer, observe."""

    name: str
    state: str
    """idle | waiting | running | done | cached | failed"""
    detail: str
    run: int | None = None


class BuildView(msgspec.Struct, frozen=True):
    id: int
    app: str
    state: str
    reason: str
    cause: str
    """`principal:…`, `drift`, `schedule`"""
    cached: bool
    stages: list[StageView]
    verdicts: list[VerdictView]
    data: list[str]
    best: dict[str, Any]
    """Best parameters and score of the search; empty without one."""
    package: str
    url: str
    queued_ms: int
    ended_ms: int | None
    children: list[RunView] = []


class AppView(msgspec.Struct, frozen=True):
    name: str
    doc: str
    version: int
    target: str
    sensitive: list[str]
    gates: list[str]
    trigger: str
    stages: list[StageView]
    verdicts: list[VerdictView]
    """Of the newest judged build."""
    builds: list[BuildView]
    packages: list[VersionView]
    live: int | None
    canary: int | None


class TrafficView(msgspec.Struct, frozen=True):
    version: int
    role: str
    """live | canary | previous"""
    share: float
    requests: int
    rows: int
    errors: int
    rescued: int
    p50_ms: float
    p99_ms: float


class ColumnDrift(msgspec.Struct, frozen=True):
    column: str
    test: str
    p_value: float | None
    threshold: float
    psi: float | None
    drifted: bool


class DriftView(msgspec.Struct, frozen=True):
    alarm: bool
    rows: int
    e_value: float
    e_bound: float
    """The alarm's bound; false alarms are rarer than one in `e_bound` rows."""
    rows_to_alarm: int | None
    columns: list[ColumnDrift]
    note: str


class AccuracyView(msgspec.Struct, frozen=True):
    value: float | None
    low: float | None
    high: float | None
    rows: int


class ServiceView(msgspec.Struct, frozen=True):
    app: str
    url: str
    phase: str
    reason: str
    live: int | None
    previous: int | None
    canary: int | None
    share: float
    since_ms: int
    traffic: list[TrafficView]
    drift: DriftView | None
    accuracy: AccuracyView | None
    feedback_rows: int
    history: list[EventView] = []
    """Moves of its names, newest first."""
    latency_ms: list[tuple[int, float, float]] = []
    """(time ms, p50, p99) of the last minutes."""
    requests_per_s: list[tuple[int, float]] = []
    notes: list[str] = []
    """What its App asks for and does not get: `explain: unavailable, …`."""


class DeviceView(msgspec.Struct, frozen=True):
    name: str
    kind: str
    state: str
    """`available`, or `unavailable: why`"""
    detail: dict[str, Any]


class AttentionView(msgspec.Struct, frozen=True):
    """Something a person should look at, with the command that does."""

    level: str
    """info | warning | error"""
    text: str
    link: str
    command: str


class HomeView(msgspec.Struct, frozen=True):
    version: str
    home: str
    uptime_s: float
    cpus: float
    cpus_held: float
    memory_bytes: int
    memory_held_bytes: int
    running: list[RunView]
    queued: int
    services: list[ServiceView]
    attention: list[AttentionView]
    events: list[EventView]


class AuditView(msgspec.Struct, frozen=True):
    ok: bool
    size: int
    root: str
    problems: list[str]
    signed_size: int
    """Events under the newest signed tree head."""
    key_id: str


class PrincipalView(msgspec.Struct, frozen=True):
    name: str
    kind: str
    role: str
    at_ms: int


class RefreshView(msgspec.Struct, frozen=True):
    """What the console's stream sends: which topics changed (`runs`, `app:diabetes`, …)."""

    seq: int
    topics: list[str]
