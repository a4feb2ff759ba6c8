from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from kernos.base.errors import InvalidError, KernosError, RefusedError, UnavailableError
from kernos.data.explain import explained
from kernos.data.sources import Kind
from kernos.spec.manifest import Column

FAILURE = pl.exceptions.ComputeError("could not parse\nmore")


def explain(tmp_path: Path, text: str, kind: Kind, column: Column) -> KernosError:
    source = tmp_path / ("t.csv" if kind == "csv" else "t.jsonl")
    source.write_text(text)
    return explained(FAILURE, source, kind, [column], [column.name])


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        (Column("a", "int"), "1.5"),
        (Column("a", "float"), "x"),
        (Column("a", "bool"), "1"),
        (Column("a", "datetime"), "31/12/2024"),
    ],
)
def test_cells_of_another_type_are_listed(tmp_path: Path, column: Column, cell: str) -> None:
    good = {"int": "1", "float": "1", "bool": "true", "datetime": "2024-12-31 00:00:00"}[column.type]

    error = explain(tmp_path, f"a\n{good}\n{cell}\n{cell}\n", "csv", column)

    assert isinstance(error, RefusedError)
    assert f"a is not of type {column.type} in 2 rows (row 2: '{cell}', row 3: '{cell}')" in error.message


@pytest.mark.parametrize(
    ("line", "kind", "told"),
    [
        ('{"a":', InvalidError, "line 2 is not JSON"),
        ("[1]", InvalidError, "line 2 is not a JSON object"),
        ('{"a":"x"}', RefusedError, "line 2 gives a as 'x', the contract says int"),
        ('{"a":true}', RefusedError, "line 2 gives a as True"),
    ],
)
def test_bad_json_lines_are_named(tmp_path: Path, line: str, kind: type[KernosError], told: str) -> None:
    error = explain(tmp_path, '{"a":1}\n' + line + "\n", "json lines", Column("a", "int"))

    assert type(error) is kind
    assert told in error.message


@pytest.mark.parametrize(
    ("column", "cell"), [("float", '"x"'), ("bool", "1"), ("str", "1"), ("datetime", "5")]
)
def test_json_types_are_strict(tmp_path: Path, column: str, cell: str) -> None:
    error = explain(tmp_path, f'\n{{"a":{cell}}}\n', "json lines", Column("a", column))  # type: ignore[arg-type]

    assert f"the contract says {column}" in error.message


def test_what_nobody_can_explain_keeps_the_parsers_words(tmp_path: Path) -> None:
    for kind, text in (("csv", "a\n1\n"), ("json lines", '{"a":null}\n')):
        error = explain(tmp_path, text, kind, Column("a", "int"))  # type: ignore[arg-type]

        assert isinstance(error, InvalidError)
        assert "could not parse." in error.message


def test_a_full_disk_is_no_fault_of_the_file(tmp_path: Path) -> None:
    failure = pl.exceptions.ComputeError("No space left on device (os error 28)")

    assert isinstance(explained(failure, tmp_path / "t.csv", "csv", [], ["a"]), UnavailableError)
