"""The held-out table: the steps above the Model on rows that the flow has not seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import polars as pl
import pytest

from kernos.base.errors import InvalidError, RefusedError
from kernos.data.split import held_out
from kernos.loop.values import Value, decode

if TYPE_CHECKING:
    from tests.unit.loop.work.conftest import Bench

Make = Callable[[str], "Bench"]


def test_it_is_the_steps_above_the_model_on_unseen_rows(
    make_bench: Make, example: str, diabetes: pl.DataFrame
) -> None:
    bench = make_bench(example.replace("is_between(10, 70)", "is_between(22, 70)"))
    bench.flow()

    result = bench.evaluate()

    outside = diabetes.filter(held_out(diabetes, 0.25, 1))
    kept = outside.filter(pl.col("bmi").is_between(22, 70))
    table = decode(msgspec.convert(result["table"], Value), bench.blobs)
    assert table.equals(kept)
    assert (result["rows_read"], result["rows_kept"]) == (outside.height, kept.height)
    trained = decode(msgspec.convert(bench.results["flow"]["table"], Value), bench.blobs)
    assert trained.join(table, on=table.columns, how="inner").height == 0


def test_a_sensitive_column_that_does_not_arrive_is_refused(make_bench: Make, example: str) -> None:
    source = example.replace("return raw.drop_nulls()", 'return raw.drop("sex").drop_nulls()')
    bench = make_bench(source.replace('rows.drop("progressed", "sex")', 'rows.drop("progressed")'))
    bench.flow()

    with pytest.raises(RefusedError, match="'sex' does not reach step 'train'"):
        bench.evaluate()


def test_a_flow_that_takes_another_way_on_other_rows_is_refused(make_bench: Make, example: str) -> None:
    body = "rows = clean(app.read(source)); return train(rows) if rows.height > 200 else None"
    bench = make_bench(example.replace("return train(clean(app.read(source)))", body))
    bench.flow()

    with pytest.raises(InvalidError, match="did not reach the step"):
        bench.evaluate()
