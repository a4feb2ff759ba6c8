"""Datasets that the loop itself writes: made of a table, grown by a table, told to the catalog."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from kernos.base.digests import canonical
from kernos.catalog.blobs import Blobs
from kernos.data.dataset import append, scan
from kernos.data.ingest import ingest
from kernos.data.manifest import DatasetManifest

MOST_PARTS = 200
"""Many small parts are slow to open; beyond this they are written again as one."""


def extend(before: DatasetManifest | None, rows: pl.DataFrame, blobs: Blobs, folder: Path) -> DatasetManifest:
    """`before` with `rows` after it. Columns that only one side has are filled with null, or dropped from `rows`."""
    if before is None:
        return _written(rows, blobs, folder)
    schema = scan(before, blobs).collect_schema()
    aligned = rows.select(
        (pl.col(name) if name in rows.columns else pl.lit(None, dtype=dtype).alias(name)).cast(
            dtype, strict=False
        )
        for name, dtype in schema.items()
    )
    if len(before.parts) >= MOST_PARTS:
        return _written(pl.concat([scan(before, blobs).collect(), aligned]), blobs, folder)
    return append(before, aligned, [], blobs, folder)


def described(manifest: DatasetManifest, blobs: Blobs) -> dict[str, Any]:
    """What a worker's result says of a dataset, its manifest stored."""
    return {
        "digest": blobs.put(canonical(manifest)),
        "rows": manifest.rows,
        "size_bytes": manifest.size_bytes,
        "columns": manifest.columns,
        "parts": [part.digest for part in manifest.parts],
        "source_sha256": manifest.source_sha256,
        "newest_part_rows": manifest.parts[-1].rows if manifest.parts else 0,
    }


def _written(rows: pl.DataFrame, blobs: Blobs, folder: Path) -> DatasetManifest:
    file = folder / "rows.parquet"
    rows.write_parquet(file)
    manifest = ingest(file, [], blobs, folder)
    file.unlink()
    return manifest
