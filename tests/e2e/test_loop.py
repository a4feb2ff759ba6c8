"""The loop's parts as a user meets them: one kernel, the example App, good and bad input."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from kernos.client.api import Client

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
    assert again["state"] == "cached"
    assert again["package"] == build["package"]
    assert again["verdicts"] == build["verdicts"]

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


CLEAN = "return raw.drop_nulls()"
TRAIN = '    X, y = rows.drop("progressed", "sex"), rows["progressed"]'
FLOW = "return train(clean(app.read(source)))"
LIMITS = '@app.step(cpus=1, memory="1GiB", priority="batch")'
BAD: dict[str, tuple[str, str, str]] = {
    "a step that raises": (CLEAN, "raise ZeroDivisionError('by me'); raw.drop_nulls()", "by me"),
    "a flow that returns no model": (FLOW, "return 7", "not the Model"),
    "a flow that goes round app.read": (FLOW, "return train(pl.read_parquet(FILE))", "app.read"),
    "a column that is not there": (TRAIN, TRAIN.replace('"sex"', '"sex", "nope"'), "nope"),
    "a target that is lost": (CLEAN, f'{CLEAN}.drop("progressed")', "progressed"),
    "a sensitive column that is lost": (CLEAN, f'{CLEAN}.drop("sex")', "sex"),
    "one class alone": (CLEAN, f'{CLEAN}.filter(pl.col("progressed") == 1)', "class"),
    "too few rows": (CLEAN, f"{CLEAN}.head(5)", "rows"),
    "a file that is not there": ('"diabetes.parquet"', '"absent.parquet"', "absent.parquet"),
    "a step that hangs": (LIMITS, f'{LIMITS[:-1]}, time="2s")', "time: it ran longer than 2"),
    "a step that exits": (TRAIN, f"    __import__('os')._exit(3)\n{TRAIN}", "It exited with 3"),
    "a step that crashes": (TRAIN, f"    __import__('os').kill(__import__('os').getpid(), 11)\n{TRAIN}", "It died by SIGSEGV"),
    "a step that eats memory": (TRAIN, f"    hoard = [bytearray(2**20) for _ in range(4096)]\n{TRAIN}", "memory: it used more"),
    "a value that cannot travel": (FLOW, "return train(clean(app.read(source)).lazy())", "cannot travel"),
    "a model that cannot be served": ("example=X.head()", "example=X.head().to_numpy()", "example"),
}  # fmt: skip


@pytest.mark.timeout(300)
def test_builds_that_cannot_succeed_say_why_and_leave_nothing_served(home: Home, diabetes: Path) -> None:
    """One mistake after the other in one kernel, which goes on through all of them."""
    file = diabetes / "app.py"
    good = file.read_text().replace('tune={"C": (0.001, 10.0)}, trials=8, ', "")
    good = good.replace("app = App(", f'FILE = "{diabetes}/diabetes.parquet"\napp = App(')
    wrong: dict[str, str] = {}
    for name, (old, new, says) in BAD.items():
        assert old in good, name
        text = good.replace(old, new)
        if name == "a step that hangs":
            text = text.replace(TRAIN, f"    __import__('threading').Event().wait()\n{TRAIN}")
        file.write_text(text)
        code, told = home.refusal("run", str(file))
        if code not in {1, 2, 3, 6, 8} or says not in json.dumps(told) or not reason_of(told):
            wrong[name] = f"{code}: {json.dumps(told)[:600]}"

    assert wrong == {}
    assert home.json("services") == []
    assert home.json("audit", "verify")["ok"]
    file.write_text(good)
    assert home.json("run", str(file))["state"] == "done"


def reason_of(told: dict[str, Any]) -> str:
    return str(told.get("reason") or told.get("detail") or "")


@pytest.mark.timeout(120)
def test_a_refused_build_tells_its_verdicts_and_serves_nothing_new(home: Home, diabetes: Path) -> None:
    small = (diabetes / "app.py").read_text().replace('tune={"C": (0.001, 10.0)}, trials=8, ', "")
    (diabetes / "app.py").write_text(small)
    home.json("run", str(diabetes / "app.py"))

    code, problem = home.refusal("run", str(diabetes / "shuffled.py"))

    assert (code, problem["code"]) == (6, "refused")
    assert problem["detail"].startswith("refused by the gate: ")
    build = Client.from_home(home.path).build(problem["details"]["build"])
    assert build["state"] == "failed"
    verdicts = {verdict["rule"]: verdict["passed"] for verdict in build["verdicts"]}
    assert verdicts["accuracy >= 0.65"] is False
    assert home.json("services", "diabetes")["live"] == 1
    assert infer(home, FEATURES)["model_version"] == "1"


@pytest.mark.timeout(180)
def test_a_change_builds_only_what_depends_on_it(home: Home, diabetes: Path) -> None:
    """Another parameter: the data and the step above it are known. Other data: nothing is."""
    file = diabetes / "app.py"
    small = file.read_text().replace('tune={"C": (0.001, 10.0)}, trials=8, ', "")
    gates = '"accuracy >= 0.65", "parity_gap(sex) <= 0.30", "not worse than live"'
    assert gates in small
    small = small.replace(gates, '"accuracy >= 0.5"')
    file.write_text(small)
    home.json("run", str(file))

    file.write_text(small.replace("C: float = 1.0", "C: float = 0.2"))
    second = home.json("run", str(file))
    assert steps(home, second["id"]) == {"clean": "cached", "train": "done"}
    assert not second["cached"]

    table = pl.read_parquet(diabetes / "diabetes.parquet")
    table.with_columns(pl.col("bmi") + 0.5).write_parquet(diabetes / "diabetes.parquet")
    third = home.json("run", str(file))
    assert steps(home, third["id"]) == {"clean": "done", "train": "done"}
    assert third["data"] == ["/data/diabetes@2"]

    assert home.json("run", str(file))["cached"]


def steps(home: Home, build: int) -> dict[str, str]:
    """State by name of the build's steps."""
    runs = home.json("ps", "--all")["runs"]
    flows = {run["id"] for run in runs if run["parent"] == build}
    return {run["name"]: run["state"] for run in runs if run["kind"] == "step" and run["parent"] in flows}
