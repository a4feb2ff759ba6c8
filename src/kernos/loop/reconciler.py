"""The loop's one thread: brings what is nearer to what is wanted, tick by tick. All it knows is in the catalog."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import msgspec

from kernos.base.clock import Clock
from kernos.base.errors import KernosError, to_problem
from kernos.base.ids import Digest, Ref
from kernos.base.settings import LoopSettings
from kernos.catalog.artifacts import lineage, resolve
from kernos.catalog.audit import sign_head
from kernos.catalog.records import ENDED, ArtifactRecord, DeploymentRecord, RunRecord
from kernos.catalog.store import Reader, SqlStore
from kernos.kernel.driver import Kernel
from kernos.loop.apps import app_of_code
from kernos.loop.build import STAGES, Deploy, End, Facts, Submit, plan, stage_key
from kernos.loop.deploy import Deployer
from kernos.loop.watcher import Watcher
from kernos.security.keys import SigningKey

_log = logging.getLogger(__name__)
HEAD_EVERY_S = 30.0
CALM_TICK_S = 1.0
"""Between rounds while nothing is going on; every Event starts one at once."""


class Reconciler:
    def __init__(
        self,
        store: SqlStore,
        kernel: Kernel,
        deployer: Deployer,
        watcher: Watcher,
        signer: SigningKey,
        settings: LoopSettings,
        home: Path,
        clock: Clock,
    ) -> None:
        self._store = store
        self._kernel = kernel
        self._deployer = deployer
        self._watcher = watcher
        self._signer = signer
        self._settings = settings
        self._home = home
        self._clock = clock
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)
        self._head_s = clock.monotonic_s()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and leave the journal under a signed head. Harmless before `start`."""
        self._ending.set()
        if self._thread.ident is not None:
            self._thread.join(10.0)
        self._sign()

    def _run(self) -> None:
        seen, is_busy = -1, True
        while not self._ending.is_set():
            seen = self._store.wait(seen, self._settings.tick_s if is_busy else CALM_TICK_S)
            try:
                is_busy = self.tick()
            except KernosError as error:
                _log.warning("tick failed: %s", error)
                self._ending.wait(self._settings.tick_s)
            except Exception:
                _log.exception("tick failed")
                self._ending.wait(1.0)

    def tick(self) -> bool:
        """One round over builds, deployments and services. Whether something is going on that no Event will tell of."""
        with self._store.read() as reader:
            builds = reader.list(RunRecord, where={"kind": "build", "state": "running"}, order_by="id")
        for build in builds:
            self._advance(build)
        is_on_trial = self._deployer.tick()
        self._watcher.tick()
        now_s = self._clock.monotonic_s()
        if now_s - self._head_s >= HEAD_EVERY_S:
            self._head_s = now_s
            self._sign()
        return is_on_trial or bool(builds)

    def _sign(self) -> None:
        sign_head(self._store, self._signer.sign, self._signer.key_id)

    def _advance(self, build: RunRecord) -> None:
        """Carry out the plan's next order; a mistake in the build's own data ends that build, not the loop."""
        try:
            with self._store.read() as reader:
                facts = self._facts(reader, build)
            order = plan(facts)
            match order:
                case Submit(spec=spec):
                    self._kernel.submit(spec)
                case End(state=state, reason=reason, result=result):
                    self._kernel.finish(build.id, "done" if state == "done" else "failed", reason, result)
                case Deploy(version=version, result=result):
                    self._deploy(build, version, result)
                case None:
                    pass
        except KernosError as error:
            if error.retry:
                raise
            self._kernel.finish(build.id, "failed", error.message, {"error": to_problem(error)})

    def _deploy(self, build: RunRecord, version: int, result: dict[str, Any]) -> None:
        """Deploy once. The build ends when the version is on trial beside a live one, or is live itself."""
        subject = f"service:{build.app}"
        with self._store.read() as reader:
            moves = reader.events(kind_prefix="deployment.", subject=subject)
            service = reader.get(DeploymentRecord, build.app)
        mine = [event for event in moves if event.payload.get("version") == version]
        is_begun = any(event.kind == "deployment.canary" for event in mine)
        if service is None or (service.live != version and not is_begun):
            self._deployer.deploy(build.app, version, build.owner)
            return
        told = {**result, "deployed": version}
        if service.live == version:
            self._kernel.finish(build.id, "done", f"version {version} is live", told)
        elif service.canary == version and service.live is not None:
            share = f"{service.share:.0%}"
            self._kernel.finish(
                build.id, "done", f"version {version} is on trial with {share} of the traffic", told
            )
        elif service.canary != version:
            last = mine[-1]
            if last.kind in {"deployment.rolled_back", "deployment.stopped"}:
                reason = f"version {version} was taken back: {last.payload['reason']}"
                self._kernel.finish(build.id, "failed", reason, told)
            else:
                self._kernel.finish(build.id, "done", f"version {version} gave way to a newer one", told)

    def _facts(self, reader: Reader, build: RunRecord) -> Facts:
        keys: dict[str, str] = {stage_key(build.id, stage): stage for stage in STAGES}
        found = reader.list(RunRecord, where={"key": list(keys)})
        children = {keys[run.key]: run for run in found}
        manifest = app_of_code(reader, Digest(build.payload["code"])).manifest
        flow = children.get("flow")
        made = flow is not None and flow.state in ENDED and "value" in flow.result
        edges = lineage(reader, flow.result["value"]["digest"]) if flow is not None and made else []
        return Facts(
            build=build,
            manifest=manifest,
            children=children,
            live=live_model(reader, build.app),
            lineage=msgspec.to_builtins(edges),
            key_id=self._signer.key_id,
        )


def live_model(reader: Reader, app: str) -> dict[str, Any] | None:
    """Digest, signature and path of the model that is live, for the gate to compare with."""
    deployment = reader.get(DeploymentRecord, app)
    if deployment is None or deployment.live is None:
        return None
    package = reader.get(
        ArtifactRecord, resolve(reader, Ref(f"/packages/{app}", str(deployment.live))).digest
    )
    if package is None:
        return None
    return {
        "digest": package.meta["model"],
        "signature": package.meta["signature"],
        "ref": package.meta["model_ref"],
    }
