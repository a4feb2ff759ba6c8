"""What changed between two versions: columns, and rows as a multiset. Parts they share are never read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import polars as pl

from kernos.base.ids import Digest
from kernos.data.manifest import DatasetManifest
from kernos.data.rows import Hashes, row_hashes

if TYPE_CHECKING:
    from kernos.catalog.blobs import Blobs

_SAMPLE_ROWS = 5


class DatasetDiff(msgspec.Struct, frozen=True):
    columns_added: dict[str, str]
    """Column -> type."""
    columns_removed: dict[str, str]
    columns_changed: dict[str, tuple[str, str]]
    """Column -> (old type, new type)."""
    rows_added: int
    """By content, over the columns that both versions have with one type. A changed row counts in both."""
    rows_removed: int
    added: list[dict[str, Any]]
    """The first few of them; JSON values."""
    removed: list[dict[str, Any]]


def diff(a: DatasetManifest, b: DatasetManifest, blobs: Blobs) -> DatasetDiff:
    """From `a` to `b`. Reads changed parts one at a time; holds 8 bytes a row of them."""
    shared = [name for name, dtype in a.columns.items() if b.columns.get(name) == dtype]
    old, new = _changed_parts(a, b)
    before, after = _hashes(old, shared, blobs), _hashes(new, shared, blobs)
    gone, come = _surplus(before, after), _surplus(after, before)
    return DatasetDiff(
        columns_added={name: dtype for name, dtype in b.columns.items() if name not in a.columns},
        columns_removed={name: dtype for name, dtype in a.columns.items() if name not in b.columns},
        columns_changed={
            name: (dtype, b.columns[name])
            for name, dtype in a.columns.items()
            if name in b.columns and b.columns[name] != dtype
        },
        rows_added=sum(come.values()),
        rows_removed=sum(gone.values()),
        added=_samples(new, come, shared, blobs),
        removed=_samples(old, gone, shared, blobs),
    )


def _changed_parts(a: DatasetManifest, b: DatasetManifest) -> tuple[list[Digest], list[Digest]]:
    old, new = Counter(part.digest for part in a.parts), Counter(part.digest for part in b.parts)
    return list((old - new).elements()), list((new - old).elements())


def _hashes(parts: Sequence[Digest], columns: Sequence[str], blobs: Blobs) -> Hashes:
    return np.concatenate(
        [np.empty(0, np.uint64), *(row_hashes(_read(digest, columns, blobs)) for digest in parts)]
    )


def _surplus(of: Hashes, over: Hashes) -> dict[int, int]:
    """Row hash -> how many more there are in `of` than in `over`."""
    values, counts = np.unique(of, return_counts=True)
    others, their_counts = np.unique(over, return_counts=True)
    place = np.searchsorted(others, values)
    found = place < len(others)
    found[found] = others[place[found]] == values[found]
    counts[found] -= their_counts[place[found]]
    more = counts > 0
    return dict(zip(values[more].tolist(), counts[more].tolist(), strict=True))


def _samples(
    parts: Sequence[Digest], wanted: dict[int, int], columns: Sequence[str], blobs: Blobs
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    left = dict(wanted)
    for digest in parts:
        if len(rows) == min(_SAMPLE_ROWS, sum(wanted.values())):
            break
        frame = _read(digest, columns, blobs)
        hashes = row_hashes(frame)
        for at in np.flatnonzero(np.isin(hashes, list(wanted))):
            if len(rows) < _SAMPLE_ROWS and left[int(hashes[at])]:
                left[int(hashes[at])] -= 1
                rows.append(msgspec.to_builtins(frame.row(int(at), named=True)))
    return rows


def _read(digest: Digest, columns: Sequence[str], blobs: Blobs) -> pl.DataFrame:
    return pl.read_parquet(blobs.path(digest), columns=list(columns), glob=False)
