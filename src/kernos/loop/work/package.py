"""Put a judged model, its card, its verdicts, its lineage and its reference into one file, and have the kernel sign it."""

from __future__ import annotations

from typing import Any

import msgspec

from kernos.base.digests import canonical, of_bytes
from kernos.base.errors import RefusedError
from kernos.base.ids import Digest
from kernos.base.version import VERSION
from kernos.govern.card import CardFacts, card
from kernos.govern.evidence import Figure
from kernos.govern.fairness import GroupLine
from kernos.govern.judge import Verdict
from kernos.kernel.run import Task
from kernos.loop.room import Room
from kernos.loop.values import Value, decode
from kernos.models.package import PackageManifest, seal, statement
from kernos.monitor.features import reference
from kernos.runtime.engine import OnnxEngine, table_inputs
from kernos.runtime.signature import Signature

REPLAY_ROWS = 20
"""Rows whose answers travel in the package, so that every loader can check itself."""


def run(task: Task) -> dict[str, Any]:
    room = Room(task)
    payload = room.payload
    parity = payload["model"].get("parity")
    if parity is not None and not parity["ok"]:
        raise RefusedError(
            f"The ONNX file does not answer as the fitted model does: {parity['reason']}.",
            hint="Simplify the pipeline or cast its inputs to float32 before fitting.",
        )
    signature = msgspec.convert(payload["model"]["signature"], Signature)
    content = room.blobs.get(Digest(payload["digest"]))
    table = decode(msgspec.convert(payload["table"], Value), room.blobs)
    table = table.select(signature.columns)
    manifest = PackageManifest(
        format=1,
        app=payload["app"],
        model=Digest(payload["digest"]),
        signature=signature,
        target=payload["target"],
        code=Digest(payload["code"]),
        data=payload["data"],
        created_ms=payload["created_ms"],
        metrics=payload["metrics"],
        params={key: str(value) for key, value in payload["tuned"].items()},
        kernos=VERSION,
    )
    recent = table.tail(payload["recent_rows"]) if payload["recent_rows"] >= 200 else table
    files = {
        "manifest.json": canonical(manifest),
        "model.onnx": content,
        "card.md": card(_card_facts(payload, signature, table.height)).encode(),
        "gates.json": canonical(payload["verdicts"]),
        "lineage.json": canonical(payload["lineage"]),
        "reference.json": canonical(reference(recent, signature.columns)),
        "replay.json": canonical(_replay(content, signature, table.head(REPLAY_ROWS))),
    }
    digests = {name: of_bytes(data) for name, data in files.items()}
    envelope = room.ask("sign", {"statement": statement(digests, manifest)})["envelope"]
    target = room.folder / f"{payload['app']}.kpkg"
    seal(target, files, envelope)
    return {"digest": room.blobs.put_file(target), "size_bytes": target.stat().st_size, "files": digests}


def _replay(content: bytes, signature: Signature, table: Any) -> dict[str, Any]:
    inputs = table_inputs(table, signature)
    outputs = OnnxEngine(content, signature).run(inputs)
    return {
        "inputs": {name: _listed(values) for name, values in inputs.items()},
        "outputs": {name: _listed(values) for name, values in outputs.items()},
    }


def _listed(values: Any) -> list[Any]:
    listed: list[Any] = values.tolist()
    return listed


def _card_facts(payload: dict[str, Any], signature: Signature, rows: int) -> CardFacts:
    parity = payload["model"].get("parity") or {"rows": 0, "flips": 0, "max_difference": 0.0}
    return CardFacts(
        app=payload["app"],
        doc=payload["doc"],
        target=payload["target"],
        task=signature.task,
        created_ms=payload["created_ms"],
        kernos=VERSION,
        code=payload["code"],
        model=payload["digest"],
        signer=payload["key_id"],
        data=payload["data"],
        training_rows=rows,
        held_out_rows=payload["held_out_rows"],
        inputs=signature.columns,
        sensitive=payload["sensitive"],
        params={key: str(value) for key, value in payload["tuned"].items()},
        metrics=msgspec.convert(payload["figures"], dict[str, Figure]),
        groups=msgspec.convert(payload["groups"], list[GroupLine]),
        verdicts=msgspec.convert(payload["verdicts"], list[Verdict]),
        parity_rows=parity["rows"],
        parity_flips=parity["flips"],
        parity_max_difference=parity["max_difference"],
    )
