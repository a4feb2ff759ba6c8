"""What a Run's success means for the catalog, committed in the same transaction as its end: Artifacts, lineage, cache, metrics."""

from __future__ import annotations

from typing import Any

from kernos.base.ids import Digest, parse_ref
from kernos.catalog.artifacts import publish, record, resolve
from kernos.catalog.records import (
    ArtifactKind,
    ArtifactRecord,
    CacheRecord,
    MetricRecord,
    MonitorRecord,
    ParamRecord,
    RunRecord,
)
from kernos.catalog.store import Transaction


def settle(tx: Transaction, run: RunRecord, result: dict[str, Any]) -> dict[str, Any]:
    """Commit what `run` made; the answer is stored as its result."""
    match run.kind:
        case "load":
            return _load(tx, run, result)
        case "ingest":
            return _ingest(tx, run, result)
        case "step":
            return _step(tx, run, result)
        case "trial":
            _figures(tx, run, {result["metric"]: result["score"]}, run.payload["params"])
        case "flow":
            return _flow(tx, run, result)
        case "evaluate":
            _evaluate(tx, run, result)
        case "gate":
            _gate(tx, run, result)
        case "package":
            return _package(tx, run, result)
        case "monitor":
            _monitor(tx, run, result)
        case _:
            pass
    return result


def _load(tx: Transaction, run: RunRecord, result: dict[str, Any]) -> dict[str, Any]:
    manifest = result["manifest"]
    artifact = _artifact(
        tx,
        run,
        run.payload["code"],
        "app",
        run.payload["size_bytes"],
        {"manifest": manifest, "main": run.payload["main"]},
    )
    version = publish(tx, f"/apps/{manifest['app']}", artifact, [(run.owner, "author")], run.owner)
    return {**result, "ref": f"{version.path}@{version.version}", "version": version.version}


def _ingest(tx: Transaction, run: RunRecord, result: dict[str, Any]) -> dict[str, Any]:
    meta = {key: result[key] for key in ("rows", "columns", "parts")}
    meta |= {key: run.payload[key] for key in ("stamp", "labelled_rows_used") if key in run.payload}
    meta["source"] = run.payload.get("file") or run.payload["source"]
    meta["source_sha256"] = result["source_sha256"] or run.payload.get("source_sha256", "")
    artifact = _artifact(tx, run, result["digest"], "dataset", result["size_bytes"], meta)
    grown = [(source, role) for source, role in run.payload["inputs"]]
    sources = grown or [(result["source_sha256"], "source")]
    version = publish(tx, f"/data/{run.payload['name']}", artifact, sources, run.owner)
    _figures(tx, run, {"rows": result["rows"]}, {})
    return {**result, "ref": f"{version.path}@{version.version}"}


def _step(tx: Transaction, run: RunRecord, result: dict[str, Any]) -> dict[str, Any]:
    value = result["value"]
    given = (argument.get("digest") for argument in run.payload["arguments"].values())
    inputs = [(digest, "data") for digest in given if digest and digest != value.get("digest")]
    inputs.append((run.payload["code"], "code"))
    for digest, ref in run.payload["reads"].items():
        table = _artifact(tx, run, digest, "table", 0, {"cut_from": ref})
        record(tx, table, [(_digest_of(tx, ref), "data")], run.owner)
    if value.get("digest"):
        kind: ArtifactKind = (
            "model" if value["kind"] == "model" else "table" if value.get("rows") is not None else "value"
        )
        meta = result.get("model") or {"rows": value.get("rows", 0)}
        artifact = _artifact(tx, run, value["digest"], kind, meta.get("size_bytes", 0), meta)
        record(tx, artifact, inputs, run.owner)
    params = {
        name: value["inline"] for name, value in run.payload["arguments"].items() if value["kind"] == "json"
    }
    _figures(tx, run, {}, params)
    tx.put(CacheRecord(key=Digest(run.payload["cache_key"]), result=result, run=run.id))
    return result


def _flow(tx: Transaction, run: RunRecord, result: dict[str, Any]) -> dict[str, Any]:
    digest = Digest(result["value"]["digest"])
    existing = tx.get(ArtifactRecord, digest)
    meta = {
        **result["meta"],
        "table": result["table"],
        "step": result["step"],
        "data": sorted(result["reads"].values()),
    }
    artifact = existing or _artifact(tx, run, digest, "model", result["meta"]["size_bytes"], meta)
    inputs = [(_digest_of(tx, ref), "data") for ref in result["reads"].values()]
    version = publish(tx, f"/models/{run.app}", artifact, [*inputs, (run.payload["code"], "code")], run.owner)
    _figures(tx, run, {}, run.payload["tuned"])
    return {**result, "ref": f"{version.path}@{version.version}"}


def _evaluate(tx: Transaction, run: RunRecord, result: dict[str, Any]) -> None:
    table = result["table"]
    artifact = _artifact(
        tx, run, table["digest"], "table", 0, {"rows": result["rows_kept"], "held_out": True}
    )
    inputs = [(_digest_of(tx, ref), "data") for ref in run.payload["reads"].values()]
    record(tx, artifact, [*inputs, (run.payload["code"], "code")], run.owner)
    _figures(tx, run, {"rows_read": result["rows_read"], "rows_kept": result["rows_kept"]}, {})


def _gate(tx: Transaction, run: RunRecord, result: dict[str, Any]) -> None:
    figures = {v["rule"]: v["value"] for v in result["verdicts"] if v["value"] is not None}
    _figures(tx, run, figures, {})
    kind = "gate.passed" if result["passed"] else "gate.refused"
    report = _artifact(
        tx, run, result["report"], "report", 0, {"verdicts": result["verdicts"], "model": result["model"]}
    )
    evidence = [(result["model"], "model"), (run.payload["table"]["digest"], "data")]
    record(tx, report, evidence, run.owner)
    tx.emit(kind, f"run:{run.id}", run.owner, app=run.app, model=result["model"], verdicts=result["verdicts"])


def _package(tx: Transaction, run: RunRecord, result: dict[str, Any]) -> dict[str, Any]:
    meta = {
        "app": run.app,
        "model": run.payload["digest"],
        "model_ref": run.payload["model_ref"],
        "signature": run.payload["model"]["signature"],
        "build": run.parent,
        "metrics": run.payload["metrics"],
        "accuracy": run.payload["accuracy"],
        "held_out_rows": run.payload["held_out_rows"],
        "data": run.payload["data"],
        "code": run.payload["code"],
        "key_id": run.payload["key_id"],
        "files": result["files"],
    }
    artifact = _artifact(tx, run, result["digest"], "package", result["size_bytes"], meta)
    inputs = [
        (run.payload["digest"], "model"),
        (run.payload["report"], "gate"),
        (run.payload["key_id"], "signer"),
    ]
    version = publish(tx, f"/packages/{run.app}", artifact, inputs, run.owner)
    return {**result, "ref": f"{version.path}@{version.version}", "version": version.version}


def _monitor(tx: Transaction, run: RunRecord, result: dict[str, Any]) -> None:
    kinds: list[tuple[str, ArtifactKind]] = [("predictions", "predictions"), ("labelled", "dataset")]
    for name, kind in kinds:
        dataset = result[name]
        if dataset is None:
            continue
        meta = {key: dataset[key] for key in ("rows", "columns", "parts")}
        artifact = _artifact(tx, run, dataset["digest"], kind, dataset["size_bytes"], meta)
        publish(tx, f"/{name}/{run.app}", artifact, [(run.payload["package"], "model")], run.owner)
    before = tx.get(MonitorRecord, run.app)
    known = before.figures if before is not None else {}
    figures = result["figures"]
    labelled = result["labelled"]["rows"] if result["labelled"] else known.get("labelled_rows", 0)
    stood = before is not None and before.alarm and before.package == run.payload["version"]
    is_new = figures["alarm"] and not stood
    told = {
        **figures,
        "segments": [*run.payload["done"], *result["segments"]],
        "labelled_rows": labelled,
        "labelled_at_alarm": labelled if is_new else known.get("labelled_at_alarm") if stood else None,
    }
    tx.put(
        MonitorRecord(
            app=run.app,
            package=run.payload["version"],
            state=result["state"],
            figures=told,
            alarm=figures["alarm"],
            at_ms=tx.at_ms,
        )
    )
    drift = figures["drift"]
    alarm = "drift.alarm" if drift["alarm"] else "accuracy.alarm"
    tx.emit(
        alarm if is_new else "service.observed",
        f"service:{run.app}",
        run.owner,
        package=run.payload["version"],
        rows=drift["rows"],
        e_value=drift["e_value"],
        bound=drift["e_bound"],
        rows_to_alarm=drift["rows_to_alarm"],
        accuracy=figures["accuracy"],
        damaged=result["damaged"],
    )


def _artifact(
    tx: Transaction, run: RunRecord, digest: str, kind: ArtifactKind, size_bytes: int, meta: dict[str, Any]
) -> ArtifactRecord:
    return ArtifactRecord(
        digest=Digest(digest), kind=kind, size_bytes=size_bytes, meta=meta, run=run.id, at_ms=tx.at_ms
    )


def _figures(tx: Transaction, run: RunRecord, metrics: dict[str, float], params: dict[str, Any]) -> None:
    """Metrics and parameters of the Run; the Event that ends it carries them into the journal."""
    for key, value in metrics.items():
        tx.put(MetricRecord(run=run.id, key=key, step=0, value=float(value), at_ms=tx.at_ms))
    for key, value in params.items():
        tx.put(ParamRecord(run=run.id, key=key, value=str(value)))


def _digest_of(tx: Transaction, ref: str) -> Digest:
    return resolve(tx, parse_ref(ref)).digest
