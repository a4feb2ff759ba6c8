"""The demo's patients: every answer but a good one counts, labels come late and once."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from kernos.cli.patients import (
    FEATURES,
    LABEL_LAG,
    Patients,
    Row,
    older_and_heavier,
    some_very_old,
    stationary,
)

ROWS = [dict.fromkeys(FEATURES, float(n)) | {"sex": 1.0, "progressed": float(n % 2)} for n in range(7)]


class Service:
    """Answers predictions and takes labels; the first `fails` predictions are answered 500."""

    def __init__(self) -> None:
        self.fails = 0
        self.bodies: list[Any] = []
        self.labels: list[Any] = []
        self.tokens: set[str] = set()
        self.changed = threading.Condition()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, answer = service.answer(self.path, self.headers["Authorization"], body)
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, path: str, token: str, body: Any) -> tuple[int, Any]:
        with self.changed:
            self.tokens.add(token)
            self.changed.notify_all()
            if path == "/v2/feedback":
                self.labels += body["items"]
                return 202, {"accepted": len(body["items"])}
            assert path == "/v2/models/diabetes/infer"
            self.bodies.append(body)
            if len(self.bodies) <= self.fails:
                return 500, {"code": "failed"}
            number = len(self.bodies)
            return 200, {"model_version": "1", "parameters": {"prediction_id": f"p-{number}"}}


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.server.shutdown()
    service.thread.join()
    service.server.server_close()


@pytest.fixture
def patients(service: Service) -> Iterator[Patients]:
    patients = Patients(service.url, "secret", ROWS, per_s=1000.0)
    yield patients
    patients.stop()


def test_a_burst_asks_with_what_the_model_reads(service: Service, patients: Patients) -> None:
    told: list[int] = []

    patients.burst(200, told.append)

    assert (patients.requests, patients.failed, told) == (200, 0, [100, 200])
    assert patients.by_version == {"1": 200}
    assert patients.last_prediction == "p-200"
    assert service.tokens == {"Bearer secret"}
    for body in service.bodies:
        assert [tensor["name"] for tensor in body["inputs"]] == list(FEATURES)
        assert all(tensor["shape"] == [1, 1] for tensor in body["inputs"])


def test_labels_come_late_once_each_and_with_the_column_the_model_does_not_see(
    service: Service, patients: Patients
) -> None:
    patients.burst(2 * LABEL_LAG - 1, lambda done: None)
    assert service.labels == []

    patients.burst(LABEL_LAG + 1, lambda done: None)

    ids = [label["id"] for label in service.labels]
    assert ids == [f"p-{number}" for number in range(1, 2 * LABEL_LAG + 1)]
    assert all(set(label["values"]) == {"progressed", "sex"} for label in service.labels)


def test_every_answer_but_a_good_one_is_a_failure(service: Service, patients: Patients) -> None:
    service.fails = 3

    patients.burst(10, lambda done: None)

    assert (patients.requests, patients.failed) == (10, 3)
    assert patients.last_failure.startswith("500")


def test_nobody_there_is_a_failure_too(service: Service) -> None:
    patients = Patients("http://127.0.0.1:1", "t", ROWS, per_s=10.0)

    patients.burst(2, lambda done: None)
    patients.stop()

    assert (patients.requests, patients.failed) == (2, 2)
    assert "refused" in patients.last_failure.lower()


def test_in_the_background_they_keep_coming_until_stopped(service: Service, patients: Patients) -> None:
    patients.start()
    with service.changed:
        assert service.changed.wait_for(lambda: len(service.bodies) >= 5, 10)
    patients.stop()

    seen = len(service.bodies)
    assert patients.requests == seen
    assert patients.failed == 0


@pytest.mark.parametrize(
    ("shift", "changes"),
    [(stationary, set()), (older_and_heavier, {"age", "bmi", "bp"})],
)
def test_a_shift_changes_what_it_says_and_leaves_the_row_alone(
    shift: Callable[[Row, random.Random], Row], changes: set[str]
) -> None:
    row = {"age": 50.0, "sex": 1.0, "bmi": 25.0, "bp": 90.0, "progressed": 1.0}
    before = dict(row)

    shifted = shift(row, random.Random(1))

    assert {name for name in row if shifted[name] != row[name]} == changes
    assert row == before


def test_one_patient_in_four_is_very_old() -> None:
    chance = random.Random(2)
    ages = [some_very_old({"age": 50.0, "bmi": 25.0, "bp": 90.0}, chance)["age"] for _ in range(1000)]

    old = [age for age in ages if age >= 100]
    assert 200 < len(old) < 300
    assert set(ages) - set(old) == {62.0}
    assert max(old) <= 110


def test_the_shift_in_force_is_the_one_that_is_sent(service: Service, patients: Patients) -> None:
    patients.shift = older_and_heavier
    patients.burst(len(ROWS) * 20, lambda done: None)

    ages = {
        tensor["data"][0] for body in service.bodies for tensor in body["inputs"] if tensor["name"] == "age"
    }
    assert ages == {row["age"] + 12 for row in ROWS}
