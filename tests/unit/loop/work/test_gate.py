"""The gate judges what the ONNX file answers, beside the live model; an author's callable cannot raise it open."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl
import pytest

from kernos.base.ids import Digest
from kernos.spec.gates import parse_rule
from kernos.spec.manifest import Rule

if TYPE_CHECKING:
    from tests.unit.loop.work.conftest import Bench


def rules(*texts: str) -> list[Rule]:
    return [parse_rule(text, 1) for text in texts]


def verdict(result: dict[str, Any], rule: str) -> dict[str, Any]:
    (found,) = [verdict for verdict in result["verdicts"] if verdict["rule"] == rule]
    return dict(found)


def test_a_good_model_passes_with_figures_and_groups(judged: Bench) -> None:
    result = judged.results["gate"]

    assert result["passed"]
    assert result["model"] == judged.results["flow"]["value"]["digest"]
    assert result["accuracy"] == verdict(result, "accuracy >= 0.65")["value"] >= 0.65
    assert result["rows"] == judged.results["evaluate"]["rows_kept"]
    assert {line["column"] for line in result["groups"]} == {"sex"}
    assert {"accuracy", "auc", "coverage"} <= set(result["figures"])
    report = msgspec.json.decode(judged.blobs.get(Digest(result["report"])))
    assert report == {name: value for name, value in result.items() if name != "report"}


def test_one_rule_that_fails_fails_the_gate(judged: Bench) -> None:
    result = judged.gate(rules("accuracy >= 0.65", "accuracy >= 0.999"))

    assert not result["passed"]
    assert verdict(result, "accuracy >= 0.65")["passed"]
    assert not verdict(result, "accuracy >= 0.999")["passed"]


def test_rows_that_a_step_threw_away_lower_the_coverage(judged: Bench) -> None:
    result = judged.gate(rules("coverage >= 0.9"), rows_read=10_000)

    assert not result["passed"]
    assert result["figures"]["coverage"]["value"] == pytest.approx(result["rows"] / 10_000)


def test_a_live_model_is_judged_on_the_same_rows(judged: Bench) -> None:
    flow = judged.results["flow"]
    live = {"digest": flow["value"]["digest"], "signature": flow["meta"]["signature"], "ref": "/models/d@1"}

    result = judged.gate(rules("not worse than live"), live=live)

    assert result["passed"]
    assert verdict(result, "not worse than live")["value"] is not None


def test_a_live_model_with_other_inputs_cannot_be_compared(judged: Bench) -> None:
    flow = judged.results["flow"]
    inputs = [{**flow["meta"]["signature"]["inputs"][0], "columns": ["other"]}]
    live = {
        "digest": flow["value"]["digest"],
        "signature": {**flow["meta"]["signature"], "inputs": inputs},
        "ref": "",
    }

    result = judged.gate(rules("not worse than live"), live=live)

    assert verdict(result, "not worse than live")["note"]


def test_without_a_live_model_there_is_nothing_to_be_worse_than(judged: Bench) -> None:
    assert judged.gate(rules("not worse than live"))["passed"]


@pytest.mark.parametrize(
    ("body", "passed"),
    [
        ("return bool((evidence.predicted == evidence.labels).mean() > 0.5)", True),
        ("return False", False),
        ("return 1", False),
        ("raise ValueError('x')", False),
    ],
)
def test_a_callable_gate_sees_the_evidence_and_fails_shut(
    make_bench: Callable[[str], Bench], example: str, body: str, passed: bool
) -> None:
    source = example.replace("app.gate(", f"def mine(evidence):\n    {body}\n\n\napp.gate(mine, ")
    bench = make_bench(source)
    bench.flow()
    bench.evaluate()

    assert bench.gate([Rule("mine()", "callable", metric="mine")])["passed"] is passed


def test_a_regression_is_judged_without_groups(
    make_bench: Callable[[str], Bench], example: str, diabetes: pl.DataFrame
) -> None:
    source = example.replace("LogisticRegression(C=C, max_iter=1000)", "LinearRegression()")
    source = source.replace("import LogisticRegression", "import LinearRegression").replace(
        "PolynomialFeatures(2), ", ""
    )
    bench = make_bench(source)
    bench.flow()
    bench.evaluate()

    result = bench.gate(rules("r2 >= 0.05", "rmse <= 2"), sensitive=[])

    assert result["passed"]
    assert (result["groups"], result["accuracy"]) == ([], None)
