"""The loop without processes: a real catalog, kernel and signer; workers and the data plane do as the test says."""

from __future__ import annotations

import re
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, cast

import msgspec
import polars as pl
import pytest
from sklearn.datasets import load_diabetes

from kernos.base.clock import Clock, ManualClock, SystemClock
from kernos.base.digests import canonical, of_bytes
from kernos.base.errors import KernosError, to_problem
from kernos.base.ids import Digest, RunId
from kernos.base.settings import KernelSettings, LoopSettings
from kernos.catalog.artifacts import publish
from kernos.catalog.blobs import FileBlobs
from kernos.catalog.records import (
    ArtifactKind,
    ArtifactRecord,
    DeploymentRecord,
    EventRecord,
    MonitorRecord,
    NameRecord,
    PrincipalRecord,
    RunRecord,
)
from kernos.catalog.store import SqlStore
from kernos.kernel.driver import Kernel
from kernos.kernel.run import RunSpec, Task
from kernos.loop.deploy import Deployer
from kernos.loop.facade import Loop
from kernos.loop.reconciler import Reconciler
from kernos.loop.room import code_folder
from kernos.loop.settle import settle
from kernos.loop.watcher import Watcher
from kernos.models.package import PackageManifest, seal, statement
from kernos.runtime.wanted import Status, Traffic, Wanted
from kernos.security.access import Caller
from kernos.security.dsse import sign_statement
from kernos.security.keys import SigningKey
from kernos.serve.supervisor import Plane
from kernos.spec.manifest import Flow, Manifest, Service, Step, Trigger
from kernos.testing.manual_executor import ManualExecutor
from kernos.testing.planes import SIGNATURE, linear

ANN = Caller("ann", "operator")
WAIT_S = 20.0
SERVICE = Service(flow="build", canary_share=0.2, canary_s=5.0, max_error_share=0.01)


class FakePlane:
    """A data plane that loads what it is told, but for what the test has it refuse."""

    def __init__(self) -> None:
        self.url = "http://127.0.0.1:1"
        self.refuses: dict[tuple[str, int], str] = {}
        self.traffic: list[Traffic] = []
        self.applied: list[Wanted] = []
        self.ensured_s: list[float] = []
        self.is_answering = True
        self.generation = 0

    def ensure(self, now_s: float) -> None:
        self.ensured_s.append(now_s)

    def apply(self, wanted: Wanted) -> None:
        self.applied.append(wanted)
        self.generation = wanted.generation

    def restart(self) -> None:
        """As a new process that has not been told anything."""
        self.generation = 0

    def status(self) -> Status | None:
        if not self.is_answering:
            return None
        wanted = self.applied[-1] if self.generation else Wanted(0)
        keys = [(one.app, one.version) for one in wanted.revisions]
        return Status(
            self.generation,
            1,
            self.url,
            loaded=[key for key in keys if key not in self.refuses],
            failed=[(*key, self.refuses[key]) for key in keys if key in self.refuses],
            traffic=self.traffic,
        )


class Machine:
    """One home. `again` gives new objects on the same catalog, as a restarted kernel would."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.clock = ManualClock()
        self.store = SqlStore(f"sqlite:///{home}/catalog.db", SystemClock())
        self.store.open()
        self.blobs = FileBlobs(home / "blobs")
        self.signer = SigningKey.load_or_create(home / "keys")
        self.plane = FakePlane()
        self.executor = ManualExecutor()
        self.kernel = self._kernel(SystemClock())
        self.kernel.start()
        self.build_parts()

    def build_parts(self) -> None:
        """Everything above the kernel: new objects, nothing remembered."""
        plane, settings = cast("Plane", self.plane), LoopSettings(monitor_every_s=2.0)
        self.deployer = Deployer(self.store, self.blobs, plane, self.signer, settings, self.clock)
        self.loop = Loop(
            self.store, self.blobs, self.kernel, self.deployer, self.signer, settings, self.home, self.clock
        )
        self.watcher = Watcher(
            self.store, self.kernel, self.loop, self.signer, settings, self.home, self.clock
        )
        self.reconciler = Reconciler(
            self.store,
            self.kernel,
            self.deployer,
            self.watcher,
            self.signer,
            settings,
            self.home,
            self.clock,
        )

    def close(self) -> None:
        self.kernel.check()
        self.kernel.stop(leave=True)
        self.store.close()

    # What is there

    def run(self, run: int) -> RunRecord:
        with self.store.read() as reader:
            found = reader.get(RunRecord, RunId(run))
        assert found is not None
        return found

    def runs(self, **where: Any) -> list[RunRecord]:
        with self.store.read() as reader:
            return reader.list(RunRecord, where=where, order_by="id")

    def events(self, kind: str) -> list[EventRecord]:
        with self.store.read() as reader:
            return reader.events(kind_prefix=kind)

    def name(self, path: str, name: str) -> int | None:
        with self.store.read() as reader:
            found = reader.get(NameRecord, path, name)
        return found.version if found else None

    def deployment(self, app: str = "m") -> DeploymentRecord:
        with self.store.read() as reader:
            found = reader.get(DeploymentRecord, app)
        assert found is not None
        return found

    def monitor(self, app: str = "m") -> MonitorRecord | None:
        with self.store.read() as reader:
            return reader.get(MonitorRecord, app)

    # Making it so

    def put(self, *records: Any) -> None:
        def change(tx: Any) -> None:
            for record in records:
                tx.put(record)
            tx.emit("test.put", "test", "test")

        self.store.write(change)

    def principal(self, name: str, role: Any) -> None:
        self.put(PrincipalRecord(name, "person", role, f"sha of {name}", 0))

    def artifact(
        self, digest: str, kind: ArtifactKind, meta: dict[str, Any], path: str = "", run: RunId | None = None
    ) -> int:
        record = ArtifactRecord(Digest(digest), kind, 1, meta, run, 0)
        if not path:
            self.put(record)
            return 0
        return self.store.write(lambda tx: publish(tx, path, record, [], "ann").version)

    def app(self, manifest: Manifest | None = None, code: str = "sha256:code") -> Digest:
        """An App that is known; its sources are not."""
        manifest = manifest or manifest_of()
        meta = {"manifest": msgspec.to_builtins(manifest), "main": "app.py"}
        self.artifact(code, "app", meta, f"/apps/{manifest.app}")
        return Digest(code)

    def package(self, factor: float, *, key: SigningKey | None = None, build: int = 0, **meta: Any) -> int:
        """A package of the App `m` that multiplies by `factor`: real bytes, really signed. Its version."""
        onnx = linear(factor)
        model = of_bytes(onnx)
        signature = msgspec.to_builtins(SIGNATURE)
        version = self.artifact(model, "model", {"signature": signature}, "/models/m")
        manifest = PackageManifest(1, "m", model, SIGNATURE, "y", Digest("sha256:code"), [], 0, {}, {}, "0")
        files = dict.fromkeys(("gates.json", "lineage.json", "reference.json", "replay.json"), b"{}")
        files |= {"card.md": b"# m\n", "model.onnx": onnx, "manifest.json": canonical(manifest)}
        digests = {name: of_bytes(data) for name, data in files.items()}
        target = self.home / f"m-{factor}.kpkg"
        seal(target, files, sign_statement(statement(digests, manifest), key or self.signer))
        facts = {
            "app": "m", "model": model, "model_ref": f"/models/m@{version}", "signature": signature, "build": build,
            "metrics": {}, "accuracy": 0.8, "held_out_rows": 100, "data": [], "code": "sha256:code", "key_id": "k",
            "files": digests,
        }  # fmt: skip
        return self.artifact(self.blobs.put_file(target), "package", facts | meta, "/packages/m")

    def go_live(self, factor: float = 1.0, **meta: Any) -> int:
        """A first version, live."""
        version = self.package(factor, **meta)
        self.deployer.deploy("m", version, "ann")
        self.deployer.tick()
        assert self.deployment().live == version
        return version

    def working(self, kind: Any = "flow", *, parent: RunId | None = None, **more: Any) -> Task:
        """A Run whose worker is at work."""
        fields = {"cpus": 0.0, "entry": "m:f", "payload": {}, **more}
        run = self.kernel.submit(RunSpec(kind, "m", kind, "ann", parent=parent, **fields))
        return self.started(run.id)

    def started(self, run: int) -> Task:
        def found() -> list[Task]:
            return [task for task in self.executor.started if task.run == run]

        self.executor.wait_for(lambda: bool(found()), WAIT_S)
        return found()[-1]

    def end(self, task: Task, **ok: Any) -> RunRecord:
        self.executor.end(task, ok=ok)
        return self.kernel.wait(task.run, WAIT_S)

    def _kernel(self, clock: Clock) -> Kernel:
        settings = KernelSettings(cpus=4.0, memory_bytes=8 * 2**30, run_memory_bytes=2**28)
        return Kernel(
            self.store,
            self.executor,
            settings,
            self.home,
            clock,
            settle=settle,
            token_for=lambda run: f"token {run}",
            socket="",
        )


def manifest_of(**changes: Any) -> Manifest:
    trigger = Trigger("on drift, at most daily", "drift", 86_400.0)
    made = Manifest(
        "m", "y", flows=[Flow("build", "sha256:f", params={"source": "rows.parquet"}, trigger=trigger)], service=SERVICE,
        steps=[Step("clean", "sha256:s1", cpus=2.0, memory_bytes=123, klass="idle"), Step("train", "sha256:s2")],
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.close()


@pytest.fixture
def blobs(tmp_path: Path) -> FileBlobs:
    return FileBlobs(tmp_path / "blobs")


# Work functions, in this process

Answer = Callable[[str, dict[str, Any]], dict[str, Any]]


class Workshop:
    """A home in which work functions run here and now; `answers` plays the kernel they ask."""

    def __init__(self, home: Path, answers: Answer) -> None:
        self.home = home
        self.blobs = FileBlobs(home / "blobs")
        self.socket = str(home / "k.sock")
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answers = answers
        workshop = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = msgspec.json.decode(self.rfile.read(int(self.headers["Content-Length"])))
                try:
                    status, answer = 200, workshop.answer(self.path.rpartition("/")[2], body)
                except KernosError as error:
                    status, answer = error.status, to_problem(error)
                data = msgspec.json.encode(answer)
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def address_string(self) -> str:
                return "worker"

            def log_message(self, *args: Any) -> None:
                return

        self.server = socketserver.ThreadingUnixStreamServer(self.socket, Handler)
        self.server.daemon_threads = False
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()

    def answer(self, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((verb, body))
        return self.answers(verb, body)

    def task(self, payload: dict[str, Any], run: int = 7) -> Task:
        folder = self.home / "runs" / str(run)
        folder.mkdir(parents=True, exist_ok=True)
        return Task(RunId(run), "", payload, str(self.home), str(folder), "token", self.socket, 1)

    def source(self, text: str) -> dict[str, Any]:
        """The App's module laid out as the kernel does; the payload that names it."""
        code = of_bytes(text.encode())
        folder = code_folder(self.home, code)
        folder.mkdir(parents=True)
        (folder / "app.py").write_text(text)
        return {"code": code, "main": "app.py"}


@pytest.fixture
def make_workshop(tmp_path: Path) -> Iterator[Callable[[Answer], Workshop]]:
    made: list[Workshop] = []
    path, modules = sys.path.copy(), set(sys.modules)

    def make(answers: Answer) -> Workshop:
        made.append(Workshop(tmp_path, answers))
        return made[-1]

    yield make
    for workshop in made:
        workshop.close()
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("kernos_app_"):
            del sys.modules[name]


@pytest.fixture(scope="session")
def diabetes() -> pl.DataFrame:
    data = load_diabetes(scaled=False)
    frame = pl.DataFrame(data.data, schema=list(data.feature_names))
    return frame.with_columns(
        pl.col("sex").cast(pl.Int64), pl.Series("progressed", (data.target > 140.5).astype("int64"))
    )


@pytest.fixture(scope="session")
def example() -> str:
    """The example App's source, without its search."""
    text = (Path(__file__).parents[3] / "examples" / "diabetes" / "app.py").read_text()
    return re.sub(r"@app\.flow\(.*\)", "@app.flow", text)
