"""`app.read` and step calls inside the kernel, with a kernel that the test plays."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pytest

from kernos.base.errors import InvalidError
from kernos.catalog.blobs import FileBlobs
from kernos.data.split import held_out
from kernos.loop.context import (
    FlowContext,
    Reader,
    ReplayContext,
    Rows,
    TrialContext,
    as_polars,
    bind,
    flow_arguments,
    model_table,
    replay,
)
from kernos.loop.datasets import described, extend
from kernos.loop.room import Room
from kernos.loop.values import StoredModel, Value, decode, encode
from kernos.spec.app import App
from kernos.spec.context import running
from kernos.spec.model import Model

SPLIT = {"held_out": 0.25, "validation": 0.25, "seed": 20}
ROWS = pl.DataFrame({"a": range(400), "b": [n / 7 for n in range(400)], "y": [n % 2 for n in range(400)]})


class Constant:
    """Predicts nothing much."""

    def predict(self, rows: Any) -> Any:
        return [0] * len(rows)


class FakeRoom:
    """Knows one source; steps are run here, on what would have travelled."""

    def __init__(self, folder: Path) -> None:
        self.blobs = FileBlobs(folder / "blobs")
        self.payload: dict[str, Any] = {"split": SPLIT}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.functions: dict[str, Callable[..., Any]] = {}
        self.dataset = described(extend(None, ROWS, self.blobs, folder), self.blobs)["digest"]

    def ask(self, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        if verb == "read":
            return {"ref": f"/data/{body['source']}@1", "digest": self.dataset}
        self.calls.append((body["step"], body["arguments"]))
        values = msgspec.convert(body["arguments"], dict[str, Value])
        arguments = {name: decode(value, self.blobs) for name, value in values.items()}
        result = self.functions[body["step"]](**arguments)
        if isinstance(result, Model):
            model = Value("model", self.blobs.put(b"onnx"))
            table = encode(arguments["rows"], self.blobs, "table")
            return msgspec.to_builtins({"value": model, "table": table, "model": {"size_bytes": 4}})  # type: ignore[no-any-return] # of a dict
        return {"value": msgspec.to_builtins(encode(result, self.blobs, "result"))}

    def outcome(self, answer: dict[str, Any]) -> dict[str, Any]:
        return answer


@pytest.fixture
def room(tmp_path: Path) -> FakeRoom:
    return FakeRoom(tmp_path)


def real(room: FakeRoom) -> Room:
    return cast("Room", room)


def clean(raw: pl.DataFrame) -> pl.DataFrame:
    return raw.filter(pl.col("a") >= 10)


def train(rows: pl.DataFrame, C: float = 1.0) -> Model:
    return Model(Constant(), example=rows.select("a", "b").head())


def fit(rows: pl.DataFrame, depth: int) -> Model:
    return Model(Constant(), example=rows.select("a", "b").head())


class Declared:
    """An App of this module, with its steps as a flow calls them."""

    def __init__(self, room: FakeRoom, *steps: Callable[..., Any]) -> None:
        self.app = App("m", target="y")
        for step in steps:
            setattr(self, step.__name__, self.app.step(step))
            room.functions[step.__name__] = step

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def test_the_rows_are_cut_four_ways_and_recorded(room: FakeRoom) -> None:
    seen: dict[Rows, set[int]] = {}
    names: tuple[Rows, ...] = ("training", "fitting", "validation", "held_out")
    for name in names:
        reader = Reader(real(room), name)
        seen[name] = set(reader.read("rows")["a"])
        assert reader.refs == {"rows": "/data/rows@1"}

    assert seen["training"] | seen["held_out"] == set(range(400))
    assert not seen["training"] & seen["held_out"]
    assert seen["fitting"] | seen["validation"] == seen["training"]
    assert not seen["fitting"] & seen["validation"]
    assert seen["held_out"] == set(ROWS.filter(held_out(ROWS, 0.25, 20))["a"])
    assert 60 <= len(seen["held_out"]) <= 140


def test_a_flow_hands_on_what_it_got_without_sending_it_again(room: FakeRoom) -> None:
    declared = Declared(room, clean, train)
    context = FlowContext(real(room), {"C": 0.5})

    with running(context):
        model = declared.train(declared.clean(declared.app.read("rows")))

    assert isinstance(model, StoredModel)
    (_, cleaned), (_, trained) = room.calls
    assert trained["C"] == {"kind": "json", "inline": 0.5}
    assert cleaned["raw"]["kind"] == trained["rows"]["kind"] == "table"
    assert context.model["step"] == "train"
    assert context.model["value"]["digest"] == model.digest
    assert set(context.model) == {"step", "table", "value", "meta"}
    assert context.reader.refs == {"rows": "/data/rows@1"}


def test_an_argument_that_is_given_wins_over_a_tuned_one(room: FakeRoom) -> None:
    declared = Declared(room, train)

    with running(FlowContext(real(room), {"C": 0.5})):
        declared.train(declared.app.read("rows"), C=2.0)
        declared.train(declared.app.read("rows"), 3.0)

    assert [arguments["C"]["inline"] for _, arguments in room.calls] == [2.0, 3.0]


def test_a_value_changed_in_place_between_steps_travels_changed(room: FakeRoom) -> None:
    def numbers(n: int) -> Any:
        return {"list": [n]}

    def array(n: int) -> Any:
        return np.zeros(n)

    def table(n: int) -> Any:
        return pl.DataFrame({"x": [n, n]})

    def pandas_table(n: int) -> Any:
        return pd.DataFrame({"x": [n, n]})

    def show(value: Any) -> Any:
        return [float(x) for x in (value["list"] if isinstance(value, dict) else np.ravel(value))]

    app = App("m", target="y")
    steps = {}
    for function in (numbers, array, table, pandas_table, show):
        room.functions[function.__name__] = function
    steps = {name: app.step(function) for name, function in room.functions.items()}
    app.manifest = lambda: _Steps(list(steps))  # type: ignore[method-assign, assignment, return-value] # local functions have no code

    with running(FlowContext(real(room), {})):
        values = [steps[name](1) for name in ("numbers", "array", "table", "pandas_table")]
        before = [steps["show"](value) for value in values]
        values[0]["list"].append(9)
        values[1] += 9
        values[2][0, "x"] = 9
        values[3].iloc[0, 0] = 9
        after = [steps["show"](value) for value in values]

    assert before == [[1.0], [0.0], [1.0, 1.0], [1.0, 1.0]]
    assert after == [[1.0, 9.0], [9.0], [9.0, 1.0], [9.0, 1.0]]


class _Steps:
    def __init__(self, names: list[str]) -> None:
        from kernos.spec.manifest import Step

        self.steps = [Step(name, "code") for name in names]


def test_an_argument_that_cannot_travel_is_named(room: FakeRoom) -> None:
    declared = Declared(room, train)

    with (
        running(FlowContext(real(room), {})),
        pytest.raises(InvalidError, match=r"train\(rows\) is a .*LazyFrame"),
    ):
        declared.train(declared.app.read("rows").lazy())


def test_a_trial_shares_what_does_not_depend_on_the_parameters(room: FakeRoom) -> None:
    declared = Declared(room, clean, train)

    def flow(source: str) -> Any:
        return declared.train(declared.clean(declared.app.read(source)))

    context = TrialContext(real(room), {"C": 0.5}, flow)
    with running(context):
        flow("rows")

    assert [name for name, _ in room.calls] == ["clean"]
    assert context.model is not None
    assert context.model_step == "train"
    fitting = set(Reader(real(room), "fitting").read("rows")["a"])
    (_, arguments), = room.calls  # fmt: skip
    assert set(decode(msgspec.convert(arguments["raw"], Value), room.blobs)["a"]) == fitting


def test_a_step_that_must_be_given_a_tuned_parameter_gets_it(room: FakeRoom) -> None:
    declared = Declared(room, fit)
    context = TrialContext(real(room), {"depth": 3}, lambda: None)

    with running(context):
        declared.fit(declared.app.read("rows"))

    assert context.model is not None
    assert room.calls == []


def test_a_tuned_parameter_of_the_flow_reaches_its_steps_and_nothing_stale_is_shared(room: FakeRoom) -> None:
    seen: list[int] = []

    def flow(source: str, least: int = 0) -> Any:
        rows = declared.clean(declared.app.read(source))
        seen.append(least)
        return declared.train(rows.filter(pl.col("a") > least))

    declared = Declared(room, clean, train)
    context = TrialContext(real(room), {"least": 100}, flow)

    with running(context):
        flow(**flow_arguments(flow, {"source": "rows", "least": 0}, {"least": 100}))

    assert seen == [100]
    assert [name for name, _ in room.calls] == ["clean"]
    assert context.model_step == "train"


def test_a_replay_stops_where_the_model_would_be_fitted(room: FakeRoom) -> None:
    declared = Declared(room, clean, train)

    def flow(source: str, extra: float = 0.0) -> Any:
        model = declared.train(declared.clean(declared.app.read(source)), extra)
        raise AssertionError("the flow went on", model)

    context = ReplayContext(real(room), "held_out", "train", {"extra": 7.0})
    arguments = replay(flow, context, running, {"source": "rows"})

    outside = set(Reader(real(room), "held_out").read("rows")["a"])
    assert set(arguments["rows"]["a"]) == {n for n in outside if n >= 10}
    assert arguments["C"] == 7.0
    assert context.rows_read == len(outside)
    assert room.calls == []


def test_a_flow_that_takes_another_way_on_other_rows_is_refused(room: FakeRoom) -> None:
    declared = Declared(room, train)

    def flow() -> Any:
        rows = declared.app.read("rows")
        return declared.train(rows) if rows.height > 200 else None

    with pytest.raises(InvalidError, match="did not reach the step"):
        replay(flow, ReplayContext(real(room), "held_out", "train", {}), running, {})


def test_arguments_are_bound_by_name_with_their_defaults() -> None:
    def step(a: int, b: int = 2, *, c: int = 3) -> None: ...

    assert bind(step, (1,), {}, {}) == {"a": 1, "b": 2, "c": 3}
    assert bind(step, (1,), {"c": 4}, {"b": 9, "c": 8, "z": 7}) == {"a": 1, "b": 9, "c": 4}
    with pytest.raises(TypeError, match="too many"):
        bind(step, (1, 2, 3), {}, {})


def test_the_models_table_is_the_first_with_all_its_columns() -> None:
    small, whole = ROWS.select("a"), ROWS.to_pandas()

    found = model_table({"n": 1, "small": small, "whole": whole}, ["a", "b"], "y", "train")

    assert found.equals(ROWS)
    with pytest.raises(InvalidError, match="No argument of step train has all columns"):
        model_table({"small": small}, ["a", "b"], "y", "train")
    with pytest.raises(InvalidError, match="without the target column 'z'"):
        model_table({"rows": ROWS}, ["a", "b"], "z", "train")


def test_only_frames_are_taken_for_tables() -> None:
    assert as_polars(ROWS) is ROWS
    assert as_polars(pd.DataFrame({"a": [1]})).equals(pl.DataFrame({"a": [1]}))  # type: ignore[union-attr] # a frame
    assert as_polars(ROWS.lazy()) is None
    assert as_polars(io.BytesIO()) is None
