from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from kernos.base.errors import ConflictError, InvalidError, NotFoundError, RefusedError
from kernos.catalog.blobs import FileBlobs
from kernos.data import dataset
from kernos.data.ingest import ingest
from kernos.data.manifest import ColumnStatistics
from kernos.spec.manifest import Column

CSV = "age,name,score,when,ok\n30,Ann,1.5,2024-01-02 03:04:05,true\n41,,NaN,2024-02-03 00:00:00,false\n"
CONTRACT = [
    Column("age", "int", low=0, high=120),
    Column("name", "str", nullable=True),
    Column("score", "float", nullable=True),
    Column("when", "datetime"),
    Column("ok", "bool"),
]


def test_csv_under_a_contract_has_its_types_and_figures(ingest_text: Any, blobs: FileBlobs) -> None:
    manifest = ingest_text(CSV, CONTRACT)

    assert dataset.scan(manifest, blobs).collect().rows() == [
        (30, "Ann", 1.5, datetime(2024, 1, 2, 3, 4, 5), True),
        (41, None, None, datetime(2024, 2, 3), False),
    ]
    assert manifest.rows == 2
    assert manifest.source == "csv"
    assert manifest.source_sha256 == hashlib.sha256(CSV.encode()).hexdigest()
    assert manifest.columns["when"] == "Datetime(time_unit='us', time_zone=None)"
    assert manifest.statistics["age"] == ColumnStatistics(0, 30, 41)
    assert manifest.statistics["name"] == ColumnStatistics(1)
    assert manifest.statistics["when"].maximum == "2024-02-03T00:00:00"
    assert manifest.size_bytes == sum(part.size_bytes for part in manifest.parts) > 0


def test_types_are_inferred_without_a_contract(ingest_text: Any) -> None:
    manifest = ingest_text(CSV)

    assert [manifest.columns[name] for name in ("age", "name", "score", "ok")] == [
        "Int64",
        "String",
        "Float64",
        "Boolean",
    ]
    assert manifest.columns["when"].startswith("Datetime")


def test_a_guess_from_the_first_rows_is_corrected_by_the_last(ingest_text: Any) -> None:
    rows = "".join("1,2024-01-01,,1,true\n" for _ in range(10_001))

    manifest = ingest_text("a,b,c,d,e\n" + rows + "1.5,soon,7,x,2\n")

    assert manifest.columns == {"a": "Float64", "b": "String", "c": "Int64", "d": "String", "e": "String"}
    assert manifest.rows == 10_002


def test_a_column_without_any_value_is_text(ingest_text: Any) -> None:
    assert ingest_text("a,b\n1,\n2,\n").columns == {"a": "Int64", "b": "String"}


@pytest.mark.parametrize(("name", "separator"), [("t.csv", ","), ("t.tsv", "\t"), ("t.CSV", ",")])
def test_quotes_may_hold_separators_quotes_and_newlines(
    ingest_text: Any, blobs: FileBlobs, name: str, separator: str
) -> None:
    manifest = ingest_text(f'a{separator}b\n"x{separator}\ny""z"{separator}2\nplain{separator}3\n', name=name)

    assert dataset.scan(manifest, blobs).collect()["a"].to_list() == [f'x{separator}\ny"z', "plain"]


def test_windows_line_ends_and_byte_order_mark_are_read(ingest_text: Any) -> None:
    assert ingest_text(b"\xef\xbb\xbfa,b\r\n1,2\r\n3,4").rows == 2


def test_json_lines_and_parquet_hold_equal_rows(
    ingest_text: Any, ingest_frame: Any, blobs: FileBlobs
) -> None:
    frame = pl.DataFrame({"a": [1, None, 3], "b": ["x", "y", None]})

    lines = ingest_text(frame.write_ndjson(), name="t.jsonl")
    parquet = ingest_frame(frame)

    assert_frame_equal(dataset.scan(lines, blobs).collect(), frame)
    assert_frame_equal(dataset.scan(parquet, blobs).collect(), frame)
    assert [part.digest for part in lines.parts] == [part.digest for part in parquet.parts]


def test_parquet_columns_take_the_contracts_types_where_no_value_is_lost(ingest_frame: Any) -> None:
    frame = pl.DataFrame(
        {"a": pl.Series([1, 2], dtype=pl.Int8), "b": [1, 2], "c": pl.Series(["x", "y"], dtype=pl.Categorical)}
    )

    manifest = ingest_frame(frame, [Column("a", "int"), Column("b", "float"), Column("c", "str")])

    assert manifest.columns == {"a": "Int64", "b": "Float64", "c": "String"}


def test_the_same_bytes_have_the_same_digest_wherever_they_lie(
    ingest_text: Any, blobs: FileBlobs, work: Path, tmp_path: Path
) -> None:
    first = ingest_text(CSV, CONTRACT)
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "other.csv").write_text(CSV)

    assert ingest(tmp_path / "else" / "other.csv", CONTRACT, blobs, work).digest == first.digest


def test_the_digest_does_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{i},{i / 7}\n" for i in range(200_000)))
    program = (
        "import sys; from pathlib import Path; from kernos.data.sources import scan\n"
        "from kernos.data.ingest import _sink; from kernos.base.digests import of_file\n"
        "out = Path(sys.argv[2]); out.mkdir(); _sink(scan(Path(sys.argv[1]), 'csv', {}), [], out)\n"
        "sys.stdout.write(str([of_file(file) for file in sorted(out.iterdir())]))"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", program, tmp_path / "t.csv", tmp_path / threads],
            env={"POLARS_MAX_THREADS": threads},
            capture_output=True,
            check=True,
        ).stdout
        for threads in ("1", "3")
    ]

    assert told[0] == told[1]


def test_a_table_that_grew_shares_its_first_parts(ingest_frame: Any) -> None:
    frame = pl.DataFrame({"a": range(dataset.PART_ROWS + 10)})

    small, large = ingest_frame(frame), ingest_frame(pl.concat([frame, frame[:5]]))

    assert len(small.parts) == len(large.parts) == 2
    assert small.parts[0] == large.parts[0]
    assert small.parts[1] != large.parts[1]


def test_a_refusal_names_rows_and_leaves_nothing(ingest_text: Any, blobs: FileBlobs, work: Path) -> None:
    with pytest.raises(RefusedError, match=r"age is not in 0\.\.120 in 1 rows \(row 2: 130\)") as caught:
        ingest_text("age\n30\n130\n", [Column("age", "int", low=0, high=120)])

    assert caught.value.hint
    assert caught.value.details["violations"][0]["rows"] == [2]
    assert list(blobs.digests()) == []
    assert list(work.iterdir()) == []


def test_a_missing_column_names_the_nearest(ingest_text: Any) -> None:
    with pytest.raises(RefusedError, match="did you mean age"):
        ingest_text("age\n30\n", [Column("agee", "int")])


@pytest.mark.parametrize("name", ["t.xlsx", "t", "t.json"])
def test_other_kinds_of_file_are_refused(ingest_text: Any, name: str) -> None:
    with pytest.raises(InvalidError, match="not a table"):
        ingest_text("a\n1\n", name=name)


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path, blobs: FileBlobs, work: Path) -> None:
    (tmp_path / "folder.csv").mkdir()

    with pytest.raises(NotFoundError):
        ingest(tmp_path / "none.csv", [], blobs, work)
    with pytest.raises(InvalidError, match="cannot be read"):
        ingest(tmp_path / "folder.csv", [], blobs, work)


def test_a_file_that_changes_meanwhile_is_a_conflict(tmp_path: Path, blobs: FileBlobs, work: Path) -> None:
    source = tmp_path / "t.csv"
    source.write_text("a\n1\n")

    class Touching(list[Column]):
        """A contract that, when it is read, finds the file written to."""

        def __iter__(self) -> Iterator[Column]:
            os.utime(source, ns=(1, 1))
            return super().__iter__()

    with pytest.raises(ConflictError, match="changed"):
        ingest(source, Touching(), blobs, work)
    assert list(blobs.digests()) == []
