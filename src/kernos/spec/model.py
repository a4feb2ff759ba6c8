"""A trained model as a flow returns it: a fitted estimator with example rows, or a finished ONNX file."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

from kernos.base.errors import InvalidError


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """`Model(pipeline.fit(X, y), example=X.head())` or `Model(onnx=data)`.

    `example` holds a few rows of exactly the columns the model reads, in their order, and nothing else: they
    give the names and types of its inputs. Whatever a prediction needs lives inside the estimator, because
    what is served is the estimator alone.
    """

    estimator: Any = None
    example: Any = None
    """A polars or pandas DataFrame."""
    _: KW_ONLY
    onnx: bytes | None = None

    def __post_init__(self) -> None:
        if (self.estimator is None) == (self.onnx is None):
            raise InvalidError(
                "A Model holds an estimator or an ONNX file.", hint="Give exactly one of the two."
            )
        if self.onnx is not None:
            if not _is_bytes(self.onnx):
                raise InvalidError(
                    "A Model's ONNX file is given as bytes.", hint="Pass model.SerializeToString()."
                )
            return
        if not callable(getattr(self.estimator, "predict", None)):
            raise InvalidError(
                f"A {type(self.estimator).__name__} cannot predict.",
                hint="Pass a fitted estimator, not its result.",
            )
        columns = getattr(self.example, "columns", None)
        if columns is None or len(columns) == 0 or len(self.example) == 0:
            raise InvalidError(
                "A Model needs example rows of the columns it reads.",
                hint="Pass example=X.head(), a DataFrame.",
            )


def _is_bytes(value: object) -> bool:
    return isinstance(value, bytes) and len(value) > 0
