"""Judge a candidate on the held-out rows, beside the live model. This Run holds no user code but the App's own callables."""

from __future__ import annotations

from typing import Any

import msgspec

from kernos.base.digests import canonical
from kernos.base.ids import Digest
from kernos.govern.fairness import group_lines
from kernos.govern.judge import judge
from kernos.govern.metrics import figures
from kernos.kernel.run import Task
from kernos.loop.evidence import evidence
from kernos.loop.room import Room
from kernos.loop.values import Value, decode
from kernos.runtime.signature import Signature
from kernos.spec.manifest import Rule


def run(task: Task) -> dict[str, Any]:
    room = Room(task)
    payload = room.payload
    table = decode(msgspec.convert(payload["table"], Value), room.blobs)
    coverage = payload["rows_kept"] / max(payload["rows_read"], 1)

    def judged_on(model: dict[str, Any]) -> Any:
        signature = msgspec.convert(model["signature"], Signature)
        content = room.blobs.get(Digest(model["digest"]))
        return evidence(content, signature, table, payload["target"], payload["sensitive"], coverage)

    candidate = judged_on(payload["candidate"])
    live = judged_on(payload["live"]) if _comparable(payload["live"], table) else None
    rules = msgspec.convert(payload["rules"], list[Rule])
    checks = room.app().checks if any(rule.kind == "callable" for rule in rules) else {}
    verdicts = judge(rules, candidate, live, checks)
    measured = figures(candidate)
    judged = {
        "verdicts": msgspec.to_builtins(verdicts),
        "passed": all(verdict.passed for verdict in verdicts),
        "model": payload["candidate"]["digest"],
        "rows": table.height,
        "accuracy": measured["accuracy"].value if "accuracy" in measured else None,
        "figures": msgspec.to_builtins(measured),
        "groups": msgspec.to_builtins(group_lines(candidate)) if candidate.task == "classification" else [],
    }
    return {**judged, "report": room.blobs.put(canonical(judged))}


def _comparable(live: dict[str, Any] | None, table: Any) -> bool:
    """A live model with other inputs cannot be compared on these rows; the gate then says so."""
    if live is None:
        return False
    signature = msgspec.convert(live["signature"], Signature)
    return set(signature.columns) <= set(table.columns)
