from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from kernos.base.errors import InvalidError
from kernos.spec.model import Model


class Constant:
    def predict(self, rows: Any) -> list[int]:
        return [1] * len(rows)


ROWS = pl.DataFrame({"a": [1.0, 2.0]})


def test_a_model_holds_an_estimator_with_its_example_or_a_file() -> None:
    assert Model(Constant(), ROWS).example is ROWS
    assert Model(onnx=b"x").onnx == b"x"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "exactly one"),
        ({"estimator": Constant(), "example": ROWS, "onnx": b"x"}, "exactly one"),
        ({"estimator": Constant()}, "example=X.head"),
        ({"estimator": Constant(), "example": [[1.0]]}, "DataFrame"),
        ({"estimator": Constant(), "example": ROWS.head(0)}, "example rows"),
        ({"estimator": [1, 0], "example": ROWS}, "cannot predict"),
        ({"onnx": b""}, "as bytes"),
        ({"onnx": "model.onnx"}, "as bytes"),
    ],
)
def test_half_a_model_is_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidError) as caught:
        Model(**arguments)

    assert says in str(caught.value)
