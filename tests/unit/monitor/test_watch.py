from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_diabetes

from kernos.api.views import AccuracyView, DriftView
from kernos.base.errors import CorruptError, InvalidError
from kernos.monitor.features import reference
from kernos.monitor.watch import WINDOW_ROWS, Watch


@pytest.fixture(scope="module")
def diabetes() -> pl.DataFrame:
    data = load_diabetes(scaled=False)
    return pl.DataFrame(data.data, schema=list(data.feature_names))


def split(diabetes: pl.DataFrame, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    order = np.random.default_rng(seed).permutation(diabetes.height)
    return diabetes[order[:331]], diabetes[order[331:]]


def drawn(rows: pl.DataFrame, count: int, seed: int) -> pl.DataFrame:
    return rows[np.random.default_rng(seed).integers(0, rows.height, count)]


def shifted(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.col("bmi") + 6, pl.col("age") + 12)


@pytest.mark.parametrize("seed", range(6))
def test_a_shift_is_found_within_200_rows_and_not_before_it(diabetes: pl.DataFrame, seed: int) -> None:
    train, live = split(diabetes, seed)
    watch = Watch(reference(train, train.columns), 1e4)

    watch.feed(drawn(live, 250, seed))
    before = watch.report()["drift"]
    watch.feed(shifted(drawn(live, 200, seed + 1)))
    after = watch.report()["drift"]

    assert (before["alarm"], before["rows_to_alarm"]) == (False, None)
    assert after["alarm"]
    assert 250 < after["rows_to_alarm"] <= 450
    assert "bmi is higher" in after["note"] or "age is higher" in after["note"]


def test_false_alarms_stay_within_the_bound_though_the_reference_is_small(diabetes: pl.DataFrame) -> None:
    rows, arl, alarms, seeds = 5000, 1e4, 0, 12
    for seed in range(seeds):
        train, live = split(diabetes, 100 + seed)
        watch = Watch(reference(train, train.columns), arl)
        watch.feed(drawn(live, rows, seed))
        alarms += watch.report()["alarm"]

    assert alarms <= seeds * rows / arl


def test_the_report_has_the_views_fields(diabetes: pl.DataFrame) -> None:
    watch = Watch(reference(diabetes, ["age", "sex"]), 1e4)
    watch.feed(diabetes[:100])
    watch.feed_labels(np.array([True] * 30), 0.9, held_out_rows=100)

    report = watch.report()

    drift = msgspec.convert(report["drift"], DriftView)
    assert set(report["drift"]) == {field.name for field in msgspec.structs.fields(DriftView)}
    assert (drift.rows, drift.e_bound, [test.column for test in drift.columns]) == (100, 1e4, ["age", "sex"])
    accuracy = msgspec.convert(report["accuracy"], AccuracyView)
    assert set(report["accuracy"]) == {field.name for field in msgspec.structs.fields(AccuracyView)}
    assert (accuracy.value, accuracy.rows) == (1.0, 30)
    assert report["alarm"] is False


def test_errors_alone_raise_the_alarm(diabetes: pl.DataFrame) -> None:
    watch = Watch(reference(diabetes, ["age"]), 1e4)
    watch.feed_labels(np.zeros(200, np.bool_), 0.9, held_out_rows=100)

    report = watch.report()

    assert report["alarm"]
    assert not report["drift"]["alarm"]
    assert report["accuracy_alarm_row"] <= 50
    assert "Errors became too many" in report["drift"]["note"]


def test_a_restart_between_any_rows_changes_nothing(diabetes: pl.DataFrame) -> None:
    sketch = reference(diabetes[:300], diabetes.columns)
    whole, parted = Watch(sketch, 1e4), Watch(sketch, 1e4)
    live = shifted(diabetes[300:])

    whole.feed(live)
    for part in live.iter_slices(37):
        parted.feed(part)
        parted = Watch.from_state(sketch, parted.state())

    assert parted.state() == whole.state()
    assert parted.report() == whole.report()


def test_state_is_bounded_and_holds_text_and_nulls() -> None:
    frame = pl.DataFrame(
        {"a": ["x", None, "y"] * 400, "b": [1.0, None, float("nan")] * 400, "c": range(1200)}
    )
    sketch = reference(frame, ["a", "b", "c"])
    watch = Watch(sketch)
    watch.feed(frame)
    size = len(watch.state())

    watch.feed(frame)

    assert len(watch.state()) < size * 1.1
    assert Watch.from_state(sketch, watch.state()).report() == watch.report()
    assert len(msgspec.json.decode(watch.state())["window"]["a"]) == WINDOW_ROWS


def test_columns_that_drifted_are_named_even_without_an_alarm() -> None:
    random = np.random.default_rng(0)
    watch = Watch(reference(pl.DataFrame({"a": random.normal(size=400)}), ["a"]), 1e9)
    assert "Column tests start at 50 rows" in watch.report()["drift"]["note"]

    watch.feed(pl.DataFrame({"a": random.normal(0.4, 1, 300)}))

    assert watch.report()["drift"]["note"] == "No drift in 300 rows. The last 300 rows differ in a."


def test_foreign_state_is_corrupt(diabetes: pl.DataFrame) -> None:
    sketch, other = reference(diabetes, ["age"]), reference(diabetes, ["sex"])

    for state in (b"{", b"{}", Watch(other).state()):
        with pytest.raises(CorruptError) as caught:
            Watch.from_state(sketch, state)
        assert caught.value.hint


@pytest.mark.parametrize("arl", [0, -1, float("nan")])
def test_a_bound_that_is_none_is_refused(diabetes: pl.DataFrame, arl: Any) -> None:
    with pytest.raises(InvalidError):
        Watch(reference(diabetes, ["age"]), arl)
