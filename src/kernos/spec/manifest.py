"""An App as data: what loading its module yields, what the kernel plans with, what the catalog keeps."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Comparison = Literal[">=", "<=", ">", "<"]


class Column(msgspec.Struct, frozen=True):
    """What a data contract says of one column: `float? 10..70`, `int in 0,1`, `str ~ [A-Z]+ unique`."""

    name: str
    type: Literal["int", "float", "str", "bool", "datetime"]
    nullable: bool = False
    low: float | None = None
    high: float | None = None
    members: list[Any] | None = None
    pattern: str = ""
    unique: bool = False


class Rule(msgspec.Struct, frozen=True):
    """One gate. `metric` and `column` as in `parity_gap(sex) <= 0.30`; `not worse than live` has its own
    kind, and so has a function, whose name is `metric`: the bundle's digest stands for its code."""

    text: str
    kind: Literal["threshold", "not_worse", "callable"]
    metric: str = ""
    column: str = ""
    comparison: Comparison = ">="
    bound: float = 0.0
    line: int = 0


class Step(msgspec.Struct, frozen=True):
    name: str
    code: str
    """Digest of the function's code and of everything in the module it reaches."""
    params: dict[str, Any] = {}
    """Parameters with their defaults (JSON values only)."""
    cpus: float = 1.0
    memory_bytes: int = 0
    wall_s: float = 0.0
    klass: Literal["realtime", "interactive", "batch", "idle"] = "batch"
    retries: int = 0
    line: int = 0


class Trigger(msgspec.Struct, frozen=True):
    """`on drift, at most daily` or `every 6h`."""

    text: str = ""
    on: Literal["", "drift", "time"] = ""
    every_s: float = 0.0
    """The period for `time`, the least distance between two builds for `drift`."""


class Flow(msgspec.Struct, frozen=True):
    name: str
    code: str
    params: dict[str, Any] = {}
    tune: dict[str, list[Any]] = {}
    """Parameter name -> [low, high] (floats: log scale when low > 0 and high/low >= 100) or a list of
    choices."""
    choices: list[str] = []
    """Which of `tune` are lists of choices rather than ranges."""
    trials: int = 0
    trigger: Trigger = Trigger()
    line: int = 0


class Service(msgspec.Struct, frozen=True):
    """How a flow's model is served and rolled out."""

    flow: str
    canary_share: float = 0.0
    canary_s: float = 0.0
    max_error_share: float = 1.0
    max_p99_ms: float = 0.0
    """0: no bound."""
    explain: bool = False
    line: int = 0


class Manifest(msgspec.Struct, frozen=True):
    app: str
    target: str
    sensitive: list[str] = []
    doc: str = ""
    code: str = ""
    """Digest of the module's source bundle."""
    contract: list[Column] = []
    steps: list[Step] = []
    flows: list[Flow] = []
    gates: list[Rule] = []
    service: Service | None = None
