"""What a file holds, as a lazy table: CSV, JSON lines or Parquet, with the types the contract names.

Other columns are inferred: guessed from the first rows, and from every row where the rest refutes the guess.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import polars as pl

from kernos.base.errors import InvalidError, RefusedError

Kind = Literal["csv", "json lines", "parquet"]
Types = dict[str, pl.DataType]

_KINDS: dict[str, Kind] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "json lines",
    ".ndjson": "json lines",
    ".parquet": "parquet",
}
_SAMPLE_ROWS = 10_000
_TIME_FORMATS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f")


def kind_of(source: Path) -> Kind:
    kind = _KINDS.get(source.suffix.lower())
    if kind is None:
        raise InvalidError(
            f"{source.name}: {source.suffix or 'a name without an ending'} is not a table that Kernos reads.",
            hint=f"Give a file that ends in {', '.join(_KINDS)}.",
        )
    return kind


def separator_of(source: Path) -> str:
    return "\t" if source.suffix.lower() == ".tsv" else ","


def scan(source: Path, kind: Kind, types: Types) -> pl.LazyFrame:
    """The table, with `types` for the columns they name. RefusedError for types that no dataset holds."""
    match kind:
        case "csv":
            return _scan_csv(source, types)
        case "json lines":
            known = pl.scan_ndjson(source, infer_schema_length=None).collect_schema()
            wanted = {name: dtype for name, dtype in types.items() if name in known}
            return _storable(pl.scan_ndjson(source, schema=dict(known) | wanted), {})
        case "parquet":
            return _storable(pl.scan_parquet(source, glob=False), types)


def scan_text(source: Path) -> pl.LazyFrame:
    """A CSV file with every cell as text."""
    return pl.scan_csv(source, separator=separator_of(source), infer_schema=False, glob=False)


def infer(source: Path, known: Types) -> Types:
    """The narrowest of int, float, bool and str that fits every row of each CSV column not in `known`."""
    text = scan_text(source)
    unknown = [name for name in text.collect_schema() if name not in known]
    fits = text.select(
        ((pl.col(name).is_null() | test).all() & pl.col(name).is_not_null().any()).alias(f"{name}\0{rank}")
        for name in unknown
        for rank, (_, test) in enumerate(_tests(name))
    )
    row = fits.collect(engine="streaming").row(0, named=True)
    return {
        name: next(
            (dtype for rank, (dtype, _) in enumerate(_tests(name)) if row[f"{name}\0{rank}"]), pl.String()
        )
        for name in unknown
    }


def _tests(name: str) -> list[tuple[pl.DataType, pl.Expr]]:
    cell = pl.col(name)
    return [
        (pl.Int64(), cell.cast(pl.Int64, strict=False).is_not_null()),
        (pl.Float64(), cell.cast(pl.Float64, strict=False).is_not_null()),
        (pl.Boolean(), cell.is_in(["true", "false"])),
    ]


def _scan_csv(source: Path, types: Types) -> pl.LazyFrame:
    separator = separator_of(source)
    known = pl.scan_csv(
        source, separator=separator, infer_schema_length=_SAMPLE_ROWS, try_parse_dates=True, glob=False
    ).collect_schema()
    first = pl.read_csv(source, separator=separator, n_rows=_SAMPLE_ROWS, infer_schema=False, glob=False)
    sure = {name: dtype for name, dtype in known.items() if first[name].null_count() < first.height}
    sure |= {name: dtype for name, dtype in types.items() if name in known}
    if len(sure) < len(known):
        sure |= infer(source, sure)
    times = {name: _time_format(first[name]) for name, dtype in sure.items() if dtype == pl.Datetime("us")}
    text: Types = {name: pl.String() for name, told in times.items() if told}
    table = pl.scan_csv(source, separator=separator, schema_overrides=sure | text, glob=False)
    return _storable(
        table.with_columns(
            pl.col(name).str.to_datetime(told, time_unit="us", cache=False)
            for name, told in times.items()
            if told
        ),
        {},
    )


def _time_format(first: pl.Series) -> str | None:
    """The one format of all first values, if there is one: knowing it, times are read three times as fast."""
    for told in _TIME_FORMATS:
        if first.str.to_datetime(told, strict=False).null_count() == first.null_count() < len(first):
            return told
    return None


def _storable(frame: pl.LazyFrame, types: Types) -> pl.LazyFrame:
    """Numbers, text, truth values and times stay; what only looks different is cast; the rest is refused."""
    schema = frame.collect_schema()
    casts: Types = {}
    for name, dtype in schema.items():
        wanted = types.get(name)
        if dtype in (pl.Categorical, pl.Enum, pl.Null):
            casts[name] = wanted if wanted is not None and dtype == pl.Null else pl.String()
        elif dtype in (pl.Int128, pl.UInt128, pl.Float16) or not (
            dtype.is_integer() or dtype.is_float() or dtype in (pl.String, pl.Boolean, pl.Date, pl.Datetime)
        ):
            raise RefusedError(
                f"Column {name!r} holds {dtype}, which a dataset cannot.",
                hint="Make it numbers, text, true/false or times; a contract's `str` keeps long digits.",
            )
        elif wanted is not None and _is_wider(dtype, wanted):
            casts[name] = wanted
    return frame.with_columns(pl.col(name).cast(dtype) for name, dtype in casts.items())


def _is_wider(dtype: pl.DataType, wanted: pl.DataType) -> bool:
    """A cast from `dtype` keeps every value: the file's int8 is the contract's int; a float is not."""
    if wanted == pl.Int64:
        return dtype.is_integer() and dtype != pl.UInt64
    if wanted == pl.Float64:
        return dtype.is_numeric()
    return wanted == pl.Datetime and dtype in (pl.Date, pl.Datetime)
