"""One step: what it returns is stored; a Model as ONNX, never as a pickle."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl
import pytest

from kernos.base.errors import InvalidError, KernosError, RefusedError
from kernos.base.ids import Digest
from kernos.loop.values import Value as Travelling
from kernos.loop.values import decode, encode
from kernos.loop.work import step
from kernos.runtime.engine import OnnxEngine, predict
from kernos.runtime.signature import Signature

if TYPE_CHECKING:
    from tests.unit.loop.work.conftest import Bench

Make = Callable[[str], "Bench"]
MODEL = "Model(model, example=X.head())"
DROP = 'rows.drop("progressed", "sex")'


def run(bench: Bench, name: str, **arguments: Any) -> dict[str, Any]:
    values = {key: msgspec.to_builtins(encode(value, bench.blobs, key)) for key, value in arguments.items()}
    return step.run(bench.task(step=name, arguments=values))


def test_a_table_comes_back_by_digest(bench: Bench, diabetes: pl.DataFrame) -> None:
    value = msgspec.convert(run(bench, "clean", raw=diabetes)["value"], Travelling)

    assert (value.kind, value.rows) == ("table", diabetes.height)
    assert decode(value, bench.blobs).equals(diabetes)


def test_a_model_is_stored_as_onnx_that_answers_as_it_does(bench: Bench, diabetes: pl.DataFrame) -> None:
    result = run(bench, "train", rows=diabetes, C=0.5)

    assert result["value"]["kind"] == "model"
    signature = msgspec.convert(result["model"]["signature"], Signature)
    assert signature.columns == [c for c in diabetes.columns if c not in {"sex", "progressed"}]
    engine = OnnxEngine(bench.blobs.get(Digest(result["value"]["digest"])), signature)
    answers = predict(engine, diabetes.select(signature.columns))
    assert (answers.labels == diabetes["progressed"].to_numpy()).mean() > 0.7
    parity = result["model"]["parity"]
    assert (parity["ok"], parity["rows"]) == (True, diabetes.height)
    assert result["model"]["training_rows"] == diabetes.height


def test_a_ready_onnx_file_is_taken_without_a_replay(make_bench: Make, diabetes: pl.DataFrame) -> None:
    from pathlib import Path

    source = (Path(__file__).parents[4] / "examples" / "diabetes" / "brittle.py").read_text()

    result = run(make_bench(source), "train", rows=diabetes)

    assert result["model"]["estimator"] == "ONNX"
    assert "parity" not in result["model"]


@pytest.mark.parametrize(
    ("old", "new", "kind", "says"),
    [
        (MODEL, "lambda: model", InvalidError, "What train returns is a builtins.function"),
        (MODEL, "model", InvalidError, "What train returns is a sklearn"),
        ("example=X.head()", "example=X.select('age')", KernosError, "fitted on 9 columns"),
        (DROP, f"{DROP}.with_columns(twice=pl.col('age') * 2)", InvalidError, "No argument of step train has all"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_refused(
    make_bench: Make,
    example: str,
    diabetes: pl.DataFrame,
    old: str,
    new: str,
    kind: type[KernosError],
    says: str,
) -> None:
    assert old in example

    with pytest.raises(kind, match=says):
        run(make_bench(example.replace(old, new)), "train", rows=diabetes, C=1.0)


def test_an_estimator_whose_conversion_would_answer_otherwise_is_refused(
    make_bench: Make, example: str, diabetes: pl.DataFrame
) -> None:
    odd = "class Odd(LogisticRegression):\n    def predict(self, X):\n        return 1 - super().predict(X)\n\n\n"
    source = example.replace("app = App(", f"{odd}app = App(", 1)
    source = source.replace("LogisticRegression(C=C, max_iter=1000)", "Odd(C=C, max_iter=1000)")

    with pytest.raises(RefusedError):
        run(make_bench(source), "train", rows=diabetes, C=1.0)


def test_an_error_of_the_step_is_the_users_own(bench: Bench, diabetes: pl.DataFrame) -> None:
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match="progressed"):
        run(bench, "train", rows=diabetes.drop("progressed"), C=1.0)


def test_one_class_alone_is_no_model(bench: Bench, diabetes: pl.DataFrame) -> None:
    with pytest.raises(ValueError, match="class"):
        run(bench, "train", rows=diabetes.filter(pl.col("progressed") == 1), C=1.0)
