from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from kernos.base.errors import InvalidError, RefusedError
from kernos.data.sources import Types, infer, kind_of, scan, separator_of


def test_the_name_tells_the_kind() -> None:
    assert kind_of(Path("a.CSV")) == kind_of(Path("a.tsv")) == "csv"
    assert kind_of(Path("a.jsonl")) == kind_of(Path("a.ndjson")) == "json lines"
    assert kind_of(Path("a.parquet")) == "parquet"
    assert (separator_of(Path("a.csv")), separator_of(Path("a.tsv"))) == (",", "\t")
    with pytest.raises(InvalidError, match="xlsx"):
        kind_of(Path("a.xlsx"))


def test_types_are_inferred_from_every_row(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("i,f,b,s,n,k\n1,1,true,1,,x\n,2.5,false,x,,y\n")

    assert infer(tmp_path / "t.csv", {"k": pl.String()}) == {
        "i": pl.Int64(),
        "f": pl.Float64(),
        "b": pl.Boolean(),
        "s": pl.String(),
        "n": pl.String(),
    }


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [(pl.Int64(), pl.Int64), (pl.Float64(), pl.Float64), (pl.String(), pl.Int32), (pl.Boolean(), pl.Int32)],
)
def test_only_casts_that_keep_every_value_are_made(tmp_path: Path, wanted: Any, kept: Any) -> None:
    pl.DataFrame({"a": pl.Series([1], dtype=pl.Int32)}).write_parquet(tmp_path / "t.parquet")

    assert scan(tmp_path / "t.parquet", "parquet", {"a": wanted}).collect_schema()["a"] == kept


@pytest.mark.parametrize("values", [[[1]], [{"x": 1}], [b"x"]])
def test_what_a_dataset_cannot_hold_is_refused(tmp_path: Path, values: Any) -> None:
    pl.DataFrame({"a": values}).write_parquet(tmp_path / "t.parquet")

    with pytest.raises(RefusedError, match="'a' holds"):
        scan(tmp_path / "t.parquet", "parquet", {})


def test_integers_beyond_64_bits_are_refused_unless_called_text(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\n99999999999999999999999\n")

    with pytest.raises(RefusedError, match="Int128"):
        scan(tmp_path / "t.csv", "csv", {})
    assert scan(tmp_path / "t.csv", "csv", {"a": pl.String()}).collect().item() == "9" * 23


def test_a_key_that_appears_late_in_json_lines_is_kept(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"a":1}\n' * 20_000 + '{"a":1,"b":"x"}\n')

    assert scan(tmp_path / "t.jsonl", "json lines", {"a": pl.Float64()}).collect().row(-1) == (1.0, "x")


@pytest.mark.parametrize(
    "cell",
    ["2024-01-02 03:04:05", "2024-01-02T03:04:05", "2024-01-02 03:04:05.000", "2024-01-02T03:04:05.000"],
)
def test_times_of_one_format_are_read_with_and_without_a_contract(tmp_path: Path, cell: str) -> None:
    (tmp_path / "t.csv").write_text(f"a,b\n{cell},1\n,2\n")

    choices: list[Types] = [{}, {"a": pl.Datetime("us")}]
    for types in choices:
        table = scan(tmp_path / "t.csv", "csv", types).collect()

        assert table["a"].to_list() == [datetime(2024, 1, 2, 3, 4, 5), None]


def test_dates_and_times_may_mix_where_the_contract_says_datetime(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\n2024-01-02\n2024-01-02 03:04:05\n")

    table = scan(tmp_path / "t.csv", "csv", {"a": pl.Datetime("us")}).collect()

    assert table["a"].to_list() == [datetime(2024, 1, 2), datetime(2024, 1, 2, 3, 4, 5)]
