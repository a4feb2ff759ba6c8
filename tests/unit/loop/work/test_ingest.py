"""Files become versions under the contract; versions grow by rows that came back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl
import pytest

from kernos.base.errors import InvalidError, NotFoundError, RefusedError
from kernos.base.ids import Digest
from kernos.data.dataset import load, scan
from kernos.loop.datasets import described, extend
from kernos.loop.work import ingest
from kernos.spec.contract import parse_column

if TYPE_CHECKING:
    from tests.unit.loop.conftest import Workshop

CONTRACT = msgspec.to_builtins([parse_column("a", "int 0..10"), parse_column("y", "int in 0,1")])


@pytest.fixture
def workshop(make_workshop: Callable[..., Workshop]) -> Workshop:
    return make_workshop(lambda verb, body: {})


def taken_in(workshop: Workshop, text: str, name: str = "rows.csv") -> dict[str, Any]:
    file = workshop.home / name
    file.write_text(text)
    return ingest.run(workshop.task({"source": str(file), "contract": CONTRACT}))


def rows(workshop: Workshop, result: dict[str, Any]) -> pl.DataFrame:
    return scan(load(Digest(result["digest"]), workshop.blobs), workshop.blobs).collect()


def test_a_file_becomes_a_version(workshop: Workshop) -> None:
    result = taken_in(workshop, "a,y\n1,0\n2,1\n")

    assert rows(workshop, result).to_dict(as_series=False) == {"a": [1, 2], "y": [0, 1]}
    assert (result["rows"], result["newest_part_rows"], len(result["source_sha256"])) == (2, 2, 64)


def test_a_file_that_breaks_the_contract_leaves_nothing(workshop: Workshop) -> None:
    with pytest.raises(RefusedError, match="a"):
        taken_in(workshop, "a,y\n99,0\n")
    with pytest.raises(NotFoundError):
        ingest.run(workshop.task({"source": str(Path("/absent.csv")), "contract": []}))

    assert list(workshop.blobs.digests()) == []


def grow(workshop: Workshop, labelled: pl.DataFrame, from_row: int = 0) -> dict[str, Any]:
    base = taken_in(workshop, "a,y\n1,0\n2,1\n")["digest"]
    back = described(extend(None, labelled, workshop.blobs, workshop.home), workshop.blobs)["digest"]
    return ingest.grow(
        workshop.task({"base": base, "labelled": back, "from_row": from_row, "contract": CONTRACT})
    )


def test_a_version_grows_by_the_rows_it_has_not_had(workshop: Workshop) -> None:
    labelled = pl.DataFrame({"prediction_id": ["p:0", "p:1", "p:2"], "y": [1, 0, 1], "a": [7.0, 8.0, 9.0]})

    result = grow(workshop, labelled, from_row=1)

    assert rows(workshop, result).to_dict(as_series=False) == {"a": [1, 2, 8, 9], "y": [0, 1, 0, 1]}
    assert (result["rows"], result["newest_part_rows"], result["source_sha256"]) == (4, 2, "")


def test_rows_from_service_meet_the_contract_too(workshop: Workshop) -> None:
    with pytest.raises(RefusedError):
        grow(workshop, pl.DataFrame({"a": [99], "y": [1]}))
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        grow(workshop, pl.DataFrame({"a": [1]}))
    with pytest.raises(InvalidError, match="no rows"):
        grow(workshop, pl.DataFrame({"a": [1], "y": [1]}), from_row=1)
