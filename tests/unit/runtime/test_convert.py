"""Conversion answers as the framework does, or refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    StandardScaler,
)
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from kernos.base.errors import InvalidError, RefusedError
from kernos.runtime.convert import Converted, from_onnx, replay, to_onnx
from kernos.runtime.engine import OnnxEngine, predict

COLUMNS = ["bmi", "hours-per-week", "s 1", "label_of"]


def numbers(rows: int = 300) -> pl.DataFrame:
    values = np.random.default_rng(7).normal(size=(rows, 4)).astype(np.float32).astype(np.float64)
    return pl.DataFrame(values, schema=COLUMNS)


def mixed(rows: int = 300) -> pl.DataFrame:
    draw = np.random.default_rng(8)
    return pl.DataFrame(
        {
            "age": draw.integers(17, 90, rows),
            "wage": [None if value > 2.2 else float(np.float32(value)) for value in draw.normal(size=rows)],
            "work": draw.choice(["private", "state", "self é"], rows),
            "education-num": draw.integers(1, 5, rows),
        }
    )


def target(frame: pl.DataFrame) -> np.ndarray[Any, Any]:
    return (frame[:, 0].rank() > frame.height / 2).to_numpy().astype(np.int64)


def encoder() -> ColumnTransformer:
    numeric = make_pipeline(SimpleImputer(), StandardScaler())
    return ColumnTransformer(
        [
            ("numbers", numeric, ["age", "wage"]),
            ("texts", OneHotEncoder(handle_unknown="ignore"), ["work", "education-num"]),
        ]
    )


def proved(estimator: Any, frame: pl.DataFrame) -> Converted:
    converted = to_onnx(estimator, frame.head())
    parity = replay(estimator, converted.onnx, converted.signature, frame)
    assert parity.ok, parity
    assert parity.rows == frame.height
    return converted


def logistic() -> LogisticRegression:
    return LogisticRegression(max_iter=2000)


@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(PolynomialFeatures(2), StandardScaler(), logistic()),
        RandomForestClassifier(20, random_state=0),
        GradientBoostingClassifier(n_estimators=20, random_state=0),
        HistGradientBoostingClassifier(max_iter=20, random_state=0),
        DecisionTreeClassifier(random_state=0),
        KNeighborsClassifier(),
        make_pipeline(StandardScaler(), MLPClassifier((16,), max_iter=2000, random_state=0)),
        GridSearchCV(make_pipeline(StandardScaler(), logistic()), {"logisticregression__C": [0.1, 1.0]}),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
@pytest.mark.parametrize("classes", [2, 3])
def test_classifiers_answer_the_same(estimator: Any, classes: int) -> None:
    frame = numbers()
    labels = (frame[:, 0].rank().to_numpy() * classes / 301).astype(np.int64)

    signature = proved(estimator.fit(frame, labels), frame).signature

    assert signature.task == "classification"
    assert signature.classes == list(range(classes))
    assert [(spec.name, spec.datatype, spec.shape) for spec in signature.inputs] == [
        ("input", "FP32", [-1, 4])
    ]
    assert [(spec.name, spec.shape) for spec in signature.outputs] == [
        ("label", [-1]),
        ("probabilities", [-1, classes]),
    ]
    assert signature.columns == COLUMNS


@pytest.mark.filterwarnings("ignore:.*probability.*:FutureWarning")
def test_a_support_vector_machine_with_probabilities_answers_the_same() -> None:
    frame = numbers()

    proved(SVC(probability=True, random_state=0).fit(frame, target(frame)), frame)


@pytest.mark.parametrize("estimator", [LinearSVC(), SVC(), RidgeClassifier()], ids=lambda e: type(e).__name__)
def test_a_classifier_without_probabilities_gives_labels_alone(estimator: Any) -> None:
    frame = numbers()

    signature = proved(estimator.fit(frame, target(frame)), frame).signature

    assert [spec.name for spec in signature.outputs] == ["label"]


@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(StandardScaler(), Ridge()),
        LinearRegression(),
        RandomForestRegressor(20, random_state=0),
        HistGradientBoostingRegressor(max_iter=20, random_state=0),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_regressors_answer_the_same_at_any_scale(estimator: Any) -> None:
    frame = numbers()
    for scale in (1e-6, 1e6):
        values = (frame["bmi"] * 2 + frame["s 1"]).to_numpy() * scale

        signature = proved(estimator.fit(frame, values), frame).signature

        assert signature.task == "regression"
        assert [spec.name for spec in signature.outputs] == ["prediction"]


@pytest.mark.parametrize(
    "last", [logistic(), HistGradientBoostingClassifier(max_iter=10)], ids=["linear", "trees"]
)
def test_tables_of_numbers_and_strings_take_an_input_a_column(last: Any) -> None:
    frame = mixed()

    signature = proved(make_pipeline(encoder(), last).fit(frame, target(frame)), frame).signature

    assert [(spec.name, spec.datatype, spec.shape) for spec in signature.inputs] == [
        ("age", "FP32", [-1, 1]),
        ("wage", "FP32", [-1, 1]),
        ("work", "BYTES", [-1, 1]),
        ("education-num", "FP32", [-1, 1]),
    ]


def test_an_unseen_string_and_a_missing_number_are_answered() -> None:
    frame = mixed()
    estimator = make_pipeline(encoder(), logistic()).fit(frame, target(frame))
    converted = proved(estimator, frame)
    row = pl.DataFrame({"age": [40], "wage": [None], "work": ["never seen"], "education-num": [9]})

    answer = predict(OnnxEngine(converted.onnx, converted.signature), row)

    assert answer.scores is not None
    assert answer.scores == pytest.approx(estimator.predict_proba(row)[:, 1], abs=1e-4)


def test_strings_alone_convert() -> None:
    frame = mixed().select("work", other=pl.col("work").str.slice(0, 2))
    estimator = make_pipeline(OrdinalEncoder(), DecisionTreeClassifier())

    proved(estimator.fit(frame, target(mixed())), frame)


def test_selection_by_name_and_by_position_works_for_numbers_too() -> None:
    frame = numbers()
    by_name = ColumnTransformer([("scaled", StandardScaler(), ["s 1", "bmi"])], remainder="drop")
    by_position = ColumnTransformer([("scaled", StandardScaler(), [2, 0])], remainder="passthrough")

    for columns in (by_name, by_position):
        signature = proved(make_pipeline(columns, logistic()).fit(frame, target(frame)), frame).signature
        assert signature.columns == COLUMNS


def test_a_model_fitted_on_a_matrix_converts() -> None:
    frame = numbers()

    signature = proved(logistic().fit(frame.to_numpy(), target(frame)), frame).signature

    assert signature.columns == COLUMNS


def test_the_fitted_order_of_columns_counts_not_the_examples() -> None:
    frame = numbers()
    estimator = logistic().fit(frame, target(frame))

    converted = to_onnx(estimator, frame.select(*reversed(COLUMNS), extra=pl.lit(1)).head())

    assert converted.signature.columns == COLUMNS
    assert replay(estimator, converted.onnx, converted.signature, frame.select(reversed(COLUMNS))).ok


@pytest.mark.parametrize(
    ("labels", "classes"),
    [(["no", "yes"], ["no", "yes"]), ([False, True], [0, 1]), ([0.0, 1.0], [0, 1]), ([-1, 7], [-1, 7])],
)
def test_classes_of_any_plain_kind(labels: list[Any], classes: list[Any]) -> None:
    frame = numbers()
    values = np.array(labels)[target(frame)]

    assert proved(logistic().fit(frame, values), frame).signature.classes == classes


def test_the_same_model_gives_the_same_bytes() -> None:
    frame = mixed()
    estimator = make_pipeline(encoder(), logistic()).fit(frame, target(frame))

    assert to_onnx(estimator, frame).onnx == to_onnx(estimator, frame.head(1)).onnx


def test_pandas_tables_are_tables() -> None:
    pandas = pytest.importorskip("pandas")
    frame = mixed()
    table = pandas.DataFrame({column.name: column.to_list() for column in frame})
    estimator = make_pipeline(encoder(), logistic()).fit(table, target(frame))

    converted = to_onnx(estimator, table.head())

    assert replay(estimator, converted.onnx, converted.signature, table).ok


def test_replay_takes_at_most_a_thousand_rows_spread_over_the_table() -> None:
    frame = numbers(2500)
    estimator = logistic().fit(frame, target(frame))
    converted = to_onnx(estimator, frame)

    assert replay(estimator, converted.onnx, converted.signature, frame).rows == 834


def test_replay_tells_another_model() -> None:
    frame = numbers()
    wanted = logistic().fit(frame, target(frame))
    other = to_onnx(logistic().fit(frame, 1 - target(frame)), frame)

    parity = replay(wanted, other.onnx, other.signature, frame)

    assert not parity.ok
    assert parity.flips > 250
    assert "have another answer" in parity.reason


def test_replay_tells_another_regressor_and_a_value_that_is_none() -> None:
    frame = numbers()
    wanted = LinearRegression().fit(frame, frame["bmi"])
    other = to_onnx(LinearRegression().fit(frame, frame["bmi"] * 1.01), frame)
    assert not replay(wanted, other.onnx, other.signature, frame).ok

    endless = LinearRegression().fit(frame, frame["bmi"])
    endless.intercept_ = float("nan")
    parity = replay(endless, other.onnx, other.signature, frame)
    assert (parity.ok, parity.reason) == (False, "A prediction is not a number")


def test_categorical_trees_are_refused_with_what_to_use() -> None:
    frame = mixed().select("age", "education-num")
    estimator = HistGradientBoostingClassifier(categorical_features=[1], max_iter=5).fit(
        frame, target(mixed())
    )

    with pytest.raises(RefusedError, match="OrdinalEncoder"):
        to_onnx(make_pipeline(FunctionTransformer(), estimator).fit(frame, target(mixed())), frame)


def test_what_has_no_converter_is_refused_with_the_nearest_that_has() -> None:
    frame = numbers()
    from sklearn.neighbors import NearestCentroid

    with pytest.raises(
        RefusedError, match=r"NearestCentroid has no conversion.*The nearest that has one is Nea"
    ):
        to_onnx(NearestCentroid().fit(frame, target(frame)), frame)


def test_a_converters_own_refusal_is_passed_on() -> None:
    frame = numbers()
    estimator = make_pipeline(FunctionTransformer(np.log1p), logistic())
    estimator.fit(frame.select(pl.all().abs()), target(frame))

    with pytest.raises(RefusedError, match="no conversion to ONNX"):
        to_onnx(estimator, frame)


@pytest.mark.parametrize(
    "estimator", [IsolationForest(n_estimators=5), GaussianMixture()], ids=lambda e: type(e).__name__
)
def test_what_neither_classifies_nor_regresses_is_refused(estimator: Any) -> None:
    with pytest.raises(RefusedError, match="neither classifies nor regresses"):
        to_onnx(estimator.fit(numbers()), numbers())


def test_a_probability_that_is_none_is_told() -> None:
    frame = numbers()
    estimator = logistic().fit(frame, target(frame))
    converted = to_onnx(estimator, frame)
    estimator.intercept_ = np.array([np.nan])

    parity = replay(estimator, converted.onnx, converted.signature, frame)

    assert (parity.ok, parity.reason) == (False, "A probability is not a number")


def test_histogram_trees_answer_the_same_for_doubles() -> None:
    frame = pl.DataFrame(np.random.default_rng(3).random((2000, 4)), schema=COLUMNS)
    estimator = HistGradientBoostingRegressor(max_iter=20).fit(frame, frame["bmi"])
    converted = to_onnx(estimator, frame)

    assert replay(estimator, converted.onnx, converted.signature, frame).ok


def test_trees_behind_a_scaler_are_told_to_leave_it_out() -> None:
    frame = pl.DataFrame(np.random.default_rng(3).random((1000, 4)), schema=COLUMNS)
    estimator = make_pipeline(StandardScaler(), HistGradientBoostingRegressor(max_iter=20))
    converted = to_onnx(estimator.fit(frame, frame["bmi"]), frame)

    parity = replay(estimator, converted.onnx, converted.signature, frame)

    assert not parity.ok
    assert "trees need no scaling" in parity.reason


def test_a_tie_may_fall_either_way() -> None:
    frame = numbers()
    third = (frame[:, 0].rank().to_numpy() / 101).astype(np.int64)
    estimator = KNeighborsClassifier(2).fit(frame, np.array(["c", "a", "b"])[third])
    converted = to_onnx(estimator, frame)
    truth = np.asarray(estimator.predict_proba(frame))
    even = np.isclose(np.sort(truth)[:, -1], 0.5)
    assert even.sum() > 5

    later = estimator.classes_[2 - truth[:, ::-1].argmax(axis=1)]
    estimator.predict = lambda given: later
    parity = replay(estimator, converted.onnx, converted.signature, frame)

    assert (parity.ok, parity.flips) == (True, 0)


def test_one_class_is_refused() -> None:
    frame = numbers()

    with pytest.raises(RefusedError, match="has one class: 0"):
        to_onnx(RandomForestClassifier(3).fit(frame, np.zeros(frame.height, dtype=int)), frame)


def test_several_targets_are_refused() -> None:
    frame = numbers()
    two = np.stack([target(frame), 1 - target(frame)], axis=1)

    with pytest.raises(RefusedError, match="each target"):
        to_onnx(RandomForestClassifier(3).fit(frame, two), frame)
    with pytest.raises(RefusedError, match="each target"):
        to_onnx(LinearRegression().fit(frame, two), frame)


def test_fractions_as_classes_are_refused() -> None:
    frame = numbers()
    estimator = logistic().fit(frame, target(frame))
    estimator.classes_ = np.array([0.5, 1.5])

    with pytest.raises(RefusedError, match="fractions"):
        to_onnx(estimator, frame)


def test_null_strings_and_dates_are_refused_with_the_step_that_cures() -> None:
    frame = mixed()
    estimator = make_pipeline(encoder(), logistic()).fit(frame, target(frame))
    nulls = frame.with_columns(work=pl.lit(None, pl.String))
    dates = frame.with_columns(work=pl.lit("2026-01-01").str.to_date())

    with pytest.raises(RefusedError, match="fill_null"):
        to_onnx(estimator, nulls)
    with pytest.raises(RefusedError, match="Date"):
        to_onnx(estimator, dates)


def test_a_column_called_as_an_output_is_refused() -> None:
    frame = mixed().rename({"work": "label"})
    columns = ColumnTransformer([("texts", OneHotEncoder(), ["label"])])

    with pytest.raises(RefusedError, match="Rename the column"):
        to_onnx(make_pipeline(columns, logistic()).fit(frame, target(frame)), frame)


@pytest.mark.parametrize(
    ("estimator", "example", "words"),
    [
        (LogisticRegression(), numbers(), "not fitted"),
        (logistic().fit(numbers(), target(numbers())), numbers().drop("bmi"), "Missing: bmi"),
        (logistic().fit(numbers().to_numpy(), target(numbers())), numbers().drop("bmi"), "4 columns"),
        (logistic().fit(numbers(), target(numbers())), numbers().clear(), "no rows"),
        (logistic().fit(numbers(), target(numbers())), [[1.0] * 4], "not a table"),
    ],
)
def test_a_wrong_example_is_invalid(estimator: Any, example: Any, words: str) -> None:
    with pytest.raises(InvalidError, match=words):
        to_onnx(estimator, example)


def test_what_is_no_estimator_is_refused() -> None:
    with pytest.raises(RefusedError, match="not a scikit-learn estimator"):
        to_onnx("a pickle", numbers())


def test_a_converted_file_comes_back_through_the_other_door() -> None:
    frame = mixed()
    estimator = make_pipeline(encoder(), logistic()).fit(frame, target(frame))
    converted = to_onnx(estimator, frame)

    again = from_onnx(converted.onnx, frame)

    assert again.signature == converted.signature
    assert replay(estimator, again.onnx, again.signature, frame).ok
