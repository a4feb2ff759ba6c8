"""Watches one live version: its inputs against the training rows, its errors against the held-out ones.

State is a few hundred kilobytes of JSON however many rows were seen; feeding in other batches, or through a
restart, changes nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from kernos.base import digests
from kernos.base.errors import CorruptError, InvalidError
from kernos.monitor.accuracy import AccuracyState, AccuracyWatch
from kernos.monitor.edetector import DetectorState, EDetector
from kernos.monitor.features import Reference, features, live_values, measure
from kernos.monitor.windows import LEAST_ROWS, ColumnTest, compare_columns

WINDOW_ROWS = 500
"""How many of the newest rows the window tests look at."""


class Report(msgspec.Struct, frozen=True):
    """What goes into the catalog and onto the screen."""

    alarm: bool
    """Inputs have drifted or errors have become too many."""
    drift: dict[str, Any]
    """The fields of the API's DriftView."""
    accuracy: dict[str, Any]
    """The fields of the API's AccuracyView."""
    accuracy_alarm_row: int | None


class _State(msgspec.Struct):
    reference: str
    """Digest of the reference that the numbers belong to."""
    arl: float
    inputs: DetectorState
    accuracy: AccuracyState
    window: dict[str, list[float | str | None]]
    format: int = 1


class Watch:
    """Not thread-safe; one Run at a time feeds it."""

    def __init__(self, reference: Reference, arl: float = 1e5) -> None:
        """`arl`: false alarms of either kind come no sooner than every `arl` rows on average."""
        if not arl >= 1:
            raise InvalidError(f"A bound of {arl} rows between false alarms is none.", hint="Give 1e5, say.")
        self._reference = reference
        self._features = features(reference)
        self._arl = arl
        self._inputs = EDetector(self._bounds(), arl)
        self._accuracy = AccuracyWatch(arl)
        self._window = self._live(pl.DataFrame())

    @classmethod
    def from_state(cls, reference: Reference, state: bytes) -> Watch:
        """The watch that `state` was taken of; CorruptError if it belongs to another reference."""
        try:
            old = msgspec.json.decode(state, type=_State)
        except msgspec.DecodeError as error:
            raise CorruptError(
                f"The watch's state is unreadable: {error}.", hint="Start a new watch."
            ) from error
        if old.reference != digests.of_value(reference) or old.format != 1:
            raise CorruptError("The watch's state belongs to another model.", hint="Start a new watch.")
        watch = cls(reference, old.arl)
        watch._inputs = EDetector(watch._bounds(), old.arl, old.inputs)
        watch._accuracy = AccuracyWatch(old.arl, old.accuracy)
        watch._window = watch._live(pl.DataFrame(old.window, schema=watch._window.schema))
        return watch

    def feed(self, frame: pl.DataFrame) -> None:
        """Model inputs, in the order of prediction. Columns that are missing count as null."""
        self._inputs.feed(measure(self._reference, frame))
        self._window = self._window.vstack(self._live(frame)).tail(WINDOW_ROWS)

    def feed_labels(
        self, correct: npt.NDArray[np.bool_], expected_accuracy: float, *, held_out_rows: int
    ) -> None:
        """See `AccuracyWatch.feed`."""
        self._accuracy.feed(correct, expected_accuracy, held_out_rows=held_out_rows)

    def state(self) -> bytes:
        window = {name: column.to_list() for name, column in self._window.to_dict().items()}
        return digests.canonical(
            _State(
                digests.of_value(self._reference),
                self._arl,
                self._inputs.state(),
                self._accuracy.state(),
                window,
            )
        )

    def report(self) -> dict[str, Any]:
        """`Report` as JSON values."""
        columns = compare_columns(self._reference, self._window)
        drift = {
            "alarm": self._inputs.alarm_row is not None,
            "rows": self._inputs.rows,
            "e_value": self._inputs.value,
            "e_bound": self._arl,
            "rows_to_alarm": self._inputs.alarm_row,
            "columns": columns,
            "note": self._note(columns),
        }
        alarm_row = self._accuracy.alarm_row
        accuracy = msgspec.to_builtins(self._accuracy.report())
        alarm = self._inputs.alarm_row is not None or alarm_row is not None
        report: dict[str, Any] = msgspec.to_builtins(Report(alarm, drift, accuracy, alarm_row))
        return report

    def _note(self, columns: list[ColumnTest]) -> str:
        rows = self._inputs.rows
        if self._inputs.alarm_row is not None:
            leader = self._features[self._inputs.leader()]
            what = f"{leader.column} {leader.what} than in training"
            note = f"Drift found at row {self._inputs.alarm_row}: {what}."
        else:
            note = f"No drift in {rows} rows."
        drifted = [test.column for test in columns if test.drifted]
        if drifted:
            note += f" The last {self._window.height} rows differ in {', '.join(drifted)}."
        if rows < LEAST_ROWS:
            note += f" Column tests start at {LEAST_ROWS} rows."
        if self._accuracy.alarm_row is not None:
            note += f" Errors became too many at labelled row {self._accuracy.alarm_row}."
        return note

    def _bounds(self) -> npt.NDArray[np.float64]:
        return np.asarray([feature.bound for feature in self._features], np.float64)

    def _live(self, frame: pl.DataFrame) -> pl.DataFrame:
        return pl.DataFrame([live_values(column, frame) for column in self._reference.columns])
