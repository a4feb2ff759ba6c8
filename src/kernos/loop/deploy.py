"""Deployments: names that move behind gates. What is wanted is in the catalog; the plane is told after it is committed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from kernos.base.clock import Clock
from kernos.base.errors import ConflictError, CorruptError, NotFoundError
from kernos.base.ids import Digest, Ref
from kernos.base.settings import LoopSettings
from kernos.catalog.artifacts import move_name, resolve
from kernos.catalog.blobs import Blobs
from kernos.catalog.records import ArtifactRecord, DeploymentRecord, NameRecord, PrincipalRecord
from kernos.catalog.store import Reader, SqlStore, Transaction
from kernos.loop.apps import app_of_code
from kernos.models.package import open_package
from kernos.runtime.wanted import Caller, Revision, Route, Status, Traffic, Wanted
from kernos.security.access import actions_of
from kernos.security.keys import SigningKey, VerifyKey
from kernos.serve.rollout import Promote, RollBack, Rollout, Rules, Tick, Wait
from kernos.serve.supervisor import Plane
from kernos.spec.manifest import Service

_log = logging.getLogger(__name__)

_Change = Callable[[Transaction, DeploymentRecord], None]


LOOK_EVERY_S = 1.0
"""How often the plane is looked at while nothing is on trial."""


class Deployer:
    """Not thread-safe but for `deploy`, `rollback` and `status`; `tick` belongs to the reconciler."""

    def __init__(
        self,
        store: SqlStore,
        blobs: Blobs,
        plane: Plane,
        signer: SigningKey,
        settings: LoopSettings,
        clock: Clock,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._plane = plane
        self._trusted_pem = [signer.public_pem]
        self._trusted = [VerifyKey.from_pem(signer.public_pem)]
        self._settings = settings
        self._clock = clock
        self._applied: Wanted | None = None
        self._look_s = 0.0
        self._rollouts: dict[tuple[str, int, int], Rollout] = {}
        """(app, canary version, since) -> its trial. A restarted kernel begins the trial again."""
        self._damaged: dict[tuple[str, int], str] = {}
        """(app, version) -> why its package cannot be read."""

    def deploy(self, app: str, version: int, principal: str) -> None:
        """Verify the package and make it the canary; with nothing live it goes live as soon as it is loaded."""
        with self._store.read() as reader:
            package = resolve(reader, Ref(f"/packages/{app}", str(version)))
            service = _service(reader, app, version)
        open_package(self._blobs.path(package.digest), self._trusted)

        def change(tx: Transaction) -> None:
            before = tx.get(DeploymentRecord, app)
            live = before.live if before else None
            if live == version:
                raise ConflictError(
                    f"{app}@{version} is live already.", hint=f"`kernos services` shows {app}."
                )
            share = service.canary_share if live is not None else 1.0
            record = DeploymentRecord(
                app=app,
                live=live,
                previous=before.previous if before else None,
                canary=version,
                share=share or 1.0,
                phase="canary",
                reason=f"version {version} is on trial"
                if live is not None
                else f"version {version} is being loaded",
                since_ms=tx.at_ms,
                settings=msgspec.to_builtins(service),
            )
            self._move(tx, app, "canary", version, principal, record.reason)
            tx.put(record)
            tx.emit(
                "deployment.canary",
                f"service:{app}",
                principal,
                version=version,
                share=record.share,
                live=live,
            )

        self._store.write(change)

    def rollback(self, app: str, principal: str, reason: str) -> None:
        """Give up the canary; without one, put the previous version back."""

        def change(tx: Transaction) -> None:
            before = tx.get(DeploymentRecord, app)
            if before is None or (before.canary is None and before.previous is None):
                raise ConflictError(
                    f"{app} has no version to go back to.", hint=f"`kernos services` shows {app}."
                )
            if before.canary is not None:
                self._drop_canary(tx, before, principal, reason)
                return
            self._fall_back(tx, before, principal, reason, previous=before.live)

        self._store.write(change)

    def status(self) -> Status | None:
        return self._plane.status()

    @property
    def url(self) -> str:
        return self._plane.url

    def tick(self) -> bool:
        """Tell the plane what is wanted, and judge the canaries. Whether to look again soon."""
        with self._store.read() as reader:
            deployments = reader.list(DeploymentRecord)
            wanted = self._wanted(reader, deployments)
        now_s = self._clock.monotonic_s()
        is_on_trial = any(deployment.canary is not None for deployment in deployments)
        if not is_on_trial and not self._differs(wanted) and now_s < self._look_s:
            return False
        self._look_s = now_s + LOOK_EVERY_S
        self._plane.ensure(now_s)
        status = self._plane.status()
        if status is None:
            return True
        if self._differs(wanted) or status.generation == 0:
            generation = max(status.generation, self._applied.generation if self._applied else 0) + 1
            self._applied = msgspec.structs.replace(wanted, generation=generation)
            self._plane.apply(self._applied)
            status = self._plane.status() or status
        trials = {(d.app, d.canary, d.since_ms) for d in deployments if d.canary is not None}
        self._rollouts = {trial: rollout for trial, rollout in self._rollouts.items() if trial in trials}
        for deployment in deployments:
            if deployment.canary is not None:
                self._judge(deployment, deployment.canary, status)
            elif deployment.live is not None:
                self._look_after(deployment, deployment.live, status)
        return is_on_trial

    def _differs(self, wanted: Wanted) -> bool:
        if self._applied is None:
            return True
        return msgspec.structs.replace(wanted, generation=0) != msgspec.structs.replace(
            self._applied, generation=0
        )

    def _wanted(self, reader: Reader, deployments: list[DeploymentRecord]) -> Wanted:
        revisions, routes = [], []
        for deployment in deployments:
            for version in dict.fromkeys((deployment.live, deployment.canary)):
                if version is None:
                    continue
                revision = self._revision(reader, deployment.app, version)
                revisions += [] if revision is None else [revision]
            live = deployment.live if deployment.live is not None else deployment.canary
            if live is not None:
                canary = deployment.canary if deployment.live is not None else None
                routes.append(
                    Route(deployment.app, live, canary, deployment.share if canary is not None else 0.0)
                )
        principals = reader.list(PrincipalRecord)
        callers = [Caller(p.name, p.token_sha256) for p in principals if "infer" in actions_of(p.role)]
        return Wanted(0, revisions, routes, callers, self._trusted_pem)

    def _revision(self, reader: Reader, app: str, version: int) -> Revision | None:
        """None where the package cannot be read; a plane that has loaded it goes on with what it has."""
        digest = resolve(reader, Ref(f"/packages/{app}", str(version))).digest
        try:
            path = self._blobs.path(digest)
        except (CorruptError, NotFoundError) as error:
            self._damaged[app, version] = error.message
            applied = self._applied.revisions if self._applied is not None else []
            return next((known for known in applied if (known.app, known.version) == (app, version)), None)
        self._damaged.pop((app, version), None)
        return Revision(app, version, str(path), digest)

    def _failure(self, app: str, version: int, status: Status) -> str:
        """Why this version does not serve; empty where nothing speaks against it."""
        if (app, version) in status.loaded:
            return ""
        told = (why for failed_app, failed, why in status.failed if (failed_app, failed) == (app, version))
        return next(told, self._damaged.get((app, version), ""))

    def _look_after(self, deployment: DeploymentRecord, live: int, status: Status) -> None:
        """A live version that does not load gives way to the one before it; without one the service is stopped till it does."""
        why = self._failure(deployment.app, live, status)
        if why and deployment.previous is not None:
            self._settle(
                deployment,
                lambda tx, record: self._fall_back(tx, record, "kernel", _unloaded(why), previous=None),
            )
        elif why and deployment.phase != "stopped":
            self._settle(deployment, lambda tx, record: self._stop(tx, record, _unloaded(why)))
        elif deployment.phase == "stopped" and (deployment.app, live) in status.loaded:
            self._settle(deployment, lambda tx, record: self._promote(tx, record, live, "It loads again."))

    def _judge(self, deployment: DeploymentRecord, version: int, status: Status) -> None:
        key = (deployment.app, version)
        now_s = self._clock.monotonic_s()
        rollout = self._rollouts.setdefault(
            (*key, deployment.since_ms), Rollout(_rules(deployment, self._settings), now_s)
        )
        tick = Tick(
            now_s=now_s,
            is_loaded=key in status.loaded,
            failed=self._failure(*key, status),
            has_live=deployment.live is not None,
            traffic=next((t for t in status.traffic if (t.app, t.version) == key), None),
        )
        match rollout.feed(tick):
            case Promote(reason=reason):
                self._settle(deployment, lambda tx, record: self._promote(tx, record, version, reason))
            case RollBack(reason=reason):
                seen = {} if tick.traffic is None else _counted(tick.traffic)
                self._settle(
                    deployment, lambda tx, record: self._drop_canary(tx, record, "kernel", reason, seen)
                )
            case Wait():
                pass

    def _settle(self, judged: DeploymentRecord, change: _Change) -> None:
        """Carry out a verdict, unless somebody has moved the deployment meanwhile."""

        def checked(tx: Transaction) -> None:
            if tx.get(DeploymentRecord, judged.app) == judged:
                change(tx, judged)

        self._store.write(checked)

    def _promote(self, tx: Transaction, before: DeploymentRecord, version: int, reason: str) -> None:
        record = msgspec.structs.replace(
            before, live=version, previous=before.live, canary=None, share=0.0, phase="live", reason=reason,
            since_ms=tx.at_ms,
        )  # fmt: skip
        self._move(tx, before.app, "live", version, "kernel", reason)
        self._unname_canary(tx, before.app)
        tx.put(record)
        tx.emit(
            "deployment.live",
            f"service:{before.app}",
            "kernel",
            version=version,
            previous=before.live,
            reason=reason,
        )

    def _fall_back(
        self,
        tx: Transaction,
        before: DeploymentRecord,
        principal: str,
        reason: str,
        *,
        previous: int | None,
    ) -> None:
        """The version before is live again; `previous` is what a rollback would go to then."""
        assert before.previous is not None
        record = msgspec.structs.replace(
            before, live=before.previous, previous=previous, phase="live", reason=reason, since_ms=tx.at_ms
        )
        self._move(tx, before.app, "live", before.previous, principal, reason)
        tx.put(record)
        tx.emit(
            "deployment.rolled_back", f"service:{before.app}", principal,
            to=before.previous, version=before.live, reason=reason,
        )  # fmt: skip

    def _stop(self, tx: Transaction, before: DeploymentRecord, reason: str) -> None:
        tx.put(msgspec.structs.replace(before, phase="stopped", reason=reason, since_ms=tx.at_ms))
        tx.emit("deployment.stopped", f"service:{before.app}", "kernel", version=before.live, reason=reason)

    def _drop_canary(
        self,
        tx: Transaction,
        before: DeploymentRecord,
        principal: str,
        reason: str,
        seen: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        phase = "rolled_back" if before.live is not None else "stopped"
        record = msgspec.structs.replace(
            before, canary=None, share=0.0, phase=phase, reason=reason, since_ms=tx.at_ms
        )
        if before.live is not None:  # the canary's own declaration goes with it
            kept = msgspec.to_builtins(_service(tx, before.app, before.live))
            record = msgspec.structs.replace(record, settings=kept)
        self._unname_canary(tx, before.app)
        tx.put(record)
        tx.emit(
            "deployment.rolled_back", f"service:{before.app}", principal,
            version=before.canary, to=before.live, reason=reason, **seen,
        )  # fmt: skip

    def _unname_canary(self, tx: Transaction, app: str) -> None:
        for path in (f"/packages/{app}", f"/models/{app}"):
            if tx.get(NameRecord, path, "canary") is not None:
                tx.delete(NameRecord, path, "canary")

    def _move(self, tx: Transaction, app: str, name: str, version: int, principal: str, reason: str) -> None:
        """Move the name on the package and on the model inside it."""
        move_name(tx, f"/packages/{app}", name, version, principal, reason)
        digest = resolve(tx, Ref(f"/packages/{app}", str(version))).digest
        package = tx.get(ArtifactRecord, digest)
        assert package is not None
        path, _, model_version = str(package.meta["model_ref"]).partition("@")
        move_name(tx, path, name, int(model_version), principal, reason)


def _unloaded(why: str) -> str:
    return f"It did not load: {why}"


def _counted(traffic: Traffic) -> dict[str, int]:
    """What the journal keeps of a canary that was taken back."""
    return {"requests": traffic.requests, "errors": traffic.errors, "rescued": traffic.rescued}


def _service(reader: Reader, app: str, version: int) -> Service:
    """How the App's code behind this package wants to be served."""
    artifact = reader.get(ArtifactRecord, resolve(reader, Ref(f"/packages/{app}", str(version))).digest)
    assert artifact is not None
    return app_of_code(reader, Digest(artifact.meta["code"])).manifest.service or Service(flow="")


def _rules(deployment: DeploymentRecord, settings: LoopSettings) -> Rules:
    service = msgspec.convert(deployment.settings, Service)
    return Rules(
        share=service.canary_share,
        canary_s=service.canary_s,
        max_error_share=service.max_error_share,
        max_p99_ms=service.max_p99_ms,
        minimum_requests=settings.canary_minimum_requests,
    )
