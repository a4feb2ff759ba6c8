"""The App of bench/steps.py: a chain of trivial steps, which tell when their work begins and ends."""

import json
import time
from pathlib import Path
from typing import Any

import polars as pl
from sklearn.linear_model import LogisticRegression

from kernos import App, Model

app = App("steps", target="above")


@app.step
def add(before: int, number: int) -> dict[str, Any]:
    begin_s = time.perf_counter()
    return {"value": before + number, "times": [begin_s, time.perf_counter()]}


@app.step
def fit(rows: pl.DataFrame) -> Model:
    features = rows.drop("above")
    return Model(LogisticRegression().fit(features, rows["above"]), example=features.head())


@app.flow
def build(source: str = "rows.csv", first: int = 0, count: int = 20, out: str = "times.json") -> Model:
    rows = app.read(source)
    value, times = first, []
    begin_s = time.perf_counter()
    for number in range(count):
        told = add(value, number)
        value = told["value"]
        times.append(told["times"])
    end_s = time.perf_counter()
    if not Path(out).exists():  # the gate replays the flow on the held-out rows, without Runs of its own
        Path(out).write_text(json.dumps({"flow": [begin_s, end_s], "steps": times}))
    return fit(rows)
