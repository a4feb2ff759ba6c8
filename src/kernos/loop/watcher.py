"""Watching what is live: log segments become monitor Runs, alarms and time become builds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from kernos.base.clock import Clock
from kernos.base.errors import NotFoundError
from kernos.base.ids import Digest, Ref, parse_ref
from kernos.base.settings import LoopSettings
from kernos.catalog.artifacts import resolve
from kernos.catalog.records import ArtifactRecord, DeploymentRecord, MonitorRecord, RunRecord
from kernos.catalog.store import Reader, SqlStore
from kernos.kernel.driver import Kernel
from kernos.kernel.run import RunSpec
from kernos.loop.apps import app_of_code
from kernos.loop.build import flow_of
from kernos.loop.facade import Loop
from kernos.monitor.trigger import Alarm, BuildTimes, decide
from kernos.security.keys import SigningKey
from kernos.spec.manifest import Manifest, Trigger

ARL_ROWS = 10_000.0
"""Mean number of unchanged rows to a false alarm, at the least."""
MOST_SEGMENTS = 64
"""What one look takes in at most; the next one takes the rest."""
RETRY_MS = 15_000
"""A look that failed is tried again after this time."""
LABELS_TO_RETRAIN = 300
"""Fewer labelled rows than this say too little about the new population."""


class Watcher:
    """Belongs to the reconciler's thread."""

    def __init__(
        self,
        store: SqlStore,
        kernel: Kernel,
        loop: Loop,
        signer: SigningKey,
        settings: LoopSettings,
        home: Path,
        clock: Clock,
    ) -> None:
        self._store = store
        self._kernel = kernel
        self._loop = loop
        self._trusted = [signer.public_pem]
        self._settings = settings
        self._log = home / "plane" / "log"
        self._clock = clock
        self._next_s = 0.0

    def tick(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s < self._next_s:
            return
        self._next_s = now_s + self._settings.monitor_every_s
        with self._store.read() as reader:
            served = [d for d in reader.list(DeploymentRecord) if d.live is not None]
            records = {d.app: reader.get(MonitorRecord, d.app) for d in served}
        segments = sorted(path.name for path in self._log.glob("*.seg"))
        self._sweep(segments, records)
        for deployment in served:
            self._observe(deployment, records[deployment.app], segments)
            self._trigger(deployment, records[deployment.app])

    def _sweep(self, segments: list[str], records: dict[str, MonitorRecord | None]) -> None:
        """Remove segments whose rows every service has in a committed version."""
        if not records:
            return
        done = [set(record.figures["segments"]) if record else set() for record in records.values()]
        for name in set.intersection(*done) & set(segments):
            (self._log / name).unlink(missing_ok=True)

    def _observe(
        self, deployment: DeploymentRecord, record: MonitorRecord | None, segments: list[str]
    ) -> None:
        done = set(record.figures["segments"]) if record else set()
        fresh = [name for name in segments if name not in done][:MOST_SEGMENTS]
        if not fresh:
            return
        with self._store.read() as reader:
            looks = reader.list(
                RunRecord,
                where={"kind": "monitor", "app": deployment.app},
                order_by="id",
                descending=True,
                limit=1,
            )
            if looks and not _may_look_again(looks[0], self._clock.wall_ms()):
                return
            payload = self._payload(reader, deployment, record, fresh, done & set(segments))
        spec = RunSpec(
            kind="monitor",
            app=deployment.app,
            name=f"{len(fresh)} segments",
            owner="kernel",
            klass="interactive",
            cpus=0.5,
            entry="kernos.loop.work.monitor:run",
            payload=payload,
        )
        self._kernel.submit(spec)

    def _payload(
        self,
        reader: Reader,
        deployment: DeploymentRecord,
        record: MonitorRecord | None,
        fresh: list[str],
        done: set[str],
    ) -> dict[str, Any]:
        app, live = deployment.app, deployment.live
        digest = resolve(reader, Ref(f"/packages/{app}", str(live))).digest
        package = reader.get(ArtifactRecord, digest)
        assert package is not None
        manifest = app_of_code(reader, Digest(package.meta["code"])).manifest
        inputs = package.meta["signature"]["inputs"]
        is_same = record is not None and record.package == live
        return {
            "app": app,
            "version": live,
            "package": digest,
            "columns": [column for spec in inputs for column in (spec.get("columns") or [spec["name"]])],
            "target": manifest.target,
            "expected_accuracy": package.meta["accuracy"],
            "held_out_rows": package.meta["held_out_rows"],
            "arl": ARL_ROWS,
            "segments": [str(self._log / name) for name in fresh],
            "done": sorted(done),
            "state": record.state if record is not None and is_same else None,
            "predictions": _digest(reader, f"/predictions/{app}"),
            "labelled": _digest(reader, f"/labelled/{app}"),
            "trusted_keys": self._trusted,
        }

    def _trigger(self, deployment: DeploymentRecord, record: MonitorRecord | None) -> None:
        app = deployment.app
        with self._store.read() as reader:
            package = reader.get(
                ArtifactRecord, resolve(reader, Ref(f"/packages/{app}", str(deployment.live))).digest
            )
            assert package is not None
            manifest = app_of_code(reader, Digest(package.meta["code"])).manifest
            trigger = _trigger_of(manifest)
            if not trigger.on:
                return
            builds = reader.list(
                RunRecord, where={"kind": "build", "app": app}, order_by="id", descending=True, limit=50
            )
            unasked = [b for b in builds if not str(b.payload["cause"]).startswith("principal:")]
            counted = (
                builds if trigger.on == "time" else [*unasked, *(b for b in builds if b.ended_ms is None)]
            )
            decision = decide(
                trigger,
                _alarms(deployment, record),
                [BuildTimes(b.queued_ms, b.ended_ms) for b in counted],
                self._clock.wall_ms(),
            )
            if not decision.start or deployment.phase == "canary":
                return
            since = record.figures["labelled_at_alarm"] if record is not None and record.alarm else None
            grow = self._grow(reader, app, package, manifest, since or 0)
        if grow is not None or trigger.on == "time":
            newest = builds[0].id if builds else 0
            self._loop.rebuild(
                app, f"{decision.cause}: {decision.reason}", grow, f"retrain:{app}:{deployment.live}:{newest}"
            )

    def _grow(
        self, reader: Reader, app: str, package: ArtifactRecord, manifest: Manifest, since: int
    ) -> dict[str, Any] | None:
        """How the data grows before a retrain: by what came back labelled since the alarm, or since the last time.

        Rows from before the alarm look like those the live model knows, and would only drown the new ones. None
        while there are too few.
        """
        build = reader.get(RunRecord, package.meta["build"])
        assert build is not None
        if not build.result["reads"]:
            return None
        source, ref = next(iter(build.result["reads"].items()))
        path = parse_ref(ref).path
        base = resolve(reader, Ref(path))
        base_artifact = reader.get(ArtifactRecord, base.digest)
        labelled = _digest(reader, f"/labelled/{app}")
        rows = reader.get(ArtifactRecord, labelled) if labelled else None
        assert base_artifact is not None
        used = base_artifact.meta.get("labelled_rows_used", 0)
        first = max(used, since)
        if labelled is None or rows is None or rows.meta["rows"] - first < LABELS_TO_RETRAIN:
            return None
        if set(base_artifact.meta["columns"]) - set(rows.meta["columns"]):
            return None
        return {
            "source": source,
            "name": path.removeprefix("/data/"),
            "base": base.digest,
            "labelled": labelled,
            "from_row": first,
            "labelled_rows_used": rows.meta["rows"],
            "file": base_artifact.meta["source"],
            "source_sha256": base_artifact.meta["source_sha256"],
            "stamp": base_artifact.meta.get("stamp"),
            "contract": msgspec.to_builtins(manifest.contract),
            "inputs": [[base.digest, "data"], [labelled, "feedback"]],
        }


def _trigger_of(manifest: Manifest) -> Trigger:
    if manifest.service is None:
        return Trigger()
    return flow_of(manifest, manifest.service.flow).trigger


def _may_look_again(last: RunRecord, now_ms: int) -> bool:
    if last.ended_ms is None:
        return False
    return last.state == "done" or abs(now_ms - last.ended_ms) > RETRY_MS


def _alarms(deployment: DeploymentRecord, record: MonitorRecord | None) -> list[Alarm]:
    """What the watch of the live version has to say; a watch of an older version says nothing any more."""
    if record is None or record.package != deployment.live:
        return []
    found = [Alarm("inputs", record.at_ms)] if record.figures["drift"]["alarm"] else []
    too_many_errors = record.figures["accuracy_alarm_row"] is not None
    return [*found, Alarm("accuracy", record.at_ms)] if too_many_errors else found


def _digest(reader: Reader, path: str) -> Digest | None:
    try:
        return resolve(reader, Ref(path)).digest
    except NotFoundError:
        return None
