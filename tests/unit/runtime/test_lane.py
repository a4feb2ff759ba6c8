"""A revision's queue: every job is answered once, on the loop or from the thread, together or alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping

import numpy as np
import pytest

from kernos.base.clock import ManualClock, SystemClock
from kernos.runtime.lane import QUEUE_ROWS, Loaded, warmed
from kernos.runtime.signature import Signature, TensorSpec
from kernos.testing.wire import TABLE, Bench, bench, broken, infer_body, post, summing

PATH = "/v2/models/m/infer"


@pytest.fixture
def one() -> Iterator[Bench]:
    with bench() as made:
        yield made


class Recorder:
    """A model of `TABLE` that notes its batches, its thread, and fails on rows that begin with 13."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.threads: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.gate.wait(10)
        self.batches.append(len(inputs["input"]))
        self.threads.add(threading.current_thread().name)
        if (inputs["input"][:, 0] == 13).any():
            raise RuntimeError("thirteen")
        return summing(inputs)


def test_requests_of_one_turn_run_together_on_the_loop(one: Bench) -> None:
    model = Recorder()
    one.serve({1: model.run})
    wires = [one.wire() for _ in range(5)]
    for place, wire in enumerate(wires):
        wire.send(post(PATH, infer_body([[place, 0, 0]])))
    one.turn()

    sums = [wire.take()[0].json["outputs"][1]["data"] for wire in wires]
    assert sums == [[0.0], [1.0], [2.0], [3.0], [4.0]]
    assert model.batches == [5]
    assert model.threads == {threading.current_thread().name}


def test_a_costly_model_runs_in_one_thread_of_its_own(one: Bench) -> None:
    model = Recorder()
    one.serve({1: model.run}, is_threaded=True)
    model.gate.clear()
    wires = [one.wire() for _ in range(20)]
    for wire in wires:
        wire.send(post(PATH, infer_body()))
    one.turn()
    assert [wire.take() for wire in wires] == [[]] * 20, "the loop does not wait for the thread"

    model.gate.set()
    one.wait(lambda: one.plane.queued_rows == 0)

    assert {wire.take()[0].status for wire in wires} == {200}
    assert sum(model.batches) == 20
    assert max(model.batches) > 1
    assert model.threads == {"engine-m-1"}


@pytest.mark.parametrize("is_threaded", [False, True])
def test_one_bad_request_fails_alone(one: Bench, is_threaded: bool) -> None:
    model = Recorder()
    one.serve({1: model.run}, is_threaded=is_threaded)
    model.gate.clear() if is_threaded else None
    wires = [one.wire() for _ in range(4)]
    for wire, first in zip(wires, [1, 13, 2, 3], strict=True):
        wire.send(post(PATH, infer_body([[first, 0, 0]])))
    model.gate.set()
    one.turn()
    one.wait(lambda: one.plane.queued_rows == 0)

    assert [wire.take()[0].status for wire in wires] == [200, 500, 200, 200]
    (traffic,) = one.plane.traffic
    assert (traffic.requests, traffic.errors) == (4, 1)


def test_a_slow_run_moves_the_model_to_its_thread_and_nothing_is_lost(one: Bench) -> None:
    clock = one.clock

    def slow(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        clock.advance(0.005)
        return summing(inputs)

    one.serve({1: slow})
    assert one.ask(post(PATH, infer_body())).status == 200
    wires = [one.wire() for _ in range(30)]
    for wire in wires:
        wire.send(post(PATH, infer_body()))
    one.wait(lambda: one.plane.queued_rows == 0)

    assert {wire.take()[0].status for wire in wires} == {200}
    assert any(thread.name == "engine-m-1" for thread in threading.enumerate())


def test_a_short_model_comes_back_to_the_loop(one: Bench) -> None:
    model = Recorder()
    one.serve({1: model.run}, is_threaded=True)
    for _ in range(200):
        wire = one.wire()
        wire.send(post(PATH, infer_body()))
        one.wait(lambda: one.plane.queued_rows == 0)
        assert wire.take()[0].status == 200
        wire.connection.connection_lost(None)

    assert threading.current_thread().name in model.threads


def test_rows_beyond_the_queue_meet_429(one: Bench) -> None:
    model = Recorder()
    one.serve({1: model.run}, is_threaded=True)
    model.gate.clear()
    large = infer_body([[1, 2, 3]] * (QUEUE_ROWS + 1))
    first, second = one.wire(), one.wire()

    first.send(post(PATH, large))
    second.send(post(PATH, infer_body()))

    (answer,) = second.take()
    assert answer.status == 429
    assert answer.headers["retry-after"] == "1"
    model.gate.set()
    one.wait(lambda: one.plane.queued_rows == 0)
    assert first.take()[0].status == 200, "a request alone always fits"


def test_who_has_left_costs_no_run(one: Bench) -> None:
    model = Recorder()
    one.serve({1: model.run})
    wire = one.wire()
    wire.send(post(PATH, infer_body()))
    wire.connection.connection_lost(None)
    one.turn()

    assert model.batches == []
    assert one.plane.queued_rows == 0


def test_a_model_of_fixed_shape_runs_one_request_at_a_time(one: Bench) -> None:
    signature = Signature("other", [TensorSpec("input", "FP32", [1, 3])], [TensorSpec("sum", "FP32", [1, 1])])
    model = Recorder()
    one.serve({1: model.run}, signatures={1: signature})
    wires = [one.wire() for _ in range(3)]
    for wire in wires:
        wire.send(post(PATH, infer_body()))
    one.turn(10)

    assert model.batches == [1, 1, 1]


def loaded(run: object, signature: Signature = TABLE) -> Loaded:
    return Loaded("m", 1, "", signature, run, lambda: None)  # type: ignore[arg-type]  # models of any kind


def test_a_model_is_measured_before_it_serves() -> None:
    clock = ManualClock()

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        clock.advance(0.02)
        return summing(inputs)

    batcher = warmed(loaded(run), clock)

    assert batcher.expected_s(1) == pytest.approx(0.02)
    assert not batcher.is_inline


def test_a_model_that_refuses_zeros_still_loads() -> None:
    assert warmed(loaded(broken), SystemClock()).is_inline


def test_zeros_have_the_signatures_types() -> None:
    seen = {}

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        seen.update({name: (array.dtype.str, array.shape) for name, array in inputs.items()})
        return {}

    specs = [
        TensorSpec("a", "BYTES", [-1, 1]),
        TensorSpec("b", "INT64", [-1, 2]),
        TensorSpec("c", "BOOL", [3]),
    ]
    warmed(loaded(run, Signature("other", specs, [])), SystemClock())

    assert seen == {"a": ("|O", (1, 1)), "b": ("<i8", (1, 2)), "c": ("|b1", (3,))}
