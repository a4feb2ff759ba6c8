"""Prefect's side of bench/steps.py: a flow of trivial tasks; the second of two runs in one process is told."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from prefect import flow, task


@task
def add(before: int, number: int) -> dict[str, Any]:
    begin_s = time.perf_counter()
    return {"value": before + number, "times": [begin_s, time.perf_counter()]}


@flow
def build(first: int, count: int) -> dict[str, Any]:
    value, times = first, []
    begin_s = time.perf_counter()
    for number in range(count):
        told = add(value, number)
        value = told["value"]
        times.append(told["times"])
    return {"flow": [begin_s, time.perf_counter()], "steps": times}


if __name__ == "__main__":
    steps, out = int(sys.argv[1]), Path(sys.argv[2])
    build(0, steps)
    out.write_text(json.dumps(build(1_000_000, steps)))
