"""A file from outside becomes a dataset version, or an error that says what is wrong, where, what to do.

Memory does not grow with the file: polars streams it into zstd Parquet parts beside the final place, the
contract is checked on those, and only then do they become blobs. A refusal leaves nothing behind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import polars as pl

from kernos.base.errors import (
    ConflictError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from kernos.data import contract as contracts
from kernos.data import dataset, delimited
from kernos.data.explain import explained
from kernos.data.manifest import DatasetManifest, Part
from kernos.data.sources import Kind, infer, kind_of, scan, separator_of
from kernos.spec.manifest import Column

if TYPE_CHECKING:
    from kernos.catalog.blobs import Blobs


def ingest(source: Path, contract: Sequence[Column], blobs: Blobs, folder: Path) -> DatasetManifest:
    """Store the rows of `source` (.csv, .tsv, .jsonl, .ndjson, .parquet) and return their manifest.

    Columns that the contract names get its types, others are inferred. NaN counts as null unless the contract
    forbids nulls. `folder` holds temporary files and lies on the disk of `blobs`. Raises NotFoundError,
    InvalidError (not a readable table), RefusedError (breaks the contract), ConflictError (changed while it
    was read), UnavailableError (disk full).
    """
    kind = kind_of(source)
    before = _stamp(source)
    columns = delimited.header(source, separator_of(source)) if kind == "csv" else []
    with (
        TemporaryDirectory(dir=folder, prefix="ingest-") as work,
        ThreadPoolExecutor(1, thread_name_prefix="survey") as pool,
    ):
        sha256 = pool.submit(_survey, source, kind, len(columns))
        failure = _write(source, kind, contract, Path(work))
        hexadecimal = sha256.result()  # raises first: the file's shape explains a failure best
        if failure:
            raise explained(failure, source, kind, contract, columns) from failure
        if _stamp(source) != before:
            raise ConflictError(
                f"{source.name} changed while it was read.", hint="Wait for its writer, then try again."
            )
        return _keep(sorted(Path(work).iterdir()), source.name, contract, blobs, kind, hexadecimal)


def _keep(
    files: list[Path], name: str, contract: Sequence[Column], blobs: Blobs, kind: Kind, sha256: str
) -> DatasetManifest:
    """Check the written parts, then make them blobs."""
    rows = [pl.scan_parquet(file, glob=False).select(pl.len()).collect().item() for file in files]
    if not sum(rows):
        raise InvalidError(f"{name} holds no rows.", hint="Give at least one row.")
    frame = pl.scan_parquet(files, glob=False)
    contracts.refuse(contracts.check(frame, contract), name)
    return DatasetManifest(
        columns={column: str(dtype) for column, dtype in frame.collect_schema().items()},
        rows=sum(rows),
        statistics=dataset.statistics(frame),
        parts=[
            Part(blobs.put_file(file), count, file.stat().st_size)
            for file, count in zip(files, rows, strict=True)
        ],
        source=kind,
        source_sha256=sha256,
    )


def _stamp(source: Path) -> tuple[int, int]:
    try:
        with source.open("rb"):
            status = source.stat()
    except FileNotFoundError as error:
        raise NotFoundError(
            f"There is no file {source}.", hint="Check the path; it is seen from the kernel."
        ) from error
    except OSError as error:
        raise InvalidError(
            f"{source} cannot be read: {error.strerror}.", hint="Give a file that Kernos may read."
        ) from error
    if not status.st_size:
        raise InvalidError(f"{source.name} is empty.", hint="Give a file with rows.")
    return status.st_size, status.st_mtime_ns


def _survey(source: Path, kind: Kind, width: int) -> str:
    if kind == "csv":
        return delimited.survey(source, separator_of(source), width)
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(
    source: Path, kind: Kind, contract: Sequence[Column], work: Path
) -> pl.exceptions.PolarsError | None:
    """Write the parts into `work`; the parser's error, if any, is returned to be explained."""
    types = {column.name: contracts.dtype_of(column) for column in contract}
    try:
        try:
            _sink(scan(source, kind, types), contract, work)
        except (pl.exceptions.ComputeError, pl.exceptions.InvalidOperationError):
            if kind != "csv":
                raise
            _sink(scan(source, kind, infer(source, types) | types), contract, work)
    except pl.exceptions.PolarsError as error:
        return error
    except OSError as error:
        raise UnavailableError(
            f"The parts cannot be written: {error}.", hint="Free some disk space."
        ) from error
    return None


def _sink(frame: pl.LazyFrame, contract: Sequence[Column], work: Path) -> None:
    for old in work.iterdir():
        old.unlink()
    dataset.without_nan(frame, contract).sink_parquet(
        pl.PartitionBy(work, max_rows_per_file=dataset.PART_ROWS),
        compression="zstd",
        compression_level=dataset.CODEC_LEVEL,
        row_group_size=dataset.ROW_GROUP_ROWS,
        engine="streaming",
    )
