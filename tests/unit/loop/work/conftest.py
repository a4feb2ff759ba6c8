"""The example App's work, function by function, in this process: children run at once, in the thread that asks."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl
import pytest

from kernos.kernel.run import Task
from kernos.loop.datasets import described, extend
from kernos.loop.work import evaluate, flow, gate, package, step, trial
from kernos.security.dsse import sign_statement
from kernos.security.keys import SigningKey

if TYPE_CHECKING:
    from tests.unit.loop.conftest import Workshop

Make = Callable[[Callable[[str, dict[str, Any]], dict[str, Any]]], "Workshop"]
SPLIT = {"held_out": 0.25, "validation": 0.25, "seed": 1}


class Bench:
    """One build of one App, stage by stage; `results` holds what each stage has come to."""

    def __init__(self, make: Make, rows: pl.DataFrame, source: str) -> None:
        self.workshop = make(self._answer)
        self.blobs = self.workshop.blobs
        self.key = SigningKey.load_or_create(self.workshop.home / "keys")
        self.rows = rows
        with tempfile.TemporaryDirectory() as folder:
            self.dataset = described(extend(None, rows, self.blobs, Path(folder)), self.blobs)["digest"]
        self.common = {
            "flow": "build",
            "arguments": {},
            "split": SPLIT,
            "tuned": {},
            **self.workshop.source(source),
        }
        self.results: dict[str, dict[str, Any]] = {}
        self.step_runs = 0

    def task(self, **payload: Any) -> Task:
        return self.workshop.task({**self.common, **payload})

    def flow(self, **payload: Any) -> dict[str, Any]:
        self.results["flow"] = flow.run(self.task(**payload))
        return self.results["flow"]

    def evaluate(self, **payload: Any) -> dict[str, Any]:
        found = self.results["flow"]
        columns = [
            c
            for spec in found["meta"]["signature"]["inputs"]
            for c in (spec.get("columns") or [spec["name"]])
        ]
        facts = {"model_step": found["step"], "columns": columns, "reads": found["reads"], **payload}
        self.results["evaluate"] = evaluate.run(self.task(**facts))
        return self.results["evaluate"]

    def gate(self, rules: list[Any], **payload: Any) -> dict[str, Any]:
        found, held = self.results["flow"], self.results["evaluate"]
        facts = {
            "candidate": {"digest": found["value"]["digest"], "signature": found["meta"]["signature"]}, "live": None,
            **{name: held[name] for name in ("table", "rows_read", "rows_kept")}, "target": "progressed",
            "sensitive": ["sex"], "rules": msgspec.to_builtins(rules), **payload,
        }  # fmt: skip
        self.results["gate"] = gate.run(self.task(**facts))
        return self.results["gate"]

    def package_payload(self, **payload: Any) -> dict[str, Any]:
        found, judged = self.results["flow"], self.results["gate"]
        return {
            "digest": found["value"]["digest"], "model": found["meta"], "table": found["table"], "tuned": {"C": 0.5},
            "verdicts": judged["verdicts"], "figures": judged["figures"], "groups": judged["groups"],
            "held_out_rows": judged["rows"], "metrics": {"accuracy >= 0.65": 0.7}, "data": ["/data/rows@1"],
            "app": "diabetes", "target": "progressed", "sensitive": ["sex"], "doc": "Diabetes.", "lineage": [],
            "key_id": self.key.key_id, "created_ms": 1, "recent_rows": 0, **payload,
        }  # fmt: skip

    def package(self, **payload: Any) -> dict[str, Any]:
        self.results["package"] = package.run(self.task(**self.package_payload(**payload)))
        return self.results["package"]

    def _answer(self, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        match verb:
            case "read":
                return done({"ref": "/data/rows@1", "digest": self.dataset})
            case "call":
                self.step_runs += 1
                task = self.workshop.task({**self.common, **body}, run=100 + self.step_runs)
                return done(step.run(task))
            case "trial":
                facts = {**self.common, "metric": "accuracy", **body}
                return done(trial.run(self.workshop.task(facts, run=200 + body["index"])))
            case "sign":
                return {"envelope": sign_statement(body["statement"], self.key)}
        raise AssertionError(verb)


def done(result: dict[str, Any]) -> dict[str, Any]:
    return {"run": 1, "state": "done", "reason": "", "result": result}


@pytest.fixture
def make_bench(make_workshop: Make, diabetes: pl.DataFrame) -> Callable[[str], Bench]:
    return lambda source: Bench(make_workshop, diabetes, source)


@pytest.fixture
def bench(make_bench: Callable[[str], Bench], example: str) -> Bench:
    """The example App, without a search."""
    return make_bench(example)


@pytest.fixture
def judged(bench: Bench) -> Bench:
    """Its Model, fitted and judged."""
    from kernos.spec.gates import parse_rule

    bench.flow()
    bench.evaluate()
    bench.gate(
        [
            parse_rule(text, 1)
            for text in ("accuracy >= 0.65", "parity_gap(sex) <= 0.30", "not worse than live")
        ]
    )
    return bench
