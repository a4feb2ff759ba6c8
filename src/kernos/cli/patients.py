"""The demo's client: patients who arrive one by one at the service, and labels that come back later. Standard library only."""

from __future__ import annotations

import http.client
import json
import random
import threading
from collections import deque
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

Row = dict[str, float]
Shift = Callable[[Row, random.Random], Row]
LABEL_LAG = 40
"""A label arrives this many patients after its prediction."""
FEATURES = ("age", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")


def stationary(row: Row, chance: random.Random) -> Row:
    """Patients as they were when the data was collected."""
    return row


def older_and_heavier(row: Row, chance: random.Random) -> Row:
    """The documented shift: every patient is 12 years older, 6 kg/m2 heavier and has 10 mmHg more; the outcome stays."""
    return {**row, "age": row["age"] + 12, "bmi": row["bmi"] + 6, "bp": row["bp"] + 10}


def some_very_old(row: Row, chance: random.Random) -> Row:
    """One patient in four is between 100 and 110."""
    shifted = older_and_heavier(row, chance)
    return {**shifted, "age": float(chance.randint(100, 110))} if chance.random() < 0.25 else shifted


class Patients:
    """Asks the service in a thread of its own; every answer but 200 counts as a failed request."""

    def __init__(self, url: str, token: str, rows: list[Row], *, per_s: float) -> None:
        """`url` is the plane's, `rows` are whole rows with `sex` and `progressed`."""
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._rows = rows
        self._round: list[Row] = []
        self._pause_s = 1.0 / per_s
        self._random = random.Random(20)  # noqa: S311 - patients, not secrets
        self._waiting: deque[tuple[str, Row]] = deque()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="patients")
        self.shift: Shift = stationary
        self.requests = 0
        self.failed = 0
        self.last_failure = ""
        self.last_prediction = ""
        self.by_version: dict[str, int] = {}

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()
        self._connection.close()

    def burst(self, count: int, told: Callable[[int], None]) -> None:
        """`count` patients as fast as they are answered."""
        for done in range(count):
            self._patient()
            if done % 100 == 99:
                told(done + 1)

    def _run(self) -> None:
        while not self._ending.wait(self._pause_s):
            self._patient()

    def _patient(self) -> None:
        row = self.shift(self._next_row(), self._random)
        tensors = [
            {"name": name, "shape": [1, 1], "datatype": "FP32", "data": [row[name]]} for name in FEATURES
        ]
        self.requests += 1
        answer = self._post("/v2/models/diabetes/infer", {"inputs": tensors})
        if answer is None:
            self.failed += 1
            return
        self.last_prediction = answer["parameters"]["prediction_id"]
        version = answer["model_version"]
        self.by_version[version] = self.by_version.get(version, 0) + 1
        self._waiting.append((self.last_prediction, row))
        if len(self._waiting) >= 2 * LABEL_LAG:
            self._label()

    def _next_row(self) -> Row:
        """Each patient once, in random order, then all again."""
        if not self._round:
            self._round = self._random.sample(self._rows, len(self._rows))
        return dict(self._round.pop())

    def _label(self) -> None:
        """Send what has become known meanwhile: the outcome, and the column which the model never sees."""
        known = [self._waiting.popleft() for _ in range(LABEL_LAG)]
        items = [
            {"id": prediction, "values": {"progressed": int(row["progressed"]), "sex": int(row["sex"])}}
            for prediction, row in known
        ]
        self._post("/v2/feedback", {"items": items})

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        try:
            self._connection.request("POST", path, json.dumps(body), self._headers)
            response = self._connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            self.last_failure = f"{type(error).__name__}: {error}"
            return None
        if response.status not in {200, 202}:
            self.last_failure = f"{response.status}: {text[:200]!r}"
            return None
        return dict(json.loads(text))
