"""What the API may ask of the loop. Every method checks, commits and returns; nothing here waits for a build."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from kernos.base.clock import Clock
from kernos.base.digests import of_value
from kernos.base.errors import (
    DeniedError,
    InvalidError,
    KernosError,
    NotFoundError,
    RefusedError,
    from_problem,
)
from kernos.base.ids import Digest, Ref, RunId, check_name, parse_ref
from kernos.base.settings import LoopSettings
from kernos.catalog.artifacts import resolve
from kernos.catalog.blobs import Blobs
from kernos.catalog.records import ArtifactRecord, CacheRecord, DeploymentRecord, RunRecord
from kernos.catalog.store import Reader, SqlStore
from kernos.kernel.driver import Kernel
from kernos.kernel.run import RunSpec
from kernos.loop.apps import RegisteredApp, app_of_code, find_app, store_bundle
from kernos.loop.build import build_fingerprint, cache_key, flow_of
from kernos.loop.deploy import Deployer
from kernos.loop.environment import environment_digest, versions
from kernos.loop.sources import Fresh, Pinned, find_source
from kernos.runtime.wanted import Status
from kernos.security.access import Caller
from kernos.security.dsse import sign_statement
from kernos.security.keys import SigningKey

CALL_WAIT_S = 20.0
SEED = 1
"""Of the split and of the search; recorded with every build. README tells how it was chosen."""


_ASKED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "read": ("source",),
        "call": ("step", "arguments", "reads"),
        "trial": ("index", "params"),
        "wait": ("run", "timeout_s"),
        "sign": ("statement",),
    }
)
"""What each question of a worker must hold."""


class Loop:
    def __init__(
        self,
        store: SqlStore,
        blobs: Blobs,
        kernel: Kernel,
        deployer: Deployer,
        signer: SigningKey,
        settings: LoopSettings,
        home: Path,
        clock: Clock,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._kernel = kernel
        self._deployer = deployer
        self._signer = signer
        self._settings = settings
        self._home = home
        self._clock = clock
        self._environment = environment_digest()

    # Apps and builds

    def register_app(self, files: dict[str, str], main: str, caller: Caller) -> dict[str, Any]:
        """Keep the sources, load the module in a worker, and publish what it declares. Unchanged sources are known at once."""
        code, size_bytes = store_bundle(files, main, self._blobs, self._home)
        with self._store.read() as reader:
            known = reader.get(ArtifactRecord, code)
        if known is not None:
            with self._store.read() as reader:
                app = app_of_code(reader, code)
                version = resolve(reader, Ref(f"/apps/{app.name}"))
            if version.digest == code:
                return {"app": app.name, "version": version.version, "run": known.run}
        payload = {"code": code, "main": main, "size_bytes": size_bytes}
        spec = RunSpec(
            kind="load",
            app=main.removesuffix(".py"),
            name=main,
            owner=caller.principal,
            klass="interactive",
            entry="kernos.loop.work.load:run",
            payload=payload,
        )
        run = self._succeeded(self._kernel.submit(spec))
        return {"app": run.result["manifest"]["app"], "version": run.result["version"], "run": run.id}

    def build(self, app: str, folder: str, args: dict[str, Any], caller: Caller) -> RunRecord:
        """Start a build of the App's newest version, or recall the one that has the same code, arguments, data and libraries."""
        with self._store.read() as reader:
            registered = find_app(reader, app)
            spec = self._build_spec(
                registered, folder, args, caller.principal, f"principal:{caller.principal}"
            )
            known = self._same_build(reader, spec)
        if known is not None:
            return self._kernel.record_cached(spec, known)
        return self._kernel.submit(spec)

    def rebuild(self, app: str, cause: str, grow: dict[str, Any] | None, key: str) -> RunRecord:
        """The loop's own build: the code that is live, on data that has grown by what came back from service, if anything did."""
        with self._store.read() as reader:
            deployment = reader.get(DeploymentRecord, app)
            if deployment is None or deployment.live is None:
                raise NotFoundError(f"{app} has no live version.", hint="Deploy one first.")
            package = reader.get(
                ArtifactRecord, resolve(reader, Ref(f"/packages/{app}", str(deployment.live))).digest
            )
            assert package is not None
            live = reader.get(RunRecord, RunId(package.meta["build"]))
            registered = app_of_code(reader, Digest(package.meta["code"]))
            assert live is not None
            payload = live.payload
        spec = self._build_spec(registered, payload["folder"], payload["arguments"], "kernel", cause)
        spec = msgspec.structs.replace(spec, payload={**spec.payload, "grow": grow}, key=key)
        return self._kernel.submit(spec)

    def _build_spec(
        self, registered: RegisteredApp, folder: str, args: Mapping[str, Any], owner: str, cause: str
    ) -> RunSpec:
        manifest = registered.manifest
        if not manifest.flows:
            raise InvalidError(
                f"App {registered.name} declares no flow.", hint="Decorate one function with @app.flow()."
            )
        name = manifest.service.flow if manifest.service else manifest.flows[0].name
        flow = flow_of(manifest, name)
        unknown = sorted(set(args) - set(flow.params))
        if unknown:
            raise InvalidError(
                f"Flow {name} has no parameter {unknown[0]!r}.",
                hint=f"It has: {', '.join(flow.params) or 'none'}.",
            )
        arguments = {**flow.params, **args}
        split = {
            "held_out": self._settings.held_out_share,
            "validation": self._settings.validation_share,
            "seed": SEED,
        }
        payload = {
            "app": registered.name,
            "app_version": registered.version,
            "code": registered.code,
            "main": registered.main,
            "folder": folder,
            "flow": name,
            "arguments": arguments,
            "cause": cause,
            "seed": SEED,
            "split": split,
            "parallel": max(1, int(self._kernel.cpus())),
            "environment": versions(),
            "fingerprint": build_fingerprint(registered.code, name, arguments, self._environment),
        }
        return RunSpec(kind="build", app=registered.name, name=name, owner=owner, cpus=0.0, payload=payload)

    def _same_build(self, reader: Reader, spec: RunSpec) -> dict[str, Any] | None:
        """The result of the newest build, if it was this one, its data is as it was, and what it made is in service."""
        service = reader.get(DeploymentRecord, spec.app)
        in_service = {service.live, service.canary} if service is not None else set()
        builds = reader.list(
            RunRecord,
            where={"kind": "build", "app": spec.app, "state": ("done", "cached")},
            order_by="id",
            descending=True,
            limit=20,
        )
        for build in builds:
            if build.payload["fingerprint"] != spec.payload["fingerprint"] or not build.result.get("reads"):
                continue
            if "deployed" in build.result and build.result["deployed"] not in in_service:
                continue
            folder = spec.payload["folder"]
            found = {source: find_source(reader, source, folder) for source in build.result["reads"]}
            if all(
                isinstance(now, Pinned) and now.ref == build.result["reads"][source]
                for source, now in found.items()
            ):
                return {**build.result, "same_as": build.result.get("same_as", build.id)}
        return None

    def ingest(self, source: str, name: str, app: str, caller: Caller) -> RunRecord:
        """A file into `/data/<name>`, under the App's contract where one is named."""
        check_name(name, "a dataset")
        path = Path(source)
        if not path.is_absolute():
            raise InvalidError(f"{source!r} is a relative path.", hint="Give the file's absolute path.")
        contract: list[Any] = []
        if app:
            with self._store.read() as reader:
                contract = msgspec.to_builtins(find_app(reader, app).manifest.contract)
        with self._store.read() as reader:
            found = find_source(reader, str(path), "/")
        stamp = found.stamp if isinstance(found, Fresh) else None
        return self._kernel.submit(
            self._ingest_spec(path, name, contract, stamp, app, caller.principal, None, "")
        )

    # What workers ask

    def child(self, run: RunId, verb: str, body: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """A worker's question about its own Run."""
        if caller.run != run:
            raise DeniedError(f"This token is not run {run}'s.", hint="A worker asks for itself alone.")
        with self._store.read() as reader:
            asking = reader.get(RunRecord, run)
            if asking is None or asking.state != "running":
                raise DeniedError(f"Run {run} is not running.", hint="Its work belongs to another attempt.")
            build = _build_of(reader, asking)
        lacking = [name for name in _ASKED.get(verb, ()) if name not in body]
        if lacking:
            raise InvalidError(f"{verb!r} needs {lacking[0]!r}.", hint=f"It needs {', '.join(_ASKED[verb])}.")
        match verb:
            case "read":
                return self._answer(self._read(build, asking, str(body["source"])), CALL_WAIT_S)
            case "call":
                return self._answer(self._call(build, asking, body), CALL_WAIT_S)
            case "trial":
                return self._answer(self._trial(build, asking, body), 0.0)
            case "wait":
                return self._wait(build, RunId(int(body["run"])), min(float(body["timeout_s"]), CALL_WAIT_S))
            case "sign":
                return {"envelope": self._sign(build, asking, body["statement"])}
        raise NotFoundError(f"Workers cannot ask {verb!r}.", hint="They ask read, call, trial, wait or sign.")

    def _answer(self, run: RunRecord, wait_s: float) -> dict[str, Any]:
        if wait_s:
            run = self._kernel.wait(run.id, wait_s)
        return {"run": run.id, "state": run.state, "reason": run.reason, "result": run.result}

    def _wait(self, build: RunRecord, run: RunId, timeout_s: float) -> dict[str, Any]:
        with self._store.read() as reader:
            awaited = reader.get(RunRecord, run)
            if awaited is None or _build_of(reader, awaited).id != build.id:
                raise DeniedError(
                    f"Run {run} is not of this build.", hint="A worker waits for its own build's Runs."
                )
        return self._answer(awaited, timeout_s)

    def _read(self, build: RunRecord, asking: RunRecord, source: str) -> RunRecord:
        key = f"build:{build.id}:read:{of_value(source)[7:23]}"
        with self._store.read() as reader:
            asked = reader.list(RunRecord, where={"key": key})
            if asked:
                return asked[0]
            grown = build.payload.get("grow")
            if grown and grown["source"] == source:
                return reader.list(RunRecord, where={"key": f"build:{build.id}:ingest"})[0]
            found = find_source(reader, source, build.payload["folder"])
            manifest = app_of_code(reader, Digest(build.payload["code"])).manifest
        contract = msgspec.to_builtins(manifest.contract)
        if isinstance(found, Fresh):
            spec = self._ingest_spec(
                found.path, found.name, contract, found.stamp, build.app, build.owner, build.id, key
            )
            return self._kernel.submit(_lent(spec, asking))
        spec = RunSpec(kind="ingest", app=build.app, name=source, owner=build.owner, parent=build.id, key=key)
        return self._kernel.record_cached(spec, {"ref": found.ref, "digest": found.digest})

    def _ingest_spec(
        self,
        path: Path,
        name: str,
        contract: list[Any],
        stamp: list[int] | None,
        app: str,
        owner: str,
        parent: RunId | None,
        key: str,
    ) -> RunSpec:
        payload = {"source": str(path), "name": name, "contract": contract, "inputs": []}
        if stamp is not None:
            payload["stamp"] = stamp
        return RunSpec(
            kind="ingest",
            app=app,
            name=name,
            owner=owner,
            parent=parent,
            key=key,
            entry="kernos.loop.work.ingest:run",
            payload=payload,
        )

    def _call(self, build: RunRecord, asking: RunRecord, body: dict[str, Any]) -> RunRecord:
        with self._store.read() as reader:
            manifest = app_of_code(reader, Digest(build.payload["code"])).manifest
            step = next((step for step in manifest.steps if step.name == body["step"]), None)
            if step is None:
                raise NotFoundError(
                    f"App {build.app} has no step {body['step']!r}.", hint="Decorate it with @app.step."
                )
            key = cache_key(step.code, body["arguments"], self._environment)
            known = reader.get(CacheRecord, key)
        payload = {
            "step": step.name,
            "split": build.payload["split"],
            "code": build.payload["code"],
            "main": build.payload["main"],
            "arguments": body["arguments"],
            "reads": body["reads"],
            "cache_key": key,
        }
        spec = RunSpec(
            kind="step",
            app=build.app,
            name=step.name,
            owner=build.owner,
            parent=asking.id,
            key=f"build:{build.id}:step:{key[7:39]}",
            klass=step.klass,
            weight=build.weight,
            cpus=step.cpus,
            memory_bytes=step.memory_bytes,
            wall_s=step.wall_s,
            entry="kernos.loop.work.step:run",
            payload=payload,
            retries=step.retries,
        )
        if known is not None:
            return self._kernel.record_cached(spec, known.result)
        return self._kernel.submit(_lent(spec, asking))

    def _trial(self, build: RunRecord, asking: RunRecord, body: dict[str, Any]) -> RunRecord:
        if asking.kind != "tune":
            raise DeniedError("Only a search starts trials.", hint="Declare tune= and trials= on the flow.")
        index = int(body["index"])
        copied = ("app", "code", "main", "flow", "arguments", "metric", "split")
        spec = RunSpec(
            kind="trial",
            app=build.app,
            name=f"trial {index + 1}",
            owner=build.owner,
            parent=asking.id,
            key=f"build:{build.id}:trial:{index}",
            klass=build.klass,
            weight=build.weight,
            entry="kernos.loop.work.trial:run",
            payload={
                **{name: asking.payload[name] for name in copied},
                "params": body["params"],
                "index": index,
            },
        )
        return self._kernel.submit(spec)

    def _sign(self, build: RunRecord, asking: RunRecord, statement: dict[str, Any]) -> dict[str, Any]:
        """Sign a package's statement: only for a model that this build's gate has passed."""
        with self._store.read() as reader:
            gates = reader.list(RunRecord, where={"key": f"build:{build.id}:gate"})
        gate = gates[0] if gates else None
        if asking.kind != "package" or gate is None or gate.state != "done" or not gate.result.get("passed"):
            raise RefusedError(
                "No passed gate stands behind this package.", hint="`kernos show` the build for its verdicts."
            )
        subjects = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
        if subjects.get("model.onnx") != gate.result["model"].removeprefix("sha256:"):
            raise RefusedError(
                "The package holds another model than the gate has judged.", hint="Build again."
            )
        return sign_statement(statement, self._signer)

    # Services

    def deploy(self, app: str, version: int, caller: Caller) -> None:
        self._deployer.deploy(app, version, caller.principal)

    def rollback(self, app: str, caller: Caller) -> None:
        self._deployer.rollback(app, caller.principal, f"rolled back by {caller.principal}")

    def status(self) -> Status | None:
        return self._deployer.status()

    # Questions that need the rows

    def diff(self, a: str, b: str, caller: Caller) -> dict[str, Any]:
        """Rows and schema between two dataset versions."""
        with self._store.read() as reader:
            first = parse_ref(a)
            second = parse_ref(b) if b.startswith("/") else Ref(first.path, b.removeprefix("@"))
            digests = [resolve(reader, ref).digest for ref in (first, second)]
        payload = {"a": digests[0], "b": digests[1]}
        answer = self._report("diff", f"{a} {b}", payload, caller)
        return {"a": str(first), "b": str(second), **answer}

    def prediction(self, prediction: str, caller: Caller) -> dict[str, Any]:
        """One logged prediction, by id."""
        with self._store.read() as reader:
            apps = [deployment.app for deployment in reader.list(DeploymentRecord)]
            logs = {app: self._newest_digest(reader, f"/predictions/{app}") for app in apps}
        for app, digest in logs.items():
            if digest is None:
                continue
            try:
                found = self._report("prediction", prediction, {"id": prediction, "logs": [digest]}, caller)
            except NotFoundError:
                continue
            return {"app": app, **found["prediction"]}
        raise NotFoundError(
            f"No prediction {prediction!r} is in the log.",
            hint="The log takes a prediction in within a few seconds; ask again, or check the id.",
        )

    def _newest_digest(self, reader: Reader, path: str) -> Digest | None:
        try:
            return resolve(reader, Ref(path)).digest
        except NotFoundError:
            return None

    def _report(self, verb: str, name: str, payload: dict[str, Any], caller: Caller) -> dict[str, Any]:
        spec = RunSpec(
            kind="report",
            app="",
            name=name[:100],
            owner=caller.principal,
            klass="interactive",
            entry=f"kernos.loop.work.report:{verb}",
            payload=payload,
        )
        return self._succeeded(self._kernel.submit(spec)).result

    def _succeeded(self, run: RunRecord) -> RunRecord:
        run = self._kernel.wait(run.id, 120.0)
        if run.state in {"done", "cached"}:
            return run
        problem = run.result.get("error")
        error: KernosError = (
            from_problem(problem) if problem else RefusedError(run.reason, hint=f"kernos why {run.id}")
        )
        raise error


def _lent(spec: RunSpec, asking: RunRecord) -> RunSpec:
    """A Run that waits for a child lends it the cores it holds itself: waiting for more could last for ever."""
    return msgspec.structs.replace(spec, cpus=0.0) if asking.cpus > 0 else spec


def _build_of(reader: Reader, run: RunRecord) -> RunRecord:
    """The build a Run belongs to."""
    while run.kind != "build":
        parent = reader.get(RunRecord, run.parent) if run.parent is not None else None
        if parent is None:
            raise DeniedError(f"Run {run.id} belongs to no build.", hint="Only a build's Runs may ask.")
        run = parent
    return run
