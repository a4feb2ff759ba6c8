"""Which rows are held out is decided by each row's content alone.

So the split survives appends and any order of rows, equal rows are always on one side (no leak through
duplicates), and it is the same on every machine and in every version.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import polars as pl

from kernos.base.errors import InvalidError
from kernos.data.rows import mix, row_hashes


def held_out(frame: pl.DataFrame, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """True for the rows held out, shape [rows]. Splits with different seeds are independent of each other.

    Floats count as float32 holds them: a row that comes back from service, where inputs are float32, falls on
    the side of the row it once was. `share` is the expected share of distinct rows; the actual one varies as a binomial does.
    """
    if not 0.0 <= share <= 1.0:
        raise InvalidError(f"A held-out share of {share} is not a share.", hint="Give a number from 0 to 1.")
    key = int.from_bytes(hashlib.blake2b(str(seed).encode(), digest_size=8).digest(), "little")
    served = frame.with_columns(pl.col(pl.Float64).cast(pl.Float32))
    uniform = (mix(row_hashes(served) ^ np.uint64(key)) >> np.uint64(11)) * 2.0**-53
    return uniform < share
