"""Look at what was served since last time: log into Parquet, labels joined, detectors fed, figures told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from kernos.base.ids import Digest
from kernos.data.dataset import load, scan
from kernos.data.manifest import DatasetManifest
from kernos.kernel.run import Task
from kernos.loop.datasets import described, extend
from kernos.loop.room import Room
from kernos.models.package import open_package
from kernos.monitor.features import Reference
from kernos.monitor.watch import Watch
from kernos.security.keys import VerifyKey
from kernos.serve.log import Feedback, Prediction, read_segment

PENDING_ROWS = 50_000
"""How many of the newest predictions a late label may still find."""


def run(task: Task) -> dict[str, Any]:
    room = Room(task)
    payload = room.payload
    predictions, feedback = _read_log([Path(path) for path in payload["segments"]], payload["app"])
    logged, pending = _log_predictions(room, predictions)
    labelled, newly = _join_labels(room, feedback, pending, payload["target"])
    watch = _watch(room)
    columns = payload["columns"]
    if predictions is not None:
        watch.feed(predictions.select(columns))
    if newly is not None and payload["expected_accuracy"] is not None:
        mine = newly.filter((pl.col("version") == payload["version"]) & pl.col("correct").is_not_null())
        watch.feed_labels(
            mine["correct"].to_numpy(), payload["expected_accuracy"], held_out_rows=payload["held_out_rows"]
        )
    return {
        "segments": [Path(path).name for path in payload["segments"]],
        "predictions": logged,
        "labelled": labelled,
        "state": room.blobs.put(watch.state()),
        "figures": watch.report(),
        "rows": 0 if predictions is None else predictions.height,
        "labels": 0 if newly is None else newly.height,
    }


def _read_log(segments: list[Path], app: str) -> tuple[pl.DataFrame | None, pl.DataFrame | None]:
    """The app's predictions and feedback in log order, one line a row."""
    predictions: list[pl.DataFrame] = []
    feedback: list[dict[str, Any]] = []
    for segment in segments:
        for record in read_segment(segment):
            match record:
                case Prediction(app=named) if named == app:
                    predictions.append(_prediction_rows(record))
                case Feedback():
                    feedback.append({"prediction_id": _row_id(record.id), **record.values})
                case Prediction():
                    pass
    frame = pl.concat(predictions, how="diagonal_relaxed") if predictions else None
    return frame, pl.DataFrame(feedback, infer_schema_length=None) if feedback else None


def _prediction_rows(record: Prediction) -> pl.DataFrame:
    rows = len(next(iter(record.inputs.values())))
    outputs = {f"_{name}": values for name, values in record.outputs.items()}
    frame = pl.DataFrame({**record.inputs, **outputs})
    return frame.with_columns(
        pl.Series("prediction_id", [f"{record.id}:{row}" for row in range(rows)]),
        pl.lit(record.at_ms).alias("at_ms"),
        pl.lit(record.version).alias("version"),
        pl.lit(record.principal).alias("principal"),
        pl.lit(record.latency_ms).alias("latency_ms"),
        pl.lit(record.rescued).alias("rescued"),
    )


def _row_id(text: str) -> str:
    """A prediction of one row may be named without its row."""
    return text if ":" in text else f"{text}:0"


def _log_predictions(
    room: Room, new: pl.DataFrame | None
) -> tuple[dict[str, Any] | None, pl.DataFrame | None]:
    """The prediction log as the next dataset version, and its newest rows."""
    before = _manifest(room, "predictions")
    if new is None:
        return None, None if before is None else scan(before, room.blobs).tail(PENDING_ROWS).collect()
    after = extend(before, new, room.blobs, room.folder)
    return described(after, room.blobs), scan(after, room.blobs).tail(PENDING_ROWS).collect()


def _join_labels(
    room: Room, feedback: pl.DataFrame | None, pending: pl.DataFrame | None, target: str
) -> tuple[dict[str, Any] | None, pl.DataFrame | None]:
    """The labelled rows as the next dataset version, and those that are new. The first label of a prediction counts."""
    if feedback is None or pending is None or target not in feedback.columns:
        return None, None
    before = _manifest(room, "labelled")
    first = feedback.filter(pl.col(target).is_not_null()).unique(
        "prediction_id", keep="first", maintain_order=True
    )
    if before is not None:
        known = scan(before, room.blobs).select("prediction_id").collect()
        first = first.join(known, on="prediction_id", how="anti")
    clash = [column for column in first.columns if column in pending.columns and column != "prediction_id"]
    joined = pending.join(first.drop(clash), on="prediction_id", how="inner", maintain_order="left")
    if joined.height == 0:
        return None, None
    joined = joined.with_columns(_is_correct(joined, target).alias("correct"))
    return described(extend(before, joined, room.blobs, room.folder), room.blobs), joined


def _is_correct(joined: pl.DataFrame, target: str) -> pl.Series:
    """Whether the predicted label is the true one; null where the model gives no label."""
    if "_label" not in joined.columns:
        return pl.Series("correct", [None] * joined.height, dtype=pl.Boolean)
    predicted, true = joined["_label"], joined[target]
    if predicted.dtype.is_numeric() and true.dtype.is_numeric():
        return predicted.cast(pl.Float64) == true.cast(pl.Float64)
    return predicted.cast(pl.String) == true.cast(pl.String)


def _watch(room: Room) -> Watch:
    trusted = [VerifyKey.from_pem(text) for text in room.payload["trusted_keys"]]
    package = open_package(room.blobs.path(Digest(room.payload["package"])), trusted)
    reference = msgspec.json.decode(package.read("reference.json"), type=Reference)
    state = room.payload["state"]
    if state is None:
        return Watch(reference, arl=room.payload["arl"])
    return Watch.from_state(reference, room.blobs.get(Digest(state)))


def _manifest(room: Room, name: str) -> DatasetManifest | None:
    digest = room.payload[name]
    return None if digest is None else load(Digest(digest), room.blobs)
