"""Versions of a dataset over content-addressed Parquet: read one, or make the next by adding a part.

Parquet bytes are the same for the same rows on every machine with the same polars: fixed codec, level, row
groups, row order, and no metadata of our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import polars as pl

from kernos.base.errors import InvalidError, RefusedError
from kernos.base.ids import Digest
from kernos.data import contract as contracts
from kernos.data.manifest import ColumnStatistics, DatasetManifest, Part, Scalar, decode
from kernos.spec.manifest import Column

if TYPE_CHECKING:
    from kernos.catalog.blobs import Blobs

PART_ROWS = 1 << 20
"""A longer table is cut there, so a file that only grew shares its first parts with its past."""
ROW_GROUP_ROWS = 1 << 14
"""Readers hold over a hundred row groups at once; small ones keep their memory small and cost under 1 % of size."""
CODEC_LEVEL = 3


def scan(manifest: DatasetManifest, blobs: Blobs) -> pl.LazyFrame:
    """All rows in their order, lazily; CorruptError where a part's bytes are not what its digest says."""
    return pl.scan_parquet([blobs.path(part.digest) for part in manifest.parts], glob=False)


def load(digest: Digest, blobs: Blobs) -> DatasetManifest:
    return decode(blobs.get(digest))


def append(
    manifest: DatasetManifest,
    frame: pl.DataFrame,
    contract: Sequence[Column],
    blobs: Blobs,
    folder: Path,
) -> DatasetManifest:
    """The next version: the old parts as they are, and one more.

    The contract is checked on the new rows only, so `unique` means unique among them. InvalidError where the
    columns are not the old ones; RefusedError for rows of other types or that break the contract. Nothing is
    stored then.
    """
    if not frame.height:
        raise InvalidError("There are no rows to append.", hint="Append at least one row.")
    schema = pl.read_parquet_schema(blobs.path(manifest.parts[0].digest))
    rows = without_nan(_fit(frame, schema).lazy(), contract)
    contracts.refuse(contracts.check(rows, contract), "The append")
    with TemporaryDirectory(dir=folder, prefix="append-") as work:
        file = Path(work) / "part.parquet"
        rows.collect().write_parquet(
            file, compression="zstd", compression_level=CODEC_LEVEL, row_group_size=ROW_GROUP_ROWS
        )
        part = Part(blobs.put_file(file), frame.height, file.stat().st_size)
    new = statistics(rows)
    return DatasetManifest(
        columns=manifest.columns,
        rows=manifest.rows + frame.height,
        parts=[*manifest.parts, part],
        statistics={name: _merge(old, new[name]) for name, old in manifest.statistics.items()},
        source="append",
        base=manifest.digest,
    )


def without_nan(frame: pl.LazyFrame, contract: Sequence[Column]) -> pl.LazyFrame:
    """NaN as null, except in columns that the contract wants filled: there it stays, to be refused."""
    strict = {column.name for column in contract if not column.nullable}
    return frame.with_columns(
        pl.col(name).fill_nan(None)
        for name, dtype in frame.collect_schema().items()
        if dtype.is_float() and name not in strict
    )


def statistics(frame: pl.LazyFrame) -> dict[str, ColumnStatistics]:
    """Nulls and range of every column, in one streamed pass."""
    schema = frame.collect_schema()
    ranged = [name for name, dtype in schema.items() if dtype.is_numeric() or dtype.is_temporal()]
    figures = frame.select(
        *(pl.col(name).null_count().alias(f"n{at}") for at, name in enumerate(schema)),
        *(pl.col(name).min().alias(f"l{at}") for at, name in enumerate(schema) if name in ranged),
        *(pl.col(name).max().alias(f"h{at}") for at, name in enumerate(schema) if name in ranged),
    )
    row = figures.collect(engine="streaming").row(0, named=True)
    return {
        name: ColumnStatistics(row[f"n{at}"], _scalar(row.get(f"l{at}")), _scalar(row.get(f"h{at}")))
        for at, name in enumerate(schema)
    }


def _fit(frame: pl.DataFrame, schema: pl.Schema | dict[str, pl.DataType]) -> pl.DataFrame:
    missing = [name for name in schema if name not in frame.columns]
    extra = [name for name in frame.columns if name not in schema]
    if missing or extra:
        what = f"lack the column {missing[0]!r}" if missing else f"have an unknown column {extra[0]!r}"
        raise InvalidError(
            f"The new rows {what}.",
            hint="Give the dataset's columns, or ingest the whole table under a new name.",
            missing=missing,
            extra=extra,
        )
    try:
        return frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
    except pl.exceptions.PolarsError as error:
        raise RefusedError(
            f"The new rows do not fit the dataset's types: {str(error).splitlines()[0]}.",
            hint=f"The types are {', '.join(f'{name} {dtype}' for name, dtype in schema.items())}.",
        ) from error


def _merge(old: ColumnStatistics, new: ColumnStatistics) -> ColumnStatistics:
    return ColumnStatistics(
        old.nulls + new.nulls,
        _extreme(min, old.minimum, new.minimum),
        _extreme(max, old.maximum, new.maximum),
    )


def _extreme(pick: Any, old: Scalar, new: Scalar) -> Scalar:
    return new if old is None else old if new is None else pick(old, new)


def _scalar(value: Any) -> Scalar:
    return value if value is None or isinstance(value, int | float) else value.isoformat()
