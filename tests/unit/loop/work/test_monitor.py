"""From log segments to Parquet, joined labels and the detectors' word."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from kernos.base.clock import SystemClock
from kernos.base.ids import Digest
from kernos.data.dataset import load, scan
from kernos.loop.work import monitor
from kernos.models.package import open_package
from kernos.runtime.engine import OnnxEngine
from kernos.runtime.feedback import FeedbackItem
from kernos.runtime.lane import Loaded
from kernos.runtime.oip import Codec
from kernos.runtime.plane import Answered
from kernos.security.keys import VerifyKey
from kernos.serve.log import PredictionLog

if TYPE_CHECKING:
    from tests.unit.loop.work.conftest import Bench

BATCH = 100


class Served:
    """A package that answered; each `look` takes in what was written since the last one."""

    def __init__(self, bench: Bench, rows: pl.DataFrame) -> None:
        self.bench = bench
        self.rows = rows
        bench.package()
        self.package = str(bench.results["package"]["digest"])
        path = bench.blobs.path(Digest(self.package))
        opened = open_package(path, [VerifyKey.from_pem(bench.key.public_pem)])
        self.signature = opened.manifest.signature
        self.engine = OnnxEngine(opened.read("model.onnx"), self.signature)
        self.folder = bench.workshop.home / "log"
        self.boots = 0
        self.last: dict[str, Any] = {}
        self.payload: dict[str, Any] = {
            "app": "diabetes", "version": 3, "package": self.package, "columns": self.signature.columns,
            "target": "progressed", "expected_accuracy": 0.75, "held_out_rows": 110, "arl": 10_000.0, "done": [],
            "state": None, "predictions": None, "labelled": None, "trusted_keys": [bench.key.public_pem],
        }  # fmt: skip

    def write(
        self, rows: pl.DataFrame, labels: dict[int, dict[str, Any]] | None = None, *, app: str = "diabetes", version: int = 3
    ) -> str:  # fmt: skip
        """Predictions of these rows in requests of `BATCH`, and labels by row; the boot that names them."""
        self.boots += 1
        boot = f"b{self.boots}"
        log = PredictionLog(self.folder, boot, SystemClock(), flush_s=0.001)
        log.open()
        codec = Codec(app, version, self.signature)
        model = Loaded(app, version, "digest", self.signature, self.engine.run, lambda: None)
        for first in range(0, rows.height, BATCH):
            part = rows.slice(first, BATCH).select(self.signature.columns)
            tensor = {
                "name": "input",
                "shape": [part.height, part.width],
                "datatype": "FP32",
                "data": part.rows(),
            }
            decoded = codec.decode(json.dumps({"inputs": [tensor]}).encode())
            outputs = codec.outputs(self.engine.run(codec.arrays(decoded)), decoded.rows)
            log.record(
                Answered(model, 1000, first // BATCH, [part.height], ["ann"], [0.5], [], decoded, outputs)
            )
        if labels:
            told = threading.Event()
            items = [
                FeedbackItem(f"{boot}-{row // BATCH:x}:{row % BATCH}", values)
                for row, values in labels.items()
            ]
            log.feedback(items, "ann", lambda error: told.set())
            assert told.wait(10)
        log.close()
        return boot

    def look(self, **changes: Any) -> dict[str, Any]:
        segments = sorted(str(path) for path in self.folder.glob("*.seg"))
        task = self.bench.workshop.task({**self.payload, "segments": segments, **changes})
        self.last = monitor.run(task)
        for path in segments:
            Path(path).unlink()
        self.payload["state"] = self.last["state"]
        for name in ("predictions", "labelled"):
            if self.last[name] is not None:
                self.payload[name] = self.last[name]["digest"]
        return self.last

    def table(self, name: str) -> pl.DataFrame:
        return scan(load(Digest(self.payload[name]), self.bench.blobs), self.bench.blobs).collect()


@pytest.fixture
def served(judged: Bench, diabetes: pl.DataFrame) -> Served:
    return Served(judged, diabetes)


def drawn(rows: pl.DataFrame, count: int, seed: int) -> pl.DataFrame:
    return rows[np.random.default_rng(seed).integers(0, rows.height, count)]


def labels_of(rows: pl.DataFrame, places: range) -> dict[int, dict[str, Any]]:
    return {place: {"progressed": rows["progressed"][place], "sex": rows["sex"][place]} for place in places}


def test_predictions_become_rows_with_inputs_outputs_and_who_asked(served: Served) -> None:
    rows = drawn(served.rows, 150, 1)
    boot = served.write(rows)

    result = served.look()

    table = served.table("predictions")
    assert (result["rows"], result["labels"], result["damaged"]) == (150, 0, [])
    assert table["prediction_id"].to_list()[:2] == [f"{boot}-0:0", f"{boot}-0:1"]
    assert table["prediction_id"].to_list()[-1] == f"{boot}-1:49"
    assert np.allclose(table["bmi"], rows["bmi"], rtol=1e-6)
    assert {"_label", "_probabilities_0", "_probabilities_1", "version", "principal", "rescued"} <= set(
        table.columns
    )
    assert set(table["version"]) == {3}
    assert result["segments"] == sorted(result["segments"])
    assert result["figures"]["drift"]["rows"] == 150


def test_labels_are_joined_with_what_was_answered(served: Served) -> None:
    rows = drawn(served.rows, 120, 2)
    served.write(rows, labels_of(rows, range(50)))

    result = served.look()

    labelled = served.table("labelled")
    assert (result["labels"], labelled.height) == (50, 50)
    assert labelled["progressed"].to_list() == rows["progressed"].to_list()[:50]
    assert labelled["sex"].to_list() == rows["sex"].to_list()[:50]
    assert labelled["correct"].to_list() == (labelled["_label"] == labelled["progressed"]).to_list()
    accuracy = result["figures"]["accuracy"]
    assert accuracy["value"] == pytest.approx(labelled["correct"].mean())


def test_late_labels_find_their_predictions_and_the_first_one_counts(served: Served) -> None:
    rows = drawn(served.rows, 60, 3)
    boot = served.write(rows)
    served.look()
    late: dict[str, Any] = {f"{boot}-0:{place}": {"progressed": 1} for place in range(10)}
    served.write(drawn(served.rows, 10, 4))
    log = PredictionLog(served.folder, "late", SystemClock(), flush_s=0.001)
    log.open()
    told = [threading.Event(), threading.Event()]
    log.feedback(
        [FeedbackItem(id_, values) for id_, values in late.items()], "ann", lambda error: told[0].set()
    )
    log.feedback(
        [FeedbackItem(id_, {"progressed": 0}) for id_ in [*late, "nobody-0:0"]],
        "ann",
        lambda error: told[1].set(),
    )
    assert all(event.wait(10) for event in told)
    log.close()

    first = served.look()
    again = served.look()

    assert (first["labels"], again["labels"], again["labelled"]) == (10, 0, None)
    assert served.table("labelled")["progressed"].to_list() == [1] * 10
    assert served.table("predictions").height == 70


def test_the_detectors_go_on_from_where_they_were(served: Served) -> None:
    shifted = served.rows.with_columns(pl.col("bmi") + 6, pl.col("age") + 12)
    served.write(drawn(served.rows, 250, 5))
    before = served.look()["figures"]["drift"]
    served.write(drawn(shifted, 200, 6))
    after = served.look()["figures"]

    assert (before["alarm"], before["rows"]) == (False, 250)
    assert after["alarm"]
    assert 250 < after["drift"]["rows_to_alarm"] <= 450


def test_labels_of_another_version_do_not_count_for_this_one(served: Served) -> None:
    rows = drawn(served.rows, 40, 7)
    served.write(rows, labels_of(rows, range(40)), version=2)

    result = served.look()

    assert result["labels"] == 40
    assert result["figures"]["accuracy"]["rows"] == 0


def test_another_services_predictions_are_not_taken(served: Served) -> None:
    served.write(drawn(served.rows, 40, 8), app="other")

    result = served.look()

    assert (result["rows"], result["predictions"]) == (0, None)
    assert len(result["segments"]) == 1


def test_a_damaged_segment_is_set_aside_and_the_others_are_read(served: Served) -> None:
    served.write(drawn(served.rows, 30, 9))
    (served.folder / "a-damaged.seg").write_bytes(b"this is no segment at all")

    result = served.look()

    assert result["rows"] == 30
    assert len(result["damaged"]) == 1
    assert "a-damaged.seg" in result["damaged"][0]
    assert "a-damaged.seg" in result["segments"]


def test_feedback_without_the_target_is_no_label(served: Served) -> None:
    rows = drawn(served.rows, 20, 10)
    served.write(rows, {0: {"note": "x"}, 1: {"progressed": None}})

    assert served.look()["labelled"] is None


def test_nothing_new_changes_nothing(served: Served) -> None:
    served.write(drawn(served.rows, 30, 11))
    first = served.look()
    again = served.look()

    assert (again["rows"], again["predictions"]) == (0, None)
    assert again["figures"] == first["figures"]
