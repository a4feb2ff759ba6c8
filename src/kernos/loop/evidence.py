"""What a gate judges on: labels, predictions and groups of the held-out rows. No user code runs here."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernos.govern.evidence import Evidence
from kernos.govern.metrics import measure
from kernos.runtime.engine import OnnxEngine, predict
from kernos.runtime.signature import Signature

OF_REGRESSION = frozenset({"r2", "mae", "rmse"})
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "mae", "rmse"})


def evidence(
    model: bytes, signature: Signature, table: Any, target: str, sensitive: list[str], coverage: float
) -> Evidence:
    """Predict every row of `table` (polars) with the ONNX `model` and set the answers beside the labels."""
    engine = OnnxEngine(model, signature)
    predictions = predict(engine, table.select(signature.columns))
    return Evidence(
        labels=table[target].to_numpy(),
        predicted=predictions.labels,
        scores=predictions.scores,
        groups={column: table[column].to_numpy() for column in sensitive},
        coverage=coverage,
        task="regression" if signature.task == "regression" else "classification",
        classes=signature.classes,
    )


def score(estimator: Any, table: Any, columns: list[str], target: str, metric: str) -> float:
    """The trial's objective on the validation rows; higher is better."""
    features = table.select(columns)
    classes = list(getattr(estimator, "classes_", ()))
    scores = None
    if hasattr(estimator, "predict_proba"):
        probabilities = np.asarray(estimator.predict_proba(features))
        scores = probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities
    found = Evidence(
        labels=table[target].to_numpy(),
        predicted=np.asarray(estimator.predict(features)),
        scores=scores,
        task="classification" if classes else "regression",
        classes=[value.item() if hasattr(value, "item") else value for value in classes],
    )
    if not classes and metric not in OF_REGRESSION:
        metric = "r2"
    value = measure(found, metric).value
    return -value if metric in LOWER_IS_BETTER else value
