"""What is written to a Run's folder reads back the same."""

from __future__ import annotations

import msgspec
import pytest

from kernos.base.ids import RunId
from kernos.kernel.run import Exit, Limits, RunSpec, Task


@pytest.mark.parametrize(
    "value",
    [
        RunSpec("step", "app", "train", "ann", payload={"a": [1, None]}),
        Task(RunId(1), "module:step", {"a": 1}, "/home", "/home/runs/1", "token", "sock", 2),
        Limits(0.5, 2**30, 60.0, 64, 2**20),
        Exit(RunId(1), 2, signal=9, reason="memory", cpu_s=0.25),
    ],
)
def test_it_survives_json(value: msgspec.Struct) -> None:
    assert msgspec.json.decode(msgspec.json.encode(value), type=type(value)) == value
