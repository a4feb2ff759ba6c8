"""Dagster's side of bench/steps.py: a chain of trivial ops, in processes of their own and in one process."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from dagster import in_process_executor, job, multiprocess_executor, op

COUNT = int(os.environ["STEPS"])
EXECUTORS = {"processes": multiprocess_executor, "one_process": in_process_executor}


@op
def first() -> dict[str, Any]:
    return {"value": 0, "times": []}


@op
def add(before: dict[str, Any]) -> dict[str, Any]:
    begin_s = time.perf_counter()
    value = before["value"] + 1
    return {"value": value, "times": [*before["times"], [begin_s, time.perf_counter()]]}


@op
def tell(last: dict[str, Any]) -> None:
    Path(os.environ["OUT"]).write_text(json.dumps({"steps": last["times"]}))


@job(executor_def=EXECUTORS[os.environ["EXECUTOR"]])
def steps() -> None:
    value = first()
    for number in range(COUNT):
        value = add.alias(f"add_{number}")(value)
    tell(value)
