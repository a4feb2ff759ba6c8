"""Bad files: each is refused with a typed error that says what, where and what to do, and leaves nothing."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from kernos.base.errors import InvalidError, KernosError, NotFoundError, RefusedError, UnavailableError
from kernos.base.ids import Digest
from kernos.catalog.blobs import FileBlobs
from kernos.data.dataset import scan
from kernos.data.ingest import ingest
from kernos.spec.manifest import Column

CONTRACT = [Column("age", "int", low=0, high=120), Column("score", "float", nullable=True)]
GOOD = b"age,score\n30,1.5\n41,2.5\n"


class FullBlobs(FileBlobs):
    def put_file(self, path: Path) -> Digest:
        raise UnavailableError(f"The disk is full: {path.name}.", hint="Free some space.")


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


BAD: dict[str, tuple[str, bytes, type[KernosError], str]] = {
    "empty file": ("t.csv", b"", InvalidError, "empty"),
    "blank file": ("t.csv", b"\n\n", InvalidError, "empty"),
    "header only": ("t.csv", b"age,score\n", InvalidError, "no rows"),
    "short row": ("t.csv", b"age,score\n30,1\n41\n", InvalidError, "line 3 has 1 fields"),
    "long row": ("t.csv", b"age,score\n30,1\n41,2,3\n", InvalidError, "line 3 has 3 fields"),
    "short and long row": ("t.csv", b"age,score\n30\n41,2,3\n", InvalidError, "line 2 has 1 fields"),
    "blank line": ("t.csv", b"age,score\n30,1\n\n41,2\n", InvalidError, "line 3 is empty"),
    "open quote": ("t.csv", b'age,score\n30,"1\n41,2\n', InvalidError, "line 2 is never closed"),
    "latin 1": ("t.csv", b"age,score\n30,caf\xe9\n", InvalidError, "byte 16 in line 2"),
    "cut in a character": ("t.csv", "age,score\n30,1é".encode()[:-1], InvalidError, "byte 14 in line 2"),
    "utf 16": ("t.csv", "age,score\n30,1\n".encode("utf-16"), InvalidError, "not UTF-8"),
    "nul bytes": ("t.csv", b"age,score\n30,1\n\0\0\0", InvalidError, "byte 15 in line 3"),
    "binary": ("t.csv", random.Random(1).randbytes(5000), InvalidError, "not UTF-8"),
    "cr alone": ("t.csv", b"age,score\r30,1\r", InvalidError, "CR alone"),
    "semicolons": ("t.csv", b"age;score\n30;1\n", InvalidError, "commas"),
    "twin columns": ("t.csv", b"age,score,age\n30,1,2\n", InvalidError, "two columns named 'age'"),
    "nameless column": ("t.csv", b"age,score,\n30,1,2\n", InvalidError, "column 3 has no name"),
    "missing column": ("t.csv", b"agee,score\n30,1\n", RefusedError, "did you mean agee"),
    "wrong type": (
        "t.csv",
        b"age,score\n30,1\nold,2\n",
        RefusedError,
        "age is not of type int in 1 rows (row 2: 'old')",
    ),
    "fraction in an int": ("t.csv", b"age,score\n30.5,1\n", RefusedError, "row 1: '30.5'"),
    "null": (
        "t.csv",
        b"age,score\n30,1\n,2\n",
        RefusedError,
        "age is not given (null) in 1 rows (row 2: None)",
    ),
    "out of range": ("t.csv", b"age,score\n30,1\n-1,2\n", RefusedError, "age is not in 0..120"),
    "infinity": (
        "t.csv",
        b"age,score\n30,1\n31,-inf\n",
        RefusedError,
        "score is not finite in 1 rows (row 2: '-inf')",
    ),
    "giant cell": (
        "t.csv",
        b"age,score,note\n30,1,x\n31,2," + b"y" * 10**6 + b"\n",
        RefusedError,
        "note is not at most 65,536 characters long in 1 rows (row 2:",
    ),
    "giant header": ("t.csv", b"a" * 10**7, InvalidError, "not a header"),
    "giant line": ("t.csv", b"age,score\n" + b"1," * 10**6, InvalidError, "line 2 has"),
    "unknown kind": ("t.xlsx", GOOD, InvalidError, "not a table"),
    "no kind": ("t", GOOD, InvalidError, "not a table"),
    "not json": ("t.jsonl", b'{"age":1,"score":2}\nage=1\n', InvalidError, "line 2 is not JSON"),
    "json, no object": (
        "t.jsonl",
        b'{"age":1,"score":2}\n[1]\n',
        InvalidError,
        "line 2 is not a JSON object",
    ),
    "json, wrong type": ("t.jsonl", b'{"age":"x","score":2}\n', RefusedError, "line 1 gives age as 'x'"),
    "json, latin 1": ("t.jsonl", b'{"age":1,"score":2,"n":"\xe9"}\n', InvalidError, "line 1 is not JSON"),
    "json, nested": ("t.jsonl", b'{"age":1,"score":2,"n":[1]}\n', RefusedError, "'n' holds List"),
    "not parquet": ("t.parquet", GOOD, InvalidError, "not readable as parquet"),
    "cut parquet": (
        "t.parquet",
        parquet(pl.DataFrame({"age": range(5000)}))[:-100],
        InvalidError,
        "not readable",
    ),
    "no rows in parquet": (
        "t.parquet",
        parquet(pl.DataFrame({"age": [], "score": []})),
        InvalidError,
        "no rows",
    ),
    "parquet, wrong type": (
        "t.parquet",
        parquet(pl.DataFrame({"age": ["x"], "score": [1.0]})),
        RefusedError,
        "age: holds String, the contract says int",
    ),
    "parquet, infinity": (
        "t.parquet",
        parquet(pl.DataFrame({"age": [1], "score": [float("inf")]})),
        RefusedError,
        "score is not finite",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    file, data, kind, told = BAD[name]
    (tmp_path / file).write_bytes(data)
    blobs, work = FileBlobs(tmp_path / "blobs"), tmp_path / "work"
    work.mkdir()

    with pytest.raises(KernosError) as caught:
        ingest(tmp_path / file, CONTRACT, blobs, work)

    assert type(caught.value) is kind, caught.value
    assert told in caught.value.message
    assert caught.value.hint
    assert len(str(caught.value)) < 2000
    assert list(blobs.digests()) == []
    assert list(work.iterdir()) == []


def test_not_a_number_is_refused_unless_the_column_may_be_null(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"age,score\n30,NaN\n")
    (tmp_path / "work").mkdir()
    blobs = FileBlobs(tmp_path / "blobs")

    with pytest.raises(RefusedError, match=r"score is not a number \(NaN\) in 1 rows"):
        ingest(tmp_path / "t.csv", [Column("score", "float")], blobs, tmp_path / "work")
    manifest = ingest(tmp_path / "t.csv", CONTRACT, blobs, tmp_path / "work")

    assert manifest.statistics["score"].nulls == 1
    assert scan(manifest, blobs).collect()["score"].to_list() == [None]


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    blobs = FileBlobs(tmp_path / "blobs")

    with pytest.raises(NotFoundError, match="no file"):
        ingest(tmp_path / "none.csv", [], blobs, tmp_path)
    with pytest.raises(InvalidError, match="cannot be read"):
        ingest(tmp_path / "folder.csv", [], blobs, tmp_path)


def test_a_full_disk_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(GOOD)
    (tmp_path / "work").mkdir()

    with pytest.raises(UnavailableError):
        ingest(tmp_path / "t.csv", [], FullBlobs(tmp_path / "blobs"), tmp_path / "work")

    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize(
    "change", [lambda data, at: data[:at], lambda data, at: data[:at] + b"\xff" + data[at + 1 :]]
)
def test_a_file_damaged_anywhere_is_read_or_refused_but_never_breaks_kernos(
    tmp_path: Path, change: Callable[[bytes, int], bytes]
) -> None:
    (tmp_path / "work").mkdir()
    blobs = FileBlobs(tmp_path / "blobs")
    hints = []
    for at in range(len(GOOD)):
        (tmp_path / "t.csv").write_bytes(change(GOOD, at))
        try:
            ingest(tmp_path / "t.csv", CONTRACT, blobs, tmp_path / "work")
        except KernosError as error:
            hints.append(error.hint)

    assert hints
    assert all(hints)
