"""Why a parser failed, in words a person can act on: the line, the column, the value."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from kernos.base.errors import InvalidError, KernosError, RefusedError, UnavailableError
from kernos.data import contract as contracts
from kernos.data import delimited
from kernos.data.sources import Kind, scan_text, separator_of
from kernos.spec.manifest import Column


def explained(
    failure: pl.exceptions.PolarsError,
    source: Path,
    kind: Kind,
    contract: Sequence[Column],
    columns: list[str],
) -> KernosError:
    """The error to raise for the parser's `failure`; reads the file again to find the place."""
    told = str(failure).splitlines()[0]
    if "os error 28" in str(failure):
        return UnavailableError(
            "The disk is full; nothing was stored.", hint="Free some space and try again."
        )
    try:
        if kind == "csv":
            delimited.explain_text(source)
            delimited.explain_shape(source, separator_of(source), len(columns))
            contracts.refuse(_misfits(source, contract), source.name)
        if kind == "json lines":
            _explain_lines(source, contract)
    except KernosError as error:
        return error
    return InvalidError(
        f"{source.name} is not readable as {kind}: {told}.", hint="Correct the file and try again."
    )


def _misfits(source: Path, contract: Sequence[Column]) -> list[contracts.Violation]:
    """The cells of a CSV file that are not of the contract's type."""
    text = scan_text(source)
    known = text.collect_schema()
    violations = []
    for column in contract:
        if column.name not in known or column.type == "str":
            continue
        cell = pl.col(column.name)
        bad = (
            text.select(cell)
            .with_row_index("__row", offset=1)
            .filter(cell.is_not_null() & _parsed(cell, column).is_null())
        )
        first = bad.head(5).collect(engine="streaming")
        if first.height:
            count = bad.select(pl.len()).collect(engine="streaming").item()
            examples = [value[:100] for value in first[column.name]]
            violations.append(
                contracts.Violation(
                    column.name, f"of type {column.type}", count, first["__row"].to_list(), examples
                )
            )
    return violations


def _parsed(cell: pl.Expr, column: Column) -> pl.Expr:
    if column.type == "bool":
        return pl.when(cell.str.to_lowercase().is_in(["true", "false"])).then(cell)
    if column.type == "datetime":
        return cell.str.to_datetime(strict=False, time_unit="us")
    return cell.cast(contracts.dtype_of(column), strict=False)


def _explain_lines(source: Path, contract: Sequence[Column]) -> None:
    """An error for the first line that is not a JSON object of the contract's types."""
    with source.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            place = f"{source.name}: line {number}"
            try:
                value = msgspec.json.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise InvalidError(
                    f"{place} is not JSON: {error}.", hint="Correct it.", line=number
                ) from error
            if not isinstance(value, dict):
                raise InvalidError(f"{place} is not a JSON object.", hint="Write one a line.", line=number)
            for column in contract:
                cell = value.get(column.name)
                if cell is not None and not _is_json_of(cell, column):
                    raise RefusedError(
                        f"{place} gives {column.name} as {cell!r:.100}, the contract says {column.type}.",
                        hint="Correct the line or the contract.",
                        line=number,
                    )


def _is_json_of(cell: Any, column: Column) -> bool:
    match column.type:
        case "int":
            return isinstance(cell, int) and not isinstance(cell, bool)
        case "float":
            return isinstance(cell, int | float) and not isinstance(cell, bool)
        case "bool":
            return isinstance(cell, bool)
        case "str" | "datetime":
            return isinstance(cell, str)
