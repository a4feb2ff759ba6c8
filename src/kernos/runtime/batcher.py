"""How many rows run together, and where: learned from measured runs, without a timer.

The engine takes what is queued when it is free, up to a number of rows beyond which a row no longer comes
cheaper. A model whose runs are short runs on the event loop: handing a batch to a thread costs more than
such a run. Pure: costs are facts that are fed in.
"""

from __future__ import annotations

from kernos.base.errors import InvalidError

MAX_ROWS = 1024
INLINE_S = 300e-6
"""Above this a run belongs in a thread: the hand-off, about 10 µs a request, is then small beside it."""
_BACK_S = 200e-6
"""Below this it comes back to the loop: the gap keeps a model on the border from changing with every run."""
_BACK_RUNS = 32
_SLOW_S = 10 * INLINE_S
"""One run as slow as this leaves the loop at once."""
_PATIENCE_S = 20e-3
"""A batch is not grown beyond this time: the first row in it would wait for the others."""
_RISE = 1.1
"""Twice the rows must give this factor in rows a second to be worth the longer wait …"""
_FALL = 1.03
"""… and are given up below this one: between the two, noise changes nothing."""
_SURE = 3
"""Runs of a size before its cost counts as known."""
_FORGET_RUNS = 1024
"""After so many runs at the limit a larger batch is tried again: machines and models change."""


class _Cost:
    """Seconds and rows of the runs whose size lies between two powers of two."""

    __slots__ = ("rows", "runs", "seconds")

    def __init__(self) -> None:
        self.runs = 0
        self.rows = 0.0
        self.seconds = 0.0

    def add(self, rows: int, seconds: float) -> None:
        """Follow falls quickly and rises slowly: a run that was interrupted says little of the model."""
        self.runs += 1
        if self.runs > 1:
            seconds = min(seconds, 2 * self.seconds)
        weight = 1.0 if self.runs == 1 else 0.3 if seconds < self.seconds else 0.05
        self.seconds += weight * (seconds - self.seconds)
        self.rows += weight * (rows - self.rows)

    @property
    def rows_per_s(self) -> float:
        return self.rows / self.seconds


class Batcher:
    """Decides for one model version. `limit_rows` and `is_inline` hold until the next `measured`."""

    def __init__(self) -> None:
        self.limit_rows = 8
        self.is_inline = True
        self._costs = [_Cost() for _ in range(MAX_ROWS.bit_length())]
        self._typical_s = 0.0
        self._short_runs = 0
        self._at_limit = 0

    def measured(self, rows: int, seconds: float) -> None:
        """One run of `rows` rows took `seconds` of wall time."""
        if rows < 1:
            raise InvalidError("A run has at least one row.")
        if rows > MAX_ROWS:
            return  # one large request: it says nothing of batches, and the next is likely small
        size = (rows - 1).bit_length()
        self._costs[size].add(rows, max(seconds, 1e-9))
        self._place(seconds)
        if size == self._top:
            self._resize()

    def expected_s(self, rows: int) -> float:
        """What a run of `rows` rows will take, as far as is known; 0 where nothing is."""
        size = (rows - 1).bit_length()
        known = [(abs(k - size), k) for k, cost in enumerate(self._costs) if cost.runs]
        if not known:
            return 0.0
        cost = self._costs[min(known)[1]]
        return cost.seconds * max(1.0, rows / cost.rows)

    def suits_loop(self, rows: int) -> bool:
        """A batch of `rows` rows may run on the event loop now."""
        return self.is_inline and (rows <= self.limit_rows or self.expected_s(rows) < _SLOW_S)

    def check(self) -> None:
        assert 1 <= self.limit_rows <= MAX_ROWS
        assert self.limit_rows & (self.limit_rows - 1) == 0
        assert all(cost.runs == 0 or cost.seconds > 0 for cost in self._costs)

    @property
    def _top(self) -> int:
        return self.limit_rows.bit_length() - 1

    def _place(self, seconds: float) -> None:
        rate = 0.3 if seconds < self._typical_s else 0.1
        self._typical_s += (rate if self._typical_s else 1.0) * (min(seconds, 2 * INLINE_S) - self._typical_s)
        if self.is_inline:
            if seconds >= _SLOW_S or self._typical_s > INLINE_S:
                self.is_inline = False
                self._short_runs = 0
            return
        self._short_runs = self._short_runs + 1 if self._typical_s < _BACK_S else 0
        self.is_inline = self._short_runs >= _BACK_RUNS

    def _resize(self) -> None:
        """Climb while twice the rows come cheaper by the row and soon enough; step down where they do not."""
        top = self._top
        here = self._costs[top]
        if here.runs < _SURE:
            return
        below = self._costs[top - 1] if top else None
        pays = below is None or below.runs < _SURE or here.rows_per_s >= _FALL * below.rows_per_s
        if top and (here.seconds > _PATIENCE_S or not pays):
            self.limit_rows //= 2
            self._at_limit = 0
        elif 2 * here.seconds <= _PATIENCE_S and self.limit_rows < MAX_ROWS:
            self._grow(top)

    def _grow(self, top: int) -> None:
        above, here = self._costs[top + 1], self._costs[top]
        self._at_limit += 1
        if above.runs < _SURE or above.rows_per_s >= _RISE * here.rows_per_s:
            self.limit_rows *= 2
            self._at_limit = 0
        elif self._at_limit >= _FORGET_RUNS:
            self._costs[top + 1 :] = [_Cost() for _ in self._costs[top + 1 :]]
            self._at_limit = 0
