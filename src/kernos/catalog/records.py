"""What the catalog holds, row by row. A record is one row of one table; the field names are the columns.

Times are wall-clock milliseconds since 1970 (UTC). JSON columns hold small documents; bytes live in blobs.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from kernos.base.ids import Digest, RunId

RunState = Literal["queued", "running", "done", "cached", "failed", "stopped"]
RunClass = Literal["realtime", "interactive", "batch", "idle"]
RunKind = Literal[
    "build",
    "load",
    "ingest",
    "tune",
    "trial",
    "flow",
    "step",
    "evaluate",
    "gate",
    "package",
    "monitor",
    "report",
    "replica",
]
ArtifactKind = Literal[
    "app", "dataset", "table", "model", "package", "report", "value", "predictions", "state"
]

ENDED: frozenset[str] = frozenset({"done", "cached", "failed", "stopped"})
"""States a Run never leaves."""


class Record(msgspec.Struct, frozen=True, omit_defaults=False):
    """The root of all records."""


class ArtifactRecord(Record, frozen=True):
    """An immutable thing, named by the digest of its manifest or bytes."""

    digest: Digest
    kind: ArtifactKind
    size_bytes: int
    meta: dict[str, Any]
    """What its kind says of it (schema and parts of a dataset, signature of a model, …)."""
    run: RunId | None
    """The Run that made it; None when a Principal brought it."""
    at_ms: int


class VersionRecord(Record, frozen=True):
    """Version `version` of `path` is `digest`, for ever."""

    path: str
    version: int
    digest: Digest
    run: RunId | None
    at_ms: int


class NameRecord(Record, frozen=True):
    """A name that moves: `live`, `canary`."""

    path: str
    name: str
    version: int
    at_ms: int


class EdgeRecord(Record, frozen=True):
    """`target` was made from `source` by `run`, in a role: `data`, `code`, `model`, `gate`, `signer`."""

    target: str
    source: str
    role: str
    run: RunId | None


class RunRecord(Record, frozen=True):
    id: RunId
    kind: RunKind
    app: str
    name: str
    owner: str
    """The Principal who asked."""
    parent: RunId | None
    key: str
    """Idempotency: one Run per key. Empty keys never collide."""
    state: RunState
    reason: str
    """Why it is in this state, in words."""
    klass: RunClass
    weight: float
    cpus: float
    memory_bytes: int
    wall_s: float
    entry: str
    """What the worker calls: `kernos.loop.work:step`; empty for a Run without a process (build, replica)."""
    payload: dict[str, Any]
    result: dict[str, Any]
    """What the worker returned, or `{"error": problem}`."""
    attempts: int
    retries: int
    queued_ms: int
    started_ms: int | None
    ended_ms: int | None
    usage: dict[str, float]
    """cpu_s, peak_rss_bytes, wall_s, log_bytes."""


class MetricRecord(Record, frozen=True):
    run: RunId
    key: str
    step: int
    value: float
    at_ms: int


class ParamRecord(Record, frozen=True):
    run: RunId
    key: str
    value: str


class CacheRecord(Record, frozen=True):
    """The result of work whose code, arguments, data and environment have this key."""

    key: Digest
    result: dict[str, Any]
    run: RunId


class PrincipalRecord(Record, frozen=True):
    name: str
    kind: Literal["person", "service", "agent", "device"]
    role: Literal["admin", "operator", "viewer", "infer"]
    token_sha256: str
    at_ms: int


class DeploymentRecord(Record, frozen=True):
    """Wanted state of one service. Versions are versions of `/packages/<app>`."""

    app: str
    live: int | None
    previous: int | None
    canary: int | None
    share: float
    """The canary's share of traffic, 0 to 1."""
    phase: Literal["live", "canary", "rolled_back", "stopped"]
    reason: str
    since_ms: int
    settings: dict[str, Any]
    """The App's `serve` declaration, as data."""


class MonitorRecord(Record, frozen=True):
    """What watching one service has come to."""

    app: str
    package: int
    """The version watched; a new live version starts a new watch."""
    state: Digest | None
    """The detectors' state, a blob."""
    figures: dict[str, Any]
    """rows, labelled rows, live accuracy with interval, per-column window tests, e-values, alarm."""
    alarm: bool
    at_ms: int


class EventRecord(Record, frozen=True):
    """A fact. `seq` counts from 0 without gaps; `leaf` is the RFC 6962 leaf hash of its canonical bytes."""

    seq: int
    at_ms: int
    kind: str
    """`run.queued`, `run.done`, `artifact.created`, `name.moved`, `gate.passed`, `drift.alarm`, …"""
    subject: str
    """`run:13`, `/models/diabetes@2`, `deployment:diabetes`."""
    principal: str
    payload: dict[str, Any]
    rows: list[tuple[str, str, str]]
    """(table, key, sha256 of the row after the change, "" where deleted): ties state to the journal."""
    leaf: str


class NodeRecord(Record, frozen=True):
    """A complete subtree of the journal's Merkle tree, of level 1 and up; level 0 are the Events' leaves.

    It covers the 2^level Events that end with `last`, so ordered by key the nodes stand as they were made.
    """

    last: int
    level: int
    hash: str
    """64 hex digits."""


class HeadRecord(Record, frozen=True):
    """A signed statement: the first `size` Events have the root `root`."""

    size: int
    root: str
    at_ms: int
    key_id: str
    signature: str
    """Hex, over `audit.head_bytes`."""
