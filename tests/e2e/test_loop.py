"""The loop's parts as a user meets them: one kernel, the example App, good and bad input."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Home

FEATURES = {"age": 59, "bmi": 32.1, "bp": 101, "s1": 157, "s2": 93.2, "s3": 38, "s4": 4, "s5": 4.86, "s6": 87}


def infer(home: Home, values: dict[str, float]) -> dict[str, Any]:
    tensors = [
        {"name": name, "shape": [1, 1], "datatype": "FP32", "data": [value]} for name, value in values.items()
    ]
    request = urllib.request.Request(
        f"{home.kernel()['plane_url']}/v2/models/diabetes/infer",
        data=json.dumps({"inputs": tensors}).encode(),
        headers={"Authorization": f"Bearer {home.token()}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        answer: dict[str, Any] = json.loads(response.read())
    return answer


@pytest.mark.timeout(240)
def test_from_a_file_to_a_served_model_and_back(home: Home, diabetes: Path) -> None:
    build = home.json("run", str(diabetes / "app.py"))
    assert build["state"] == "done"
    assert build["package"] == "/packages/diabetes@1"
    assert {stage["name"]: stage["state"] for stage in build["stages"]}["gate"] == "done"

    answer = infer(home, FEATURES)
    assert answer["model_version"] == "1"
    assert answer["parameters"]["prediction_id"]

    again = home.json("run", str(diabetes / "app.py"))
    assert again["cached"]
    assert again["package"] == build["package"]

    runs = home.json("ps", "--all")["runs"]
    kinds = [run["kind"] for run in runs]
    assert kinds.count("trial") == 8
    assert {"load", "ingest", "tune", "flow", "step", "evaluate", "gate", "package"} <= set(kinds)
    assert {run["state"] for run in runs} <= {"done", "cached", "running"}

    lineage = home.json("lineage", "/packages/diabetes@1")
    assert {edge["role"] for edge in lineage["edges"]} >= {
        "model",
        "gate",
        "signer",
        "data",
        "code",
        "source",
    }
    assert home.json("audit", "verify")["ok"]
    service = home.json("services", "diabetes")
    assert (service["live"], service["phase"]) == (1, "live")
    code, problem = home.refusal("rollback", "diabetes", "--yes")
    assert (code, problem["code"]) == (4, "conflict")


@pytest.mark.timeout(120)
def test_an_app_with_a_mistake_is_refused_at_load_with_its_line(home: Home, diabetes: Path) -> None:
    text = (diabetes / "app.py").read_text().replace("accuracy >= 0.65", "acuracy >= 0.65")
    (diabetes / "app.py").write_text(text)
    line = next(number for number, row in enumerate(text.splitlines(), 1) if "acuracy" in row)

    code, problem = home.refusal("run", str(diabetes / "app.py"))

    assert code == 2
    assert f"app.py:{line}" in problem["detail"]
    assert "accuracy" in problem["hint"]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace("return raw.drop_nulls()", "raise ZeroDivisionError('by me'); raw.drop_nulls()"), "by me"),
        (lambda text: text.replace("return train(clean(app.read(source)))", "return 7"), "not the Model"),
        (lambda text: text.replace('rows.drop("progressed", "sex")', 'rows.drop("progressed", "sex", "nope")'), "nope"),
        (lambda text: text.replace("return raw.drop_nulls()", 'return raw.drop_nulls().drop("progressed")'), "progressed"),
        (lambda text: text.replace('"diabetes.parquet"', '"absent.parquet"'), "absent.parquet"),
        (lambda text: text.replace("return raw.drop_nulls()", "return raw.drop_nulls().head(5)"), "rows"),
    ],
)  # fmt: skip
def test_a_build_that_cannot_succeed_says_why(home: Home, diabetes: Path, change: Any, says: str) -> None:
    text = (diabetes / "app.py").read_text().replace('tune={"C": (0.001, 10.0)}, trials=8, ', "")
    (diabetes / "app.py").write_text(change(text))

    code, problem = home.refusal("run", str(diabetes / "app.py"))

    assert code in {1, 2, 3, 6}
    assert says in json.dumps(problem)
    assert home.json("services") == []
    assert home.json("audit", "verify")["ok"]
