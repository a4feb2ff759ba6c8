from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from kernos.base import digests
from kernos.base.errors import CorruptError
from kernos.base.ids import Digest
from kernos.data.manifest import ColumnStatistics, DatasetManifest, Part, decode

PART = Part(Digest("sha256:" + "0" * 64), 2, 100)
MANIFEST = DatasetManifest(
    {"b": "Int64", "a": "String"},
    2,
    [PART],
    {"b": ColumnStatistics(0, 1, 2.5), "a": ColumnStatistics(1)},
    "csv",
)


def test_the_canonical_bytes_come_back_as_the_same_manifest() -> None:
    data = digests.canonical(MANIFEST)

    assert decode(data) == MANIFEST
    assert decode(data).digest == digests.of_bytes(data) == MANIFEST.digest


def test_the_order_of_columns_is_no_part_of_the_digest() -> None:
    turned = msgspec.structs.replace(MANIFEST, columns={"a": "String", "b": "Int64"})

    assert turned.digest == MANIFEST.digest


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[1]", b"PAR1", digests.canonical(MANIFEST).replace(b'"format":1', b'"format":2')]
)
def test_other_bytes_are_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptError) as caught:
        decode(data)

    assert caught.value.hint


def test_it_loads_no_data_library() -> None:
    program = "import sys, kernos.data.manifest; sys.exit(bool({'polars', 'numpy'} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
