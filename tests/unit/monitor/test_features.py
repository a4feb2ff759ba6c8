from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.monitor.features import (
    Reference,
    category_counts,
    features,
    live_values,
    measure,
    reference,
)

RANDOM = np.random.default_rng(5)
TABLE = pl.DataFrame(
    {
        "n": RANDOM.normal(size=400),
        "d": RANDOM.integers(1, 3, 400).astype(float),
        "t": RANDOM.choice(["x", "y", "z"], 400),
        "b": RANDOM.random(400) < 0.3,
        "w": [datetime(2024, 1, 1) + timedelta(hours=int(at)) for at in range(400)],
    }
).with_columns(n=pl.when(pl.int_range(400) % 10 == 0).then(None).otherwise("n"))
SKETCH = reference(TABLE, TABLE.columns)


def measured(sketch: Reference, frame: pl.DataFrame) -> dict[tuple[str, str], Any]:
    block = measure(sketch, frame)
    named = [(feature.column, feature.what) for feature in features(sketch)]
    assert block.shape == (frame.height, len(named))
    return dict(zip(named, block.T, strict=True))


def test_the_reference_survives_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(SKETCH), type=Reference) == SKETCH
    assert SKETCH.rows == 400
    assert [column.kind for column in SKETCH.columns] == ["number", "discrete", "text", "text", "number"]


def test_a_large_column_is_sketched_by_500_values() -> None:
    [column] = reference(pl.DataFrame({"a": RANDOM.exponential(size=20_000)}), ["a"]).columns

    assert len(column.values) == 500
    assert column.values == sorted(column.values)
    assert column.middle == pytest.approx(0.5, abs=0.003)
    assert column.beyond[0] == pytest.approx(4000, abs=3)
    assert column.beyond[1] == pytest.approx(40, abs=3)
    assert len(msgspec.json.encode(column)) < 12_000


def test_the_training_rows_respect_every_bound() -> None:
    for feature, column in zip(features(SKETCH), measure(SKETCH, TABLE).T, strict=True):
        assert np.nanmean(column) < feature.bound, feature


def test_fresh_rows_of_the_same_kind_respect_every_bound() -> None:
    random = np.random.default_rng(6)
    for _ in range(40):
        train, live = (
            pl.DataFrame(
                {
                    "n": random.normal(size=size),
                    "t": random.choice(list("abcdef"), size, p=[0.5, 0.3, 0.1, 0.07, 0.02, 0.01]),
                }
            )
            for size in (100, 5000)
        )
        sketch = reference(train, ["n", "t"])
        for feature, column in zip(features(sketch), measure(sketch, live).T, strict=True):
            assert column.mean() < feature.bound, feature


@pytest.mark.parametrize(
    ("change", "feature"),
    [
        (pl.col("n") + 3, ("n", "is higher")),
        (pl.col("n") - 3, ("n", "is lower")),
        (pl.col("n") * 5, ("n", "is spread wider")),
        (pl.col("n") * 50, ("n", "has more outliers")),
        (pl.lit(None, pl.Float64).alias("n"), ("n", "is missing more often")),
        (pl.lit(float("nan")).alias("n"), ("n", "is missing more often")),
        (pl.lit("free").alias("n"), ("n", "is missing more often")),
        (pl.lit(2).alias("d"), ("d", "is more often 2.0")),
        (pl.lit(2).alias("d"), ("d", "is less often 1.0")),
        (pl.lit(1.5).alias("d"), ("d", "has more new categories")),
        (pl.lit("q").alias("t"), ("t", "has more new categories")),
        (pl.lit(value=True).alias("b"), ("b", "is more often true")),
        (pl.col("w") + pl.duration(days=100), ("w", "is higher")),
    ],
)
def test_each_kind_of_change_moves_its_feature_beyond_the_bound(
    change: pl.Expr, feature: tuple[str, str]
) -> None:
    bounds = {(one.column, one.what): one.bound for one in features(SKETCH)}

    assert np.nanmean(measured(SKETCH, TABLE.with_columns(change))[feature]) > bounds[feature]


def test_a_column_that_is_gone_counts_as_null() -> None:
    gone = measured(SKETCH, TABLE.drop("t"))

    assert gone[("t", "is missing more often")].all()
    assert np.isnan(gone[("t", "has more new categories")]).all()


def test_infinite_values_are_outliers() -> None:
    live = measured(SKETCH, pl.DataFrame({"n": [float("inf"), -float("inf")]}))

    assert live[("n", "has more outliers")].tolist() == [1, 1]
    assert live[("n", "is higher")].tolist() == [1, 0]


def test_a_column_without_values_and_a_table_without_rows_have_a_sketch() -> None:
    for frame in (pl.DataFrame({"a": [None, None]}), pl.DataFrame({"a": pl.Series([], dtype=pl.Float64)})):
        sketch = reference(frame, ["a"])

        assert measure(sketch, pl.DataFrame({"a": [1.0, 2.0]})).shape == (2, len(features(sketch)))


def test_small_references_have_wider_bounds() -> None:
    small = features(reference(TABLE[:50], ["n"]))
    large = features(reference(TABLE, ["n"]))

    assert all(one.bound > other.bound for one, other in zip(small, large, strict=True))


def test_categories_beyond_twenty_are_one() -> None:
    frame = pl.DataFrame({"a": [f"c{at}" for at in range(30) for _ in range(at + 1)]})
    [column] = reference(frame, ["a"]).columns

    assert len(column.categories) == 20
    assert category_counts(column, live_values(column, frame))[-1] == sum(range(1, 11))


@given(st.lists(st.one_of(st.none(), st.floats(), st.integers(-5, 5)), max_size=30))
def test_any_floats_stay_within_zero_and_one(values: list[Any]) -> None:
    frame = pl.DataFrame({"a": pl.Series(values, dtype=pl.Float64, strict=False)})
    block = measure(reference(frame, ["a"]), frame)

    assert np.all(np.isnan(block) | ((block >= 0) & (block <= 1)))
