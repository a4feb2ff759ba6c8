"""The inference data plane: who may ask, which revision answers, what is counted and recorded.

Lives on one event loop. A revision swap is one assignment between two requests: the old lane answers what
it has taken, then closes. What a canary fails on, the live version answers.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote, unquote_to_bytes

import httptools
import msgspec
import numpy as np

from kernos.base.clock import Clock
from kernos.base.errors import InvalidError, KernosError, NotFoundError, UnknownCallerError
from kernos.base.settings import PlaneSettings
from kernos.base.version import VERSION
from kernos.runtime.batcher import Batcher
from kernos.runtime.counters import Gauge, exposition
from kernos.runtime.exchange import Reply, Request, refusal, refusal_of
from kernos.runtime.feedback import FeedbackItem, read_feedback
from kernos.runtime.lane import Job, Lane, Loaded, Ran
from kernos.runtime.oip import Decoded
from kernos.runtime.server import Server
from kernos.runtime.services import Service
from kernos.runtime.tensors import near
from kernos.runtime.wanted import Revision, Traffic, Wanted

_log = logging.getLogger(__name__)

_GET = frozenset({b"GET", b"HEAD"})
_POST = frozenset({b"POST"})
_BUSY = refusal(
    429, "limit", "Too many rows are waiting.", "Send it again in a moment.", b"Retry-After: 1\r\n"
)
_CHALLENGE = b"WWW-Authenticate: Bearer\r\n"
_PROMETHEUS = b"text/plain; version=0.0.4"


@dataclass(frozen=True, slots=True)
class Answered:
    """A batch of predictions, as the log takes it. Prediction `k` has the id `<boot>-<hex(first + k)>`."""

    model: Loaded
    at_ms: int
    first: int
    rows: list[int]
    principals: list[str]
    latencies_ms: list[float]
    rescued: list[int]
    """Places of those that a canary failed on and this version answered."""
    inputs: Decoded
    outputs: list[np.ndarray]


@dataclass(frozen=True, slots=True)
class Journal:
    """Where predictions and feedback go. All three are called on the event loop and do not block."""

    record: Callable[[Answered], None]
    feedback: Callable[[Sequence[FeedbackItem], str, Callable[[KernosError | None], None]], None]
    """Items, principal, and whom to tell, from any thread, once they are on disk or could not be."""
    dropped: Callable[[], int]
    """Predictions that could not be recorded."""


@dataclass(frozen=True, slots=True)
class _Endpoint:
    methods: frozenset[bytes]
    serve: Callable[[Request], None]
    is_open: bool = False
    """Answers without a token."""


class Plane:
    """`server.connect` makes the protocol of each connection; `apply` brings wanted state."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: PlaneSettings,
        clock: Clock,
        boot: str,
        journal: Journal,
    ) -> None:
        self.server = Server(settings, clock, self._admit, self._serve)
        self._loop = loop
        self._clock = clock
        self._boot = boot
        self._journal = journal
        self._predictions = 0
        self._callers: dict[str, str] = {}
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._services: dict[str, Service] = {}
        self._failures: dict[tuple[str, int], str] = {}
        self._is_applied = False
        self._paths: dict[bytes, _Endpoint] = {}
        self._build_paths()

    def missing(self, wanted: Wanted) -> list[Revision]:
        """Wanted revisions that are not loaded with these bytes."""
        return [one for one in wanted.revisions if not self._has(one)]

    def apply(
        self,
        wanted: Wanted,
        loaded: Sequence[tuple[Loaded, Batcher]],
        failures: Sequence[tuple[str, int, str]],
    ) -> None:
        """Obey `wanted`. `loaded` are revisions that were missing, `failures` those that did not load,
        and why."""
        refused = {(app, version) for app, version, _ in failures}
        kept = {(one.app, one.version) for one in wanted.revisions if self._has(one)} - refused
        retired = [lane for key, lane in self._lanes.items() if key not in kept]
        self._lanes = {key: lane for key, lane in self._lanes.items() if key in kept}
        for model, batcher in loaded:
            self._lanes[model.app, model.version] = Lane(
                self._loop, model, batcher, self._clock, self._deliver
            )
        self._failures = {(app, version): why for app, version, why in failures}
        self._callers = {one.token_sha256.removeprefix("sha256:"): one.principal for one in wanted.callers}
        services = {route.app: self._services.get(route.app) or Service(route.app) for route in wanted.routes}
        for route in wanted.routes:
            services[route.app].point(route, self._lanes, self._failures)
        self._services = services
        self._is_applied = True
        self._build_paths()
        for lane in retired:
            lane.retire()

    def close(self) -> None:
        """Close every engine; requests that still wait are lost."""
        for lane in self._lanes.values():
            lane.retire()
        self._lanes = {}

    @property
    def is_ready(self) -> bool:
        return self._is_applied and all(service.is_ready for service in self._services.values())

    @property
    def loaded(self) -> list[tuple[str, int]]:
        return sorted(self._lanes)

    @property
    def failures(self) -> list[tuple[str, int, str]]:
        return [(app, version, why) for (app, version), why in sorted(self._failures.items())]

    @property
    def traffic(self) -> list[Traffic]:
        return [self._lanes[key].counters.traffic() for key in sorted(self._lanes)]

    @property
    def queued_rows(self) -> int:
        return sum(lane.queued_rows for lane in self._lanes.values())

    # a request

    def _admit(self, request: Request) -> Reply | None:
        endpoint = self._paths.get(request.url)
        try:
            if endpoint is None or not endpoint.is_open:
                request.principal = self._principal(request.authorization)
            request.subject = endpoint = endpoint or self._find(request.url)
        except UnknownCallerError as error:
            return refusal(error.status, error.code, error.message, error.hint, _CHALLENGE)
        except KernosError as error:
            return refusal_of(error)
        if request.method in endpoint.methods:
            return None
        allowed = b", ".join(sorted(endpoint.methods))
        hint = f"Use {allowed.decode()}."
        return refusal(
            405, "invalid", "This path does not take this method.", hint, b"Allow: %b\r\n" % allowed
        )

    def _principal(self, authorization: bytes) -> str:
        """RFC 6750: `Bearer <token>`. Only the token's hash is known here."""
        if authorization[:7].lower() == b"bearer ":
            principal = self._callers.get(hashlib.sha256(authorization[7:].strip()).hexdigest())
            if principal is not None:
                return principal
        raise UnknownCallerError("The caller is not known.", hint="Send Authorization: Bearer <token>.")

    def _serve(self, request: Request) -> None:
        request.subject.serve(request)

    def _infer(self, service: Service, version: int | None, request: Request) -> None:
        lane = service.pick() if version is None else service.versions.get(version)
        if lane is None:
            request.send(refusal_of(service.missing(version)))
            return
        try:
            decoded = lane.codec.decode(request.body)
        except InvalidError as error:
            if version is not None or not self._rescue(lane, request):
                request.send(refusal_of(error))
            return
        if not lane.has_room(decoded.rows):
            request.send(_BUSY)
            return
        lane.submit(Job(request, decoded, is_routed=version is None))

    def _deliver(self, lane: Lane, ran: Ran) -> None:
        """Answer, count and record one run."""
        lane.counters.cpu_s += ran.cpu_s
        if ran.outputs is None:
            for job in ran.jobs:
                self._fail(lane, job, ran.error)
            return
        jobs, first, boot, codec = ran.jobs, self._predictions, self._boot, lane.codec
        self._predictions += len(jobs)
        rows = [job.decoded.rows for job in jobs]
        for place, (job, outputs) in enumerate(zip(jobs, codec.split(ran.outputs, rows), strict=True), first):
            job.request.answer(200, codec.encode(job.decoded, f"{boot}-{place:x}", outputs))
        now_s = self._clock.monotonic_s()
        latencies_ms = [(now_s - job.request.received_s) * 1000.0 for job in jobs]
        lane.counters.answered(ran.inputs.rows, latencies_ms)
        rescued = [place for place, job in enumerate(jobs) if job.canary is not None]
        for place in rescued:
            if (canary := jobs[place].canary) is not None:
                canary.counters.rescued += 1
        principals = [job.request.principal for job in jobs]
        at_ms = self._clock.wall_ms()
        answered = Answered(
            lane.loaded, at_ms, first, rows, principals, latencies_ms, rescued, ran.inputs, ran.outputs
        )
        self._journal.record(answered)

    def _fail(self, lane: Lane, job: Job, error: str) -> None:
        """The model failed on a request: a routed one may be rescued, any other learns of it."""
        if job.is_routed and self._rescue(lane, job.request):
            return
        lane.counters.failed()
        name = f"{lane.loaded.app} version {lane.loaded.version}"
        if (
            lane.counters.errors.bit_count() == 1
        ):  # the 1st, 2nd, 4th, …: a broken model does not fill the log
            _log.warning(
                "a model failed", extra={"model": name, "error": error[:500], "errors": lane.counters.errors}
            )
        job.request.send(
            refusal(
                500,
                "failed",
                f"The model {name} failed on this request: {error[:300]}",
                "Another version may serve it.",
            )
        )

    def _rescue(self, lane: Lane, request: Request) -> bool:
        """Let the live version answer what `lane`, its canary, could not. False where it cannot either."""
        service = self._services.get(lane.loaded.app)
        live = service.live if service else None
        if live is None or live is lane:
            return False
        try:
            decoded = live.codec.decode(request.body)
        except InvalidError:
            return False
        lane.counters.failed()
        live.submit(Job(request, decoded, is_routed=False, canary=lane))
        return True

    def _feedback(self, request: Request) -> None:
        try:
            items = read_feedback(request.body)
        except InvalidError as error:
            request.send(refusal_of(error))
            return

        def done(error: KernosError | None) -> None:
            self._loop.call_soon_threadsafe(self._acknowledge, request, len(items), error)

        self._journal.feedback(items, request.principal, done)

    def _acknowledge(self, request: Request, count: int, error: KernosError | None) -> None:
        if error is None:
            request.answer(202, msgspec.json.encode({"accepted": count}))
        else:
            request.send(refusal_of(error))

    # what else it tells

    def _metadata(self, service: Service, version: int | None, request: Request) -> None:
        lane = service.live if version is None else service.versions.get(version)
        if lane is None:
            request.send(refusal_of(service.missing(version)))
        else:
            request.answer(200, lane.codec.metadata(sorted(service.versions)))

    def _ready(self, service: Service, version: int | None, request: Request) -> None:
        lane = service.live if version is None else service.versions.get(version)
        body = msgspec.json.encode({"name": service.app, "ready": lane is not None})
        request.answer(503 if lane is None else 200, body)

    def _server_ready(self, request: Request) -> None:
        request.answer(200 if self.is_ready else 503, msgspec.json.encode({"ready": self.is_ready}))

    def _server_metadata(self, request: Request) -> None:
        request.answer(200, msgspec.json.encode({"name": "kernos", "version": VERSION, "extensions": []}))

    def _metrics(self, request: Request) -> None:
        server = self.server
        gauges = [
            Gauge("kernos_connections", "gauge", "Open connections.", len(server.connections)),
            Gauge("kernos_queued_rows", "gauge", "Rows taken and not answered.", self.queued_rows),
            Gauge("kernos_refused_requests_total", "counter", "Requests answered 4xx.", server.refused),
            Gauge(
                "kernos_dropped_predictions_total",
                "counter",
                "Predictions not recorded.",
                self._journal.dropped(),
            ),
        ]
        counters = [self._lanes[key].counters for key in sorted(self._lanes)]
        request.answer(200, exposition(counters, gauges), _PROMETHEUS)

    # paths

    def _has(self, revision: Revision) -> bool:
        lane = self._lanes.get((revision.app, revision.version))
        return lane is not None and lane.loaded.digest == revision.digest

    def _build_paths(self) -> None:
        paths = {
            b"/v2": _Endpoint(_GET, self._server_metadata),
            b"/v2/health/live": _Endpoint(
                _GET, lambda request: request.answer(200, b'{"live":true}'), is_open=True
            ),
            b"/v2/health/ready": _Endpoint(_GET, self._server_ready, is_open=True),
            b"/v2/feedback": _Endpoint(_POST, self._feedback),
            b"/metrics": _Endpoint(_GET, self._metrics),
        }
        for app, service in self._services.items():
            for version in (None, *service.versions):
                stem = f"/v2/models/{quote(app)}" + ("" if version is None else f"/versions/{version}")
                paths[stem.encode()] = _Endpoint(_GET, partial(self._metadata, service, version))
                paths[f"{stem}/ready".encode()] = _Endpoint(_GET, partial(self._ready, service, version))
                paths[f"{stem}/infer".encode()] = _Endpoint(_POST, partial(self._infer, service, version))
        self._paths = paths

    def _find(self, url: bytes) -> _Endpoint:
        """A path spelt otherwise (with a query, other escapes, a slash at its end), or one that does not
        exist."""
        try:
            path = httptools.parse_url(url).path or b"/"
        except httptools.HttpParserInvalidURLError:
            raise InvalidError("The request's target is not a path.") from None
        plain = unquote_to_bytes(path).rstrip(b"/")
        endpoint = self._paths.get(quote(plain).encode())
        if endpoint is not None:
            return endpoint
        parts = plain.decode(errors="replace").split("/")
        if parts[:3] != ["", "v2", "models"] or len(parts) < 4:
            raise NotFoundError("There is nothing at this path.", hint="Ask /v2/models/<model>/infer.")
        service = self._services.get(parts[3])
        if service is None:
            hint = near(parts[3], sorted(self._services)) if self._services else "No model is deployed yet."
            raise NotFoundError(f"There is no model {parts[3][:80]!r}.", hint=hint)
        if len(parts) > 5 and parts[4] == "versions" and parts[5].isdecimal():
            raise service.missing(int(parts[5][:9]))
        raise NotFoundError(
            "A model has nothing at this path.", hint="Ask …/infer, …/ready or …/versions/<number>."
        )
