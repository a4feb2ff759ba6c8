"""What the data plane is told and what it answers: one small file in, one small status out."""

from __future__ import annotations

import msgspec


class Revision(msgspec.Struct, frozen=True):
    """One version of one model, loadable from `package` (a verified `.kpkg`)."""

    app: str
    version: int
    package: str
    """Path of the package file."""
    digest: str
    """The package's digest."""


class Route(msgspec.Struct, frozen=True):
    app: str
    live: int
    canary: int | None = None
    share: float = 0.0


class Caller(msgspec.Struct, frozen=True):
    principal: str
    token_sha256: str


class Wanted(msgspec.Struct, frozen=True):
    """`plane/wanted.json`: replaced atomically by the kernel, obeyed by the plane."""

    generation: int
    revisions: list[Revision] = []
    routes: list[Route] = []
    callers: list[Caller] = []
    trusted_keys: list[str] = []
    """PEM of the public keys whose packages load."""


class Traffic(msgspec.Struct, frozen=True):
    """Counters of one revision since it was loaded; they only grow."""

    app: str
    version: int
    requests: int = 0
    rows: int = 0
    errors: int = 0
    """Failures of the model itself; a caller's mistake is not one."""
    rescued: int = 0
    """Errors of this revision (as a canary) that the live version answered."""
    latency_ms_buckets: list[int] = []
    """Counts per bucket of `LATENCY_BOUNDS_MS`, one more for what lies above."""
    cpu_s: float = 0.0


class Status(msgspec.Struct, frozen=True):
    """The answer on the status socket."""

    generation: int
    pid: int
    url: str
    loaded: list[tuple[str, int]] = []
    failed: list[tuple[str, int, str]] = []
    """(app, version, why) of revisions that did not load."""
    traffic: list[Traffic] = []
    refused_requests: int = 0
    """Requests answered 4xx."""


LATENCY_BOUNDS_MS: tuple[float, ...] = (
    0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000, 2000, 5000
)  # fmt: skip
