"""From a fitted model to a model file that answers the same, or a refusal that says what to use instead.

Outputs have the same names in every file: `label` and `probabilities` of a classifier, `prediction` of a
regressor. Converters and frameworks are imported inside; only workers come here.
"""

from __future__ import annotations

import difflib
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from kernos.base.errors import FailedError, InvalidError, RefusedError
from kernos.runtime import foreign, graph
from kernos.runtime.engine import Array, OnnxEngine, Predictions, predict
from kernos.runtime.signature import Signature, TensorSpec

if TYPE_CHECKING:
    import polars as pl

Task = Literal["classification", "regression"]

REPLAY_ROWS = 1_000
TOLERANCE = 1e-4
"""Largest difference between framework and model file: float32 keeps seven digits, a model uses up a few."""
_TIE = 1e-6
"""Probabilities nearer than this are the same in float32."""
_TREES = (
    "trees need no scaling or polynomials before them, and float32 keeps too few of the digits these make"
)
_OPSETS = {"": 18, "ai.onnx.ml": 3}
_PROOF_ROWS = 64


@dataclass(frozen=True, slots=True)
class Converted:
    onnx: bytes
    signature: Signature


class Parity(msgspec.Struct, frozen=True):
    """How framework and model file compare on the same rows."""

    rows: int
    flips: int
    """Rows with another label, ties aside; of a regressor, rows beyond the tolerance."""
    max_difference: float
    """Of probabilities; of a regressor's values, as a share of the largest of them."""
    ok: bool
    reason: str


def to_onnx(estimator: Any, example: Any) -> Converted:
    """The fitted scikit-learn estimator or Pipeline as ONNX.

    `example` is a polars or pandas table of feature columns. Numbers become one [n, d] FP32 matrix `input`;
    with strings among them, or with a ColumnTransformer that selects by name, each column is an input of its
    own, [n, 1]. RefusedError for what has no faithful conversion, InvalidError for a wrong example.
    """
    _refuse_unfaithful(estimator)
    frame = _features(estimator, _to_polars(example))
    task, classes = _task(estimator), _classes(estimator)
    specs = _inputs(estimator, frame)
    model = _convert(estimator, specs)
    outputs = ["label", "probabilities"] if task == "classification" else ["prediction"]
    _name(model, specs, outputs if hasattr(estimator, "predict_proba") else outputs[:1])
    return _proved(model, Signature(task, specs, _output_specs(model, len(classes)), classes), frame)


def from_onnx(onnx: bytes, example: Any) -> Converted:
    """A model file from elsewhere, its outputs renamed; `foreign.read` says which ones are taken.

    `example` is a polars or pandas table of feature columns. RefusedError for a graph of another kind.
    """
    frame = _to_polars(example)
    model, signature = foreign.read(onnx, frame)
    return _proved(model, signature, frame)


def replay(estimator: Any, onnx: bytes, signature: Signature, rows: Any) -> Parity:
    """Compare both on up to 1,000 rows, spread evenly over the table.

    The framework sees the values as they are, the model file as float32 holds them: what a caller will
    see. (Fed with rounded values, scikit-learn 1.9's histogram trees answer otherwise: their thresholds are
    values of the training data, and rounding moves a value to the other side of itself.)
    """
    frame = _features(estimator, _to_polars(rows))
    frame = frame.gather_every(max(1, math.ceil(frame.height / REPLAY_ROWS)))
    engine = OnnxEngine(onnx, signature)
    try:
        served = predict(engine, frame)
    finally:
        engine.close()
    given = frame if hasattr(estimator, "feature_names_in_") else frame.to_numpy()
    labels = np.asarray(estimator.predict(given))
    if signature.task != "classification":
        parity = _compare_values(labels.reshape(len(labels), -1)[:, 0], served.labels)
    else:
        scores = None if served.scores is None else np.asarray(estimator.predict_proba(given))
        parity = _compare_classes(labels, scores, served, signature.classes)
    if not parity.ok and _has_trees(estimator):
        return msgspec.structs.replace(parity, reason=f"{parity.reason}; {_TREES}")
    return parity


def _compare_values(wanted: Array, served: Array) -> Parity:
    wanted = wanted.astype(np.float64)
    if not (np.isfinite(wanted).all() and np.isfinite(served).all()):
        return Parity(len(wanted), 0, 0.0, False, "A prediction is not a number")
    scale = float(np.abs(wanted).max()) or 1.0
    difference = np.abs(wanted - served) / scale
    flips, largest = int((difference > TOLERANCE).sum()), float(difference.max())
    return Parity(len(wanted), flips, largest, flips == 0, _reason(len(wanted), flips, largest))


def _compare_classes(
    labels: Array, scores: Array | None, served: Predictions, classes: list[int | str]
) -> Parity:
    kind = np.str_ if served.labels.dtype == np.object_ else np.int64
    wanted, found = labels.astype(kind), served.labels.astype(kind)
    flipped = wanted != found
    largest = 0.0
    if scores is not None and served.scores is not None:
        if not (np.isfinite(scores).all() and np.isfinite(served.scores).all()):
            return Parity(len(labels), int(flipped.sum()), 0.0, False, "A probability is not a number")
        compared = scores[:, 1] if scores.shape[1] == 2 else scores
        largest = float(np.abs(compared - served.scores).max())
        flipped &= ~_are_ties(scores, wanted, found, np.asarray(classes, dtype=kind))
    flips = int(flipped.sum())
    ok = flips == 0 and largest <= TOLERANCE
    return Parity(len(labels), flips, largest, ok, _reason(len(labels), flips, largest))


def _are_ties(scores: Array, wanted: Array, found: Array, classes: Array) -> Array:
    """Rows where the framework gives both labels the same probability, as forests often do."""
    rows, order = np.arange(len(scores)), np.argsort(classes)
    places = [order[np.searchsorted(classes, labels, sorter=order)] for labels in (wanted, found)]
    tied: Array = np.abs(scores[rows, places[0]] - scores[rows, places[1]]) <= _TIE
    return tied


def _reason(rows: int, flips: int, largest: float) -> str:
    if flips or largest > TOLERANCE:
        return f"{flips} of {rows} rows have another answer; the largest difference is {largest:.1e}"
    return f"{rows} rows agree; the largest difference is {largest:.1e}"


def _refuse_unfaithful(estimator: Any) -> None:
    from sklearn.base import BaseEstimator

    if not isinstance(estimator, BaseEstimator):
        raise RefusedError(
            f"{type(estimator).__name__} is not a scikit-learn estimator.",
            hint="Give Model a fitted estimator or Pipeline, or the bytes of an ONNX file.",
        )
    for part in _parts(estimator):
        # skl2onnx converts these without an error into a graph that takes categories for numbers.
        if np.any(getattr(part, "is_categorical_", None)):
            raise RefusedError(
                f"{type(part).__name__} with categorical_features converts to a model that answers wrongly.",
                hint="Encode outside the trees, with OrdinalEncoder, and set categorical_features=None.",
            )


def _parts(value: Any) -> Iterator[Any]:
    """Every estimator within `value`, itself included."""
    from sklearn.base import BaseEstimator

    if isinstance(value, BaseEstimator):
        yield value
        for inner in vars(value).values():
            yield from _parts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _parts(inner)


def _has_trees(estimator: Any) -> bool:
    """Whether trees stand behind other steps."""
    parts = [type(part).__name__ for part in _parts(estimator)]
    return len(parts) > 1 and any(word in name for name in parts for word in ("Tree", "Forest", "Boosting"))


def _task(estimator: Any) -> Task:
    from sklearn.base import is_classifier, is_regressor

    if is_classifier(estimator):
        return "classification"
    if is_regressor(estimator):
        return "regression"
    raise RefusedError(
        f"{type(estimator).__name__} neither classifies nor regresses.",
        hint="End the Pipeline with a classifier or a regressor, such as LogisticRegression.",
    )


def _classes(estimator: Any) -> list[int | str]:
    """In the order of the probabilities' columns; none for a regressor."""
    classes = getattr(estimator, "classes_", ())
    if isinstance(classes, list):
        raise RefusedError("The model has several targets.", hint="Fit one model for each target.")
    values = np.asarray(classes)
    if len(values) == 1:
        raise RefusedError(
            f"The target has one class: {values[0]}.", hint="Train on rows of two classes or more."
        )
    if values.dtype.kind in "biu" or (values.dtype.kind == "f" and (values == np.floor(values)).all()):
        return [int(value) for value in values]
    if values.dtype.kind == "f":
        raise RefusedError("Classes are fractions.", hint="Make the target int or str, or use a regressor.")
    return [str(value) for value in values]


def _to_polars(table: Any) -> pl.DataFrame:
    import polars as pl

    if isinstance(table, pl.DataFrame):
        return table
    if type(table).__module__.partition(".")[0] == "pandas" and hasattr(table, "columns"):
        return pl.from_pandas(table)
    raise InvalidError(
        f"{type(table).__name__} is not a table.", hint="Give a polars or pandas DataFrame, such as X.head()."
    )


def _features(estimator: Any, frame: pl.DataFrame) -> pl.DataFrame:
    """The columns the estimator was fitted on, in its order."""
    if frame.height == 0:
        raise InvalidError("The example has no rows.", hint="Give a few rows, such as X.head().")
    if not hasattr(estimator, "n_features_in_"):
        raise InvalidError(f"{type(estimator).__name__} is not fitted.", hint="Call fit before Model(…).")
    names = [str(name) for name in getattr(estimator, "feature_names_in_", frame.columns)]
    missing = [name for name in names if name not in frame.columns]
    if missing or len(names) != estimator.n_features_in_:
        raise InvalidError(
            f"The model was fitted on {estimator.n_features_in_} columns; the example has {frame.width}.",
            hint=f"Missing: {', '.join(missing)}."
            if missing
            else "Give the columns the model was fitted on.",
        )
    return frame.select(names)


def _inputs(estimator: Any, frame: pl.DataFrame) -> list[TensorSpec]:
    texts = {column.name: _is_text(column) for column in frame}
    if not any(texts.values()) and not _selects_by_name(estimator):
        return [TensorSpec("input", "FP32", [-1, frame.width], frame.columns)]
    return [TensorSpec(name, "BYTES" if text else "FP32", [-1, 1], [name]) for name, text in texts.items()]


def _is_text(column: pl.Series) -> bool:
    import polars as pl

    if column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null):
        return False
    if column.dtype not in (pl.String, pl.Categorical, pl.Enum):
        raise RefusedError(
            f"Column {column.name!r} is {column.dtype}; a model takes numbers and strings.",
            hint="Turn it into numbers or strings in a step before the model.",
        )
    if column.null_count():
        raise RefusedError(
            f"Column {column.name!r} has null strings, which no model file can hold.",
            hint=f'Fill them in a step: pl.col("{column.name}").fill_null("missing").',
        )
    return True


def _selects_by_name(estimator: Any) -> bool:
    from sklearn.compose import ColumnTransformer

    return any(
        isinstance(name, str)
        for part in _parts(estimator)
        if isinstance(part, ColumnTransformer)
        for _, _, columns in part.transformers_
        for name in np.atleast_1d(np.asarray(columns, dtype=object))
    )


def _convert(estimator: Any, specs: list[TensorSpec]) -> Any:
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    kinds = {"FP32": FloatTensorType, "BYTES": StringTensorType}
    types = [(spec.name, kinds[spec.datatype]([None, spec.shape[1]])) for spec in specs]
    options = {id(estimator): {"zipmap": False}} if hasattr(estimator, "predict_proba") else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return convert_sklearn(
                estimator, name="model", initial_types=types, target_opset=_OPSETS, options=options
            )
    except Exception as error:  # skl2onnx raises whatever its parts raise; each means the same here
        raise _no_conversion(estimator, error) from error


def _no_conversion(estimator: Any, error: Exception) -> RefusedError:
    from skl2onnx._supported_operators import sklearn_operator_name_map

    known = {kind.__name__ for kind in sklearn_operator_name_map}
    unknown = [type(part).__name__ for part in _parts(estimator) if type(part).__name__ not in known]
    if not unknown:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        return RefusedError(
            f"The model has no conversion to ONNX: {reason}",
            hint="Use another option or estimator, or give Model the bytes of an ONNX file.",
        )
    near = difflib.get_close_matches(unknown[0], sorted(known), n=1, cutoff=0.0)[0]
    return RefusedError(
        f"{unknown[0]} has no conversion to ONNX.",
        hint=f"The nearest that has one is {near}; or give Model the bytes of an ONNX file.",
    )


def _name(model: Any, specs: list[TensorSpec], outputs: list[str]) -> None:
    """Inputs as in `specs`, the first outputs as in `outputs`; further ones are dropped."""
    clash = [spec.name for spec in specs if spec.name in outputs]
    if clash:
        raise RefusedError(
            f"A column is called {clash[0]!r}, as an output of the model is.", hint="Rename the column."
        )
    del model.graph.output[len(outputs) :]
    kept = [node for node in model.graph.node if node.op_type != "ZipMap"]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    found = [value.name for value in (*model.graph.input, *model.graph.output)]
    graph.rename(model, dict(zip(found, [*(spec.name for spec in specs), *outputs], strict=True)))


def _output_specs(model: Any, classes: int) -> list[TensorSpec]:
    """As the graph says; a converter may leave the number of classes open."""
    specs = [graph.tensor_spec(value) for value in model.graph.output]
    return [
        msgspec.structs.replace(s, shape=[-1, classes]) if s.name == "probabilities" else s for s in specs
    ]


def _proved(model: Any, signature: Signature, frame: pl.DataFrame) -> Converted:
    """The model as bytes, after it has answered the example: together and its first row alone."""
    graph.check(model)
    onnx = model.SerializeToString(deterministic=True)
    graph.refuse_large(onnx)
    engine = OnnxEngine(onnx, signature)
    try:
        for part in (frame.head(_PROOF_ROWS), frame.head(1)):
            _refuse_answer(predict(engine, part), signature, part.height)
    except FailedError as error:
        raise RefusedError(
            f"The model file does not answer the example. {error.message}",
            hint="Give an example with rows as they come in production.",
        ) from error
    finally:
        engine.close()
    return Converted(onnx, signature)


def _refuse_answer(answer: Predictions, signature: Signature, rows: int) -> None:
    scores = answer.scores
    if answer.labels.shape != (rows,) or (scores is not None and len(scores) != rows):
        raise RefusedError(
            f"The model answers {list(answer.labels.shape)} for {rows} rows.",
            hint="A model gives one label or one value for each row; fit one model for each target.",
        )
    if scores is not None and not ((scores >= -TOLERANCE) & (scores <= 1 + TOLERANCE)).all():
        raise RefusedError(
            "The model's probabilities are not between 0 and 1.",
            hint="End the graph with Softmax or Sigmoid.",
        )
