"""Finds the moment a stream changes, with a proved bound on false alarms and nothing to tune.

Each input is a value in [0, 1] whose mean, while nothing has changed, is at most a known bound. A bet of
`l` on it multiplies wealth by `1 + l (x - bound)`: on average by no more than 1 before a change, and ever
upwards after it. The Shiryaev-Roberts sum `M <- (M + 1)(1 + l (x - bound))` plays that bet from every
possible start at once: it is an e-detector (Shin, Ramdas, Rinaldo, "E-detectors", 2022, arXiv:2203.03532),
`M - rows` is a supermartingale, and so is the plain average of many of them, whatever their dependence.
Stopping when the average reaches `arl` therefore takes at least `arl` rows on average if nothing has
changed. Bets of several sizes are averaged because the size of the change is not known.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_BETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.9)
"""As shares of the largest bet that cannot lose everything in one row."""


class DetectorState(msgspec.Struct):
    """All that a detector remembers; exact through JSON."""

    rows: int
    alarm_row: int | None
    value: float
    wealth: list[list[float]]
    """M per input and bet."""


class EDetector:
    """Watches inputs together. Row by row, so how a stream is cut into batches changes nothing."""

    def __init__(self, bounds: Floats, arl: float, state: DetectorState | None = None) -> None:
        """`bounds`: per input, in (0, 1), the largest mean that counts as no change. `arl`: rows."""
        self.arl = arl
        self._bounds = bounds
        self._bets = np.asarray(_BETS) / bounds[:, None]
        self._wealth = np.zeros(self._bets.shape)
        self.rows = 0
        self.value = 0.0
        """The e-detector: an alarm when it reaches `arl`."""
        self.alarm_row: int | None = None
        """The row (from 1) that raised the alarm. Nothing is learned after it."""
        if state is not None:
            self.rows, self.value, self.alarm_row = state.rows, state.value, state.alarm_row
            self._wealth = np.asarray(state.wealth, np.float64).reshape(self._bets.shape)

    def feed(self, values: Floats) -> None:
        """`values`: [rows, inputs] in [0, 1]; NaN where a row says nothing of an input."""
        if self.alarm_row is None and len(self._bounds):
            gains = np.nan_to_num(values - self._bounds, nan=0.0)
            for at, gain in enumerate(gains, 1):
                self._wealth += 1.0
                self._wealth *= 1.0 + self._bets * gain[:, None]
                self.value = float(self._wealth.mean())
                if self.value >= self.arl:
                    self.alarm_row = self.rows + at
                    break
        self.rows += len(values)

    def leader(self) -> int:
        """The input that has won most."""
        return int(self._wealth.mean(axis=1).argmax())

    def state(self) -> DetectorState:
        wealth = [row.tolist() for row in self._wealth]
        return DetectorState(self.rows, self.alarm_row, self.value, wealth)
