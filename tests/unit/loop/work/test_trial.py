"""A trial is scored on validation rows, with the parameters it was given."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from kernos.base.errors import InvalidError
from kernos.data.split import held_out
from kernos.loop.work import trial

if TYPE_CHECKING:
    from tests.unit.loop.work.conftest import Bench

Make = Callable[[str], "Bench"]


def tried(bench: Bench, metric: str = "accuracy", **params: Any) -> dict[str, Any]:
    return trial.run(bench.task(params=params, metric=metric, index=0))


def test_it_is_scored_on_rows_it_was_not_fitted_on(bench: Bench, diabetes: pl.DataFrame) -> None:
    result = tried(bench, C=0.1)

    training = diabetes.filter(~held_out(diabetes, 0.25, 1))
    validation = training.filter(held_out(training, 0.25, 2))
    assert (result["metric"], result["rows"]) == ("accuracy", validation.height)
    assert 0.6 < result["score"] < 0.95


def test_the_parameters_make_the_difference(bench: Bench) -> None:
    assert len({tried(bench, "log_loss", C=C)["score"] for C in (1e-6, 1e-3, 0.1)}) == 3


def test_only_what_does_not_depend_on_them_is_shared(bench: Bench) -> None:
    tried(bench, C=0.1)

    assert [body["step"] for verb, body in bench.workshop.asked if verb == "call"] == ["clean"]


def test_a_parameter_of_the_flow_is_tuned_too(make_bench: Make, example: str) -> None:
    source = example.replace(
        'build(source: str = "diabetes.parquet")', 'build(source: str = "d", strength: float = 1.0)'
    )
    source = source.replace("train(clean(app.read(source)))", "train(clean(app.read(source)), strength)")
    bench = make_bench(source)

    scores = {tried(bench, "log_loss", strength=strength)["score"] for strength in (1e-6, 0.1)}

    assert len(scores) == 2


def test_a_search_over_what_reaches_no_model_is_refused(make_bench: Make, example: str) -> None:
    source = example.replace("def clean(raw: pl.DataFrame)", "def clean(raw: pl.DataFrame, least: int = 10)")

    with pytest.raises(InvalidError, match="trials cannot be scored") as caught:
        tried(make_bench(source), least=12)
    assert "least" in caught.value.hint
