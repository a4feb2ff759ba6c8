"""Look at what was served since last time: log into Parquet, labels joined, detectors fed, figures told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from kernos.base.errors import CorruptError
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
from kernos.serve.log import Prediction, read_feedback, read_segment

PENDING_ROWS = 50_000
"""How many of the newest predictions a late label may still find."""


def run(task: Task) -> dict[str, Any]:
    room = Room(task)
    payload = room.payload
    log = _read_log([Path(path) for path in payload["segments"]], payload["app"])
    predictions = log.predictions
    logged, pending = _log_predictions(room, predictions)
    labelled, newly = _join_labels(room, log.feedback, pending, payload["target"])
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
        "damaged": log.damaged,
        "rows": 0 if predictions is None else predictions.height,
        "labels": 0 if newly is None else newly.height,
    }


@dataclass(frozen=True, slots=True)
class _Log:
    predictions: pl.DataFrame | None
    feedback: pl.DataFrame | None
    damaged: list[str]
    """Segments that could not be read, with the reason: set aside, so that the others are not held up."""


def _read_log(segments: list[Path], app: str) -> _Log:
    """The app's predictions and all feedback in log order, one line a row."""
    predictions: dict[str, list[Any]] = {}
    feedback: list[dict[str, Any]] = []
    damaged: list[str] = []
    for segment in segments:
        try:
            for prediction in read_segment(segment):
                if prediction.app == app:
                    _add_rows(predictions, prediction)
            feedback += [
                {**told.values, "prediction_id": _row_id(told.id)} for told in read_feedback(segment)
            ]
        except CorruptError as error:
            damaged.append(error.message)
    return _Log(
        pl.DataFrame(predictions, strict=False) if predictions else None,
        pl.DataFrame(feedback, infer_schema_length=None) if feedback else None,
        damaged,
    )


def _add_rows(columns: dict[str, list[Any]], record: Prediction) -> None:
    """Outputs are told apart from inputs by `_`; an output of several values a row becomes several columns."""
    rows = len(next(iter(record.inputs.values())))
    values: dict[str, Sequence[Any]] = dict(record.inputs)
    for name, output in record.outputs.items():
        if output and isinstance(output[0], list):
            values |= {f"_{name}_{place}": column for place, column in enumerate(zip(*output, strict=True))}
        else:
            values[f"_{name}"] = output
    values["prediction_id"] = [f"{record.id}:{row}" for row in range(rows)]
    for name in ("at_ms", "version", "principal", "latency_ms", "rescued"):
        values[name] = [getattr(record, name)] * rows
    before = len(columns["prediction_id"]) if columns else 0
    for name in columns.keys() | values.keys():
        columns.setdefault(name, [None] * before).extend(values.get(name) or [None] * rows)


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
