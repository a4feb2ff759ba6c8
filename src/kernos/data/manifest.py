"""A dataset version as data: what it holds and which Parquet blobs hold it. Light to import.

The canonical JSON of a manifest is the dataset's blob and its digest names the version, so a manifest says
nothing of time or place: the same bytes under the same contract are the same version.
"""

from __future__ import annotations

import msgspec

from kernos.base import digests
from kernos.base.errors import CorruptError
from kernos.base.ids import Digest

Scalar = int | float | str | bool | None


class Part(msgspec.Struct, frozen=True):
    """One zstd Parquet file."""

    digest: Digest
    rows: int
    size_bytes: int


class ColumnStatistics(msgspec.Struct, frozen=True):
    """Order-free figures, so that they are the same however many threads computed them."""

    nulls: int
    minimum: Scalar = None
    """Of the values that are not null; ISO 8601 for times, None for strings and booleans."""
    maximum: Scalar = None


class DatasetManifest(msgspec.Struct, frozen=True):
    columns: dict[str, str]
    """Column -> polars dtype. The order of the columns is that of the Parquet files."""
    rows: int
    parts: list[Part]
    statistics: dict[str, ColumnStatistics]
    source: str
    """What the rows came as: `csv`, `json lines`, `parquet`, or `append`."""
    source_sha256: str = ""
    """Hex digest of the source file; empty for an append."""
    base: str = ""
    """Digest of the manifest this one was appended to."""
    format: int = 1

    @property
    def digest(self) -> Digest:
        """The version's name."""
        return digests.of_value(self)

    @property
    def size_bytes(self) -> int:
        return sum(part.size_bytes for part in self.parts)


def decode(data: bytes) -> DatasetManifest:
    """The manifest behind its canonical bytes; CorruptError where they are something else."""
    try:
        manifest = msgspec.json.decode(data, type=DatasetManifest)
    except msgspec.DecodeError as error:
        raise CorruptError(
            f"These bytes are not a dataset's manifest: {error}.", hint="Run `kernos audit verify`."
        ) from error
    if manifest.format != 1:
        raise CorruptError(
            f"The dataset has format {manifest.format}; this Kernos reads format 1.", hint="Upgrade Kernos."
        )
    return manifest
