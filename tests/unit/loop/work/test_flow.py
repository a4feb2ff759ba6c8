"""A flow in earnest: its result is the Model of its last model step, made of rows that the kernel gave."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import polars as pl
import pytest

from kernos.base.errors import InvalidError
from kernos.data.split import held_out
from kernos.loop.values import Value, decode

if TYPE_CHECKING:
    from tests.unit.loop.work.conftest import Bench

Make = Callable[[str], "Bench"]


def test_the_model_its_table_and_its_sources_are_told(bench: Bench, diabetes: pl.DataFrame) -> None:
    result = bench.flow()

    assert result["reads"] == {"diabetes.parquet": "/data/rows@1"}
    assert (result["step"], result["value"]["kind"]) == ("train", "model")
    assert result["meta"]["estimator"] == "Pipeline"
    assert result["meta"]["parity"]["ok"]
    table = decode(msgspec.convert(result["table"], Value), bench.blobs)
    training = diabetes.filter(~held_out(diabetes, 0.25, 1))
    assert table.height == result["meta"]["training_rows"] == training.height
    assert "progressed" in table.columns


def test_tuned_parameters_reach_steps_and_the_flow_itself(make_bench: Make, example: str) -> None:
    bench = make_bench(example)
    plain = bench.flow()["value"]["digest"]
    assert bench.flow(tuned={"C": 0.001})["value"]["digest"] != plain


def test_a_tuned_parameter_of_the_flow_is_handed_in(make_bench: Make, example: str) -> None:
    source = example.replace(
        'build(source: str = "diabetes.parquet")', 'build(source: str = "d", C: float = 1.0)'
    )
    source = source.replace("train(clean(app.read(source)))", "train(clean(app.read(source)), C)")
    bench = make_bench(source)
    plain = bench.flow(arguments={"source": "d", "C": 1.0})["value"]["digest"]

    assert bench.flow(arguments={"source": "d", "C": 1.0}, tuned={"C": 0.001})["value"]["digest"] != plain


@pytest.mark.parametrize(
    ("result", "says"),
    [
        ("7", "returned a int"),
        ("None", "returned a NoneType"),
        ("(train(clean(app.read(source))), 3)[1]", "returned a int"),
        ("clean(app.read(source))", "returned a DataFrame"),
    ],
)
def test_a_flow_that_returns_no_model_is_refused(
    make_bench: Make, example: str, result: str, says: str
) -> None:
    source = example.replace("train(clean(app.read(source)))", result)

    with pytest.raises(InvalidError, match=says):
        make_bench(source).flow()


def test_a_model_that_is_not_the_last_one_is_refused(make_bench: Make, example: str) -> None:
    """Its table would be another one's, so nothing could be judged."""
    body = "rows = clean(app.read(source)); first = train(rows, 0.1); train(rows, 1.0); return first"
    source = example.replace("return train(clean(app.read(source)))", body)

    with pytest.raises(InvalidError, match="not the Model of its last model step"):
        make_bench(source).flow()


def test_a_flow_that_goes_round_app_read_is_refused(make_bench: Make, example: str) -> None:
    """Rows that the kernel does not know could be the very rows a gate would judge on."""
    fetch = "@app.step\ndef fetch() -> pl.DataFrame:\n    from sklearn.datasets import load_diabetes\n" \
        "    bunch = load_diabetes(scaled=False)\n" \
        "    return pl.DataFrame(bunch.data, schema=list(bunch.feature_names)).with_columns(" \
        "progressed=pl.Series(bunch.target > 140).cast(pl.Int64))\n\n\n@app.flow"  # fmt: skip
    source = example.replace("@app.flow", fetch).replace("clean(app.read(source))", "fetch()")

    with pytest.raises(InvalidError, match=r"reads nothing through app\.read"):
        make_bench(source).flow()
