"""The prediction log: what is recorded comes back, cut off where the power went; feedback is there before
it is thanked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.base.clock import SystemClock
from kernos.base.errors import CorruptError, KernosError
from kernos.runtime.feedback import FeedbackItem
from kernos.runtime.lane import Loaded
from kernos.runtime.oip import Codec, Decoded
from kernos.runtime.plane import Answered
from kernos.runtime.signature import Signature, TensorSpec
from kernos.runtime.tensors import Packed, pack
from kernos.serve import log as log_module
from kernos.serve.log import PredictionLog, read_feedback, read_segment
from kernos.testing.wire import TABLE, infer_body, summing

MIXED = Signature(
    task="classification",
    inputs=[
        TensorSpec("age", "INT64", [-1, 1]),
        TensorSpec("job", "BYTES", [-1, 1]),
        TensorSpec("ears", "FP32", [-1, 2]),
    ],
    outputs=[TensorSpec("label", "BYTES", [-1]), TensorSpec("odds", "FP32", [-1, 2])],
)
ITEM = FeedbackItem("b-0", {"y": 1})


def batch(requests: Sequence[Sequence[Sequence[float]]], first: int = 0, **more: Any) -> Answered:
    """Requests to a `TABLE` model, answered together."""
    codec = Codec("m", 2, TABLE)
    decoded = codec.join([codec.decode(infer_body(rows)) for rows in requests])
    outputs = codec.outputs(summing(codec.arrays(decoded)), decoded.rows)
    return answered(TABLE, decoded, outputs, [len(rows) for rows in requests], first, **more)


def answered(
    signature: Signature, inputs: Decoded, outputs: list[np.ndarray], rows: list[int], first: int = 0,
    rescued: Sequence[int] = (),
) -> Answered:  # fmt: skip
    model = Loaded("m", 2, "digest", signature, summing, lambda: None)
    names = [f"caller{k}" for k in range(len(rows))]
    return Answered(model, 1000, first, rows, names, [0.5] * len(rows), list(rescued), inputs, outputs)


@contextmanager
def writing(folder: Path, boot: str = "b", flush_s: float = 0.01) -> Iterator[PredictionLog]:
    log = PredictionLog(folder, boot, SystemClock(), flush_s=flush_s)
    log.open()
    try:
        yield log
    finally:
        log.close()


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.seg"))


class Told:
    """Waits for what a log says of feedback."""

    def __init__(self) -> None:
        self.problem: KernosError | None = None
        self._said = threading.Event()

    def __call__(self, problem: KernosError | None) -> None:
        self.problem = problem
        self._said.set()

    def wait(self) -> KernosError | None:
        assert self._said.wait(10)
        return self.problem


def test_predictions_come_back_by_column(tmp_path: Path) -> None:
    with writing(tmp_path) as log:
        log.record(batch([[[1, 2, 3]], [[4, 5, 6], [7, 8, 9]]], first=30, rescued=[1]))

    (path,) = segments(tmp_path)
    one, two = read_segment(path)
    assert (one.id, one.app, one.version, one.principal, one.rescued) == ("b-1e", "m", 2, "caller0", False)
    assert (two.id, two.principal, two.rescued, two.latency_ms, two.at_ms) == (
        "b-1f",
        "caller1",
        True,
        0.5,
        1000,
    )
    assert one.inputs == {"a": [1.0], "b": [2.0], "c": [3.0]}
    assert two.inputs == {"a": [4.0, 7.0], "b": [5.0, 8.0], "c": [6.0, 9.0]}
    assert two.outputs == {"label": [1, 1], "sum": [15.0, 24.0]}
    assert not list(tmp_path.glob("*.open"))


def test_texts_and_tensors_come_back(tmp_path: Path) -> None:
    values: list[Packed] = [
        pack([40, 41], "INT64", ["age"]),
        ["cook", "poet"],
        pack([1, 2, 3, 4], "FP32", ["ears"]),
    ]
    inputs = Decoded(2, values, [[2, 1], [2, 1], [2, 2]])
    outputs = [np.array(["yes", "no"], dtype=object), np.array([[1, 0], [0, 1]], dtype=np.float64)]
    with writing(tmp_path) as log:
        log.record(answered(MIXED, inputs, outputs, [1, 1]))

    one, two = read_segment(segments(tmp_path)[0])
    assert one.inputs == {"age": [40], "job": ["cook"], "ears": [[1.0, 2.0]]}
    assert two.outputs == {"label": ["no"], "odds": [[0.0, 1.0]]}


@given(st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=3), min_size=1, max_size=5), st.data())
def test_a_torn_segment_gives_what_was_whole(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[list[int]], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("log")
    with writing(folder, flush_s=0.0) as log:
        first = 0
        for batch_sizes in sizes:
            log.record(batch([[[first, k, 0]] * rows for k, rows in enumerate(batch_sizes)], first))
            first += len(batch_sizes)
    (path,) = segments(folder)
    whole = read_segment(path)
    assert [one.id for one in whole] == [f"b-{k:x}" for k in range(first)]

    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(data.draw(st.integers(0, size)))

    torn = read_segment(path)
    assert torn == whole[: len(torn)]


def test_what_a_dead_plane_left_is_finished_at_the_next_start(tmp_path: Path) -> None:
    with writing(tmp_path, "old") as log:
        log.record(batch([[[1, 2, 3]]]))
    (path,) = segments(tmp_path)
    data = path.read_bytes()
    path.unlink()
    (tmp_path / "old-00000000.open").write_bytes(data + b"\x09\x00\x00\x00torn")
    (tmp_path / "old-00000001.open").write_bytes(b"KPL1")

    with writing(tmp_path, "new"):
        pass

    assert [path.name for path in tmp_path.iterdir()] == ["old-00000000.seg"]
    assert segments(tmp_path)[0].read_bytes() == data


def test_a_segment_is_finished_within_a_second_or_so(tmp_path: Path) -> None:
    with writing(tmp_path) as log:
        log.record(batch([[[1, 2, 3]]]))
        until(lambda: bool(segments(tmp_path)))
        log.record(batch([[[1, 2, 3]]], first=1))

    assert [one.id for path in segments(tmp_path) for one in read_segment(path)] == ["b-0", "b-1"]


def test_a_large_segment_is_finished_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "SEGMENT_BYTES", 100)
    monkeypatch.setattr(log_module, "SEGMENT_S", 1000.0)
    with writing(tmp_path) as log:
        log.record(batch([[[1, 2, 3]] * 20]))
        until(lambda: bool(segments(tmp_path)))

    assert len(segments(tmp_path)) == 1


def test_feedback_is_on_disk_when_it_is_acknowledged(tmp_path: Path) -> None:
    with writing(tmp_path, flush_s=1000.0) as log:
        told = Told()
        log.record(batch([[[1, 2, 3]]]))
        log.feedback([ITEM, FeedbackItem("b-0:1", {"job": None})], "ann", told)

        assert told.wait() is None
        (path,) = tmp_path.glob("*.open")
        one, two = read_feedback(path)

    assert (one.id, one.principal, one.values) == ("b-0", "ann", {"y": 1})
    assert two.values == {"job": None}
    assert len(read_segment(segments(tmp_path)[0])) == 1


def test_a_disk_that_refuses_costs_predictions_but_no_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "log"
    with writing(folder) as log:
        folder.rmdir()
        told = Told()
        log.record(batch([[[1, 2, 3]], [[1, 2, 3]]]))
        log.feedback([ITEM], "ann", told)
        problem = told.wait()
        assert problem is not None
        assert problem.code == "unavailable"
        assert log.dropped == 2

        folder.mkdir()
        told = Told()
        log.feedback([ITEM], "ann", told)
        assert told.wait() is None

    assert "cannot be written" in caplog.text
    assert len(read_feedback(segments(folder)[0])) == 1


def test_a_disk_that_hangs_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "WAITING_BYTES", 2000)
    with writing(tmp_path, flush_s=1000.0) as log:
        for first in range(10):
            log.record(batch([[[1, 2, 3]]], first))

    written = sum(len(read_segment(path)) for path in segments(tmp_path))
    assert log.dropped == 10 - written
    assert 1 <= written < 10


def test_another_file_is_no_segment(tmp_path: Path) -> None:
    path = tmp_path / "x.seg"
    path.write_bytes(b"PAR1 and more")

    with pytest.raises(CorruptError):
        read_segment(path)
    path.write_bytes(b"")
    assert read_segment(path) == []


def until(is_true: Callable[[], bool]) -> None:
    """Wait for the log's thread, 10 s at most."""
    pause = threading.Event()
    for _ in range(1000):
        if is_true():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come about")
