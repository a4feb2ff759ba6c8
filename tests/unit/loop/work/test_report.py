"""Questions that need the rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import polars as pl
import pytest

from kernos.base.errors import NotFoundError
from kernos.loop.datasets import described, extend
from kernos.loop.work import report

if TYPE_CHECKING:
    from tests.unit.loop.conftest import Workshop


@pytest.fixture
def workshop(make_workshop: Callable[..., Workshop]) -> Workshop:
    return make_workshop(lambda verb, body: {})


def stored(workshop: Workshop, frame: pl.DataFrame) -> str:
    return str(described(extend(None, frame, workshop.blobs, workshop.home), workshop.blobs)["digest"])


def test_two_versions_differ_by_rows_and_schema(workshop: Workshop) -> None:
    a = stored(workshop, pl.DataFrame({"x": [1, 2, 3]}))
    b = stored(workshop, pl.DataFrame({"x": [2, 3, 4, 5]}))

    told = report.diff(workshop.task({"a": a, "b": b}))

    assert (told["rows_added"], told["rows_removed"]) == (2, 1)


def test_a_prediction_is_found_with_or_without_its_row(workshop: Workshop) -> None:
    logs = [
        stored(workshop, pl.DataFrame({"prediction_id": ["a:0"], "x": [1]})),
        stored(workshop, pl.DataFrame({"prediction_id": ["b:0", "b:1"], "x": [2, 3]})),
    ]

    def find(id_: str) -> object:
        return report.prediction(workshop.task({"id": id_, "logs": logs}))["prediction"]["x"]

    assert [find(id_) for id_ in ("a", "b", "b:1")] == [1, 2, 3]
    with pytest.raises(NotFoundError, match="No prediction 'c'"):
        find("c")
