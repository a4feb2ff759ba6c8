"""A system without processes: the real catalog and the real access control, a kernel and a loop that only remember."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from kernos.api.app import create_app
from kernos.base.clock import ManualClock
from kernos.base.errors import NotFoundError
from kernos.base.ids import Digest, RunId
from kernos.base.settings import ApiSettings, KernelSettings, Settings
from kernos.catalog.artifacts import move_name, publish
from kernos.catalog.records import ArtifactRecord, DeploymentRecord, RunRecord
from kernos.catalog.store import SqlStore, Transaction
from kernos.kernel.run import Usage, Why
from kernos.runtime.wanted import Status, Traffic
from kernos.security.access import Caller
from kernos.security.keys import SigningKey
from kernos.security.sessions import Sessions
from kernos.security.tokens import Authenticator, RunTokens, issue


@dataclass
class FakeKernel:
    store: SqlStore
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def usage(self) -> dict[RunId, Usage]:
        return {RunId(2): Usage(cpu_s=1.5, rss_bytes=4096)}

    def held(self) -> tuple[float, int]:
        return 1.0, 2**20

    def why(self, run: RunId) -> Why:
        return Why([f"run {run} waits for a core", "run 1 holds it"], "kernos stop 1")

    def stop_run(self, run: RunId, principal: str) -> None:
        self.calls.append(("stop", run, principal))
        end_run(self.store, run, "stopped", f"stopped by {principal}")

    def renice(self, run: RunId, klass: str, weight: float, principal: str) -> None:
        self.calls.append(("nice", run, klass, weight, principal))


@dataclass
class FakeLoop:
    store: SqlStore
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    answering: Status | None = None

    def status(self) -> Status | None:
        return self.answering

    def register_app(self, files: dict[str, str], main: str, caller: Caller) -> dict[str, Any]:
        self.calls.append(("register", files, main, caller.principal))
        return {"app": "diabetes", "version": 1, "run": 4}

    def build(self, app: str, folder: str, args: dict[str, Any], caller: Caller) -> RunRecord:
        self.calls.append(("build", app, folder, args, caller.principal))
        return add_run(self.store, kind="build", app=app, state="running", owner=caller.principal)

    def ingest(self, source: str, name: str, app: str, caller: Caller) -> RunRecord:
        self.calls.append(("ingest", source, name, app, caller.principal))
        return add_run(self.store, kind="ingest", name=name)

    def child(self, run: RunId, verb: str, body: dict[str, Any], caller: Caller) -> dict[str, Any]:
        self.calls.append(("child", run, verb, body))
        return {"run": 7, "state": "queued", "reason": "", "result": {}}

    def deploy(self, app: str, version: int, caller: Caller) -> None:
        self.calls.append(("deploy", app, version, caller.principal))

    def rollback(self, app: str, caller: Caller) -> None:
        self.calls.append(("rollback", app, caller.principal))

    def diff(self, a: str, b: str, caller: Caller) -> dict[str, Any]:
        return {"a": a, "b": b, "rows_added": 1}

    def prediction(self, prediction: str, caller: Caller) -> dict[str, Any]:
        if prediction != "b-1":
            raise NotFoundError(f"No prediction {prediction!r}.", hint="Check the id.")
        return {"app": "diabetes", "id": prediction, "version": 1}


@dataclass
class FakeSystem:
    settings: Settings
    home: Path
    clock: ManualClock
    store: SqlStore
    kernel: FakeKernel
    loop: FakeLoop
    auth: Authenticator
    sessions: Sessions
    signer: SigningKey
    run_tokens: RunTokens
    url: str = "http://127.0.0.1:7070"


def make_system(home: Path) -> FakeSystem:
    clock = ManualClock()
    store = SqlStore(f"sqlite:///{home / 'catalog.db'}", clock)
    store.open()
    tokens = RunTokens(b"s" * 32)
    return FakeSystem(
        settings=Settings(
            home=str(home), api=ApiSettings(body_limit_bytes=1 << 16), kernel=KernelSettings(cpus=2.0)
        ),
        home=home,
        clock=clock,
        store=store,
        kernel=FakeKernel(store),
        loop=FakeLoop(store),
        auth=Authenticator(store, tokens),
        sessions=Sessions(),
        signer=SigningKey.load_or_create(home / "keys"),
        run_tokens=tokens,
    )


@pytest.fixture
def system(tmp_path: Path) -> Iterator[FakeSystem]:
    made = make_system(tmp_path)
    yield made
    made.store.close()


@pytest.fixture
def app(system: FakeSystem) -> Litestar:
    return create_app(system)  # type: ignore[arg-type]  # a stand-in with the fields the API uses


@pytest.fixture
def http(app: Litestar) -> Iterator[TestClient[Litestar]]:
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def admin(system: FakeSystem, http: TestClient[Litestar]) -> TestClient[Litestar]:
    """The same client, with an administrator's token."""
    http.headers["Authorization"] = f"Bearer {token_of(system, 'admin', 'admin')}"
    return http


def token_of(system: FakeSystem, name: str, role: Any) -> str:
    return system.store.write(lambda tx: issue(tx, name, "person", role, by="test"))


def add_run(store: SqlStore, **fields: Any) -> RunRecord:
    def change(tx: Transaction) -> RunRecord:
        given: dict[str, Any] = {
            "kind": "step", "app": "diabetes", "name": "clean", "owner": "admin", "parent": None, "key": "",
            "state": "queued", "reason": "waits for a core", "klass": "batch", "weight": 1.0, "cpus": 1.0,
            "memory_bytes": 2**30, "wall_s": 60.0, "entry": "kernos.loop.work.step:run", "payload": {}, "result": {},
            "attempts": 0, "retries": 0, "queued_ms": tx.at_ms, "started_ms": None, "ended_ms": None, "usage": {},
        } | fields  # fmt: skip
        run = RunRecord(id=tx.next_run_id(), **given)
        tx.put(run)
        tx.emit("run.queued", f"run:{run.id}", run.owner, kind=run.kind, app=run.app)
        return run

    return store.write(change)


def end_run(store: SqlStore, run: int, state: Any, reason: str, **result: Any) -> None:
    def change(tx: Transaction) -> None:
        record = tx.get(RunRecord, run)
        assert record is not None
        tx.put(msgspec.structs.replace(record, state=state, reason=reason, result=result, ended_ms=tx.at_ms))
        tx.emit(f"run.{state}", f"run:{run}", "kernel", reason=reason)

    store.write(change)


def digest(letter: str) -> Digest:
    return Digest("sha256:" + letter * 64)


def add_artifact(store: SqlStore, path: str, letter: str, kind: Any = "dataset", **more: Any) -> str:
    """Publish an Artifact with a digest of one repeated letter; its ref."""
    inputs = more.pop("inputs", [])
    run = more.pop("run", None)

    def change(tx: Transaction) -> str:
        artifact = ArtifactRecord(digest(letter), kind, 10, more, run, tx.at_ms)
        version = publish(tx, path, artifact, inputs, "admin")
        return f"{version.path}@{version.version}"

    return store.write(change)


def name_version(store: SqlStore, path: str, name: str, version: int) -> None:
    store.write(lambda tx: move_name(tx, path, name, version, "admin", "test"))


def add_deployment(store: SqlStore, app: str, **fields: Any) -> DeploymentRecord:
    def change(tx: Transaction) -> DeploymentRecord:
        given: dict[str, Any] = {
            "live": 1, "previous": None, "canary": None, "share": 0.0, "phase": "live",
            "reason": "the first version", "since_ms": tx.at_ms, "settings": {},
        } | fields  # fmt: skip
        record = DeploymentRecord(app=app, **given)
        tx.put(record)
        tx.emit("deployment.live", f"service:{app}", "kernel", version=record.live)
        return record

    return store.write(change)


def traffic(version: int, requests: int, errors: int = 0) -> Traffic:
    buckets = [0] * 26
    buckets[5] = requests
    return Traffic("diabetes", version, requests, requests, errors, 0, buckets, 0.1)


class World:
    """The system with what tests put into it."""

    def __init__(self, system: FakeSystem) -> None:
        self.system = system

    def token(self, name: str, role: str) -> str:
        return token_of(self.system, name, role)

    def header(self, name: str, role: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(name, role)}"}

    def run_header(self, run: int) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.system.run_tokens.issue(RunId(run))}"}

    def run(self, **fields: Any) -> RunRecord:
        return add_run(self.system.store, **fields)

    def end(self, run: int, state: str, reason: str = "", **result: Any) -> None:
        end_run(self.system.store, run, state, reason, **result)

    def artifact(self, path: str, letter: str, kind: str = "dataset", **more: Any) -> str:
        return add_artifact(self.system.store, path, letter, kind, **more)

    def name(self, path: str, name: str, version: int) -> None:
        name_version(self.system.store, path, name, version)

    def deployment(self, app: str, **fields: Any) -> DeploymentRecord:
        return add_deployment(self.system.store, app, **fields)

    def put(self, record: Any, kind: str, subject: str) -> None:
        def change(tx: Transaction) -> None:
            tx.put(record)
            tx.emit(kind, subject, "test")

        self.system.store.write(change)

    def serve(self, *traffic: Traffic) -> None:
        """The data plane answers, with these counters."""
        loaded = [(line.app, line.version) for line in traffic]
        self.system.loop.answering = Status(
            1, 1, "http://127.0.0.1:8080", loaded=loaded, traffic=list(traffic)
        )

    digest = staticmethod(digest)
    traffic = staticmethod(traffic)


@pytest.fixture
def world(system: FakeSystem) -> World:
    return World(system)
