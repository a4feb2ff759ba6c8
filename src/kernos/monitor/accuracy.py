"""How often the live model is right, as labels arrive, and whether it errs more than was promised."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from kernos.base.errors import InvalidError
from kernos.monitor.bounds import mean_above
from kernos.monitor.edetector import DetectorState, EDetector
from kernos.monitor.features import MISS


class Accuracy(msgspec.Struct, frozen=True):
    """The fields of the API's AccuracyView."""

    value: float | None
    low: float | None
    high: float | None
    """95 % Wilson interval."""
    rows: int


class AccuracyState(msgspec.Struct):
    rows: int = 0
    correct: int = 0
    detector: DetectorState | None = None


class AccuracyWatch:
    """Counts, and an e-detector on the stream of errors."""

    def __init__(self, arl: float, state: AccuracyState | None = None) -> None:
        self._arl = arl
        self._state = state or AccuracyState()

    def feed(self, correct: npt.NDArray[np.bool_], expected_accuracy: float, *, held_out_rows: int) -> None:
        """Whether each newly labelled prediction was right, in the order of prediction.

        `expected_accuracy` was measured on `held_out_rows`; as much worse as those rows leave plausible
        (Chernoff) is still expected. Both stay the same through a version's life.
        """
        if not 0 <= expected_accuracy <= 1:
            raise InvalidError(
                f"An accuracy of {expected_accuracy} is none.", hint="Give a share from 0 to 1."
            )
        bound = mean_above(1 - expected_accuracy, held_out_rows, MISS)
        detector = EDetector(np.asarray([bound]), self._arl, self._state.detector)
        detector.feed((~correct).astype(np.float64)[:, None])
        self._state = AccuracyState(
            self._state.rows + len(correct), self._state.correct + int(correct.sum()), detector.state()
        )

    @property
    def alarm_row(self) -> int | None:
        """The labelled row (from 1) by which errors had become too many."""
        return self._state.detector.alarm_row if self._state.detector else None

    def report(self) -> Accuracy:
        rows, correct = self._state.rows, self._state.correct
        if not rows:
            return Accuracy(None, None, None, 0)
        return Accuracy(correct / rows, *wilson(correct, rows), rows)

    def state(self) -> AccuracyState:
        return self._state


def wilson(hits: int, rows: int) -> tuple[float, float]:
    """95 % score interval of a share (Wilson, JASA 1927). `rows` > 0."""
    z = 1.959963984540054
    share = hits / rows
    middle = share + z * z / (2 * rows)
    reach = z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    scale = 1 + z * z / rows
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)
