"""The archive: one spelling, readable by every unzip, and nothing else is read."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.base.digests import of_bytes
from kernos.base.errors import CorruptError, LimitError, RefusedError
from kernos.models import archive

names = st.text("abcdefghijklmnopqrstuvwxyz.-_0123456789", min_size=1, max_size=20)


def scan(data: bytes) -> dict[str, archive.Entry]:
    entries, digest = archive.scan(io.BytesIO(data), lambda name: True)
    assert digest == of_bytes(data)
    return {entry.name: entry for entry in entries}


@given(st.dictionaries(names, st.binary(max_size=200), max_size=8))
def test_what_is_packed_is_scanned(files: dict[str, bytes]) -> None:
    data = archive.pack(files)

    entries = scan(data)

    assert {n: data[e.offset : e.offset + e.size_bytes] for n, e in entries.items()} == files
    assert {name: entry.digest for name, entry in entries.items()} == {
        n: of_bytes(d) for n, d in files.items()
    }


@given(st.dictionaries(names, st.binary(max_size=200), max_size=8))
def test_any_unzip_reads_it(files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(io.BytesIO(archive.pack(files))) as opened:
        assert opened.testzip() is None
        assert {name: opened.read(name) for name in opened.namelist()} == files


def test_order_of_the_files_does_not_matter() -> None:
    assert archive.pack({"a": b"1", "b": b"2"}) == archive.pack({"b": b"2", "a": b"1"})


def test_the_bytes_are_the_same_for_ever() -> None:
    data = archive.pack({"card.md": b"# card", "model.onnx": bytes(range(256))})

    assert of_bytes(data) == "sha256:4b2c743f05ebfdafde6edf12c799a57848f4fcd5c7af60f0ac2a6fc47b1a4399"


@given(st.binary(max_size=300))
def test_any_bytes_are_an_archive_or_an_error(data: bytes) -> None:
    with pytest.raises((CorruptError, RefusedError, LimitError)):
        scan(b"PK\x03\x04" + data)


def test_what_is_cut_off_or_damaged_or_followed_by_more_is_told() -> None:
    data = archive.pack({"a": b"12345", "b": b"67890"})

    for size in range(len(data)):
        with pytest.raises(CorruptError):
            scan(data[:size])
    with pytest.raises(CorruptError, match="does not fit its checksum"):
        scan(data.replace(b"12345", b"12346"))
    with pytest.raises(RefusedError, match="directory"):
        scan(data + b"\0")


def test_an_unexpected_name_is_refused() -> None:
    with pytest.raises(RefusedError, match=r"no place for a file '\.\./x'"):
        archive.scan(io.BytesIO(archive.pack({"../x": b""})), lambda name: name == "x")


def test_too_many_files_and_too_many_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    many = {f"{index:03}": b"" for index in range(archive.FILES_LIMIT + 1)}
    with pytest.raises(LimitError):
        archive.pack(many)

    data = archive.pack({"a": b"x" * 60, "b": b"y" * 60})
    monkeypatch.setattr(archive, "TOTAL_LIMIT_BYTES", 100)
    with pytest.raises(LimitError):
        archive.pack({"a": b"x" * 101})
    with pytest.raises(LimitError):
        scan(data)

    monkeypatch.setattr(archive, "FILES_LIMIT", 1)
    with pytest.raises(RefusedError, match="too many files"):
        scan(data)


def test_an_archive_made_by_another_tool_is_refused(tmp_path: Path) -> None:
    for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path = tmp_path / "other.zip"
        with zipfile.ZipFile(path, "w", kind) as made:
            made.writestr("a", b"0" * 100)
        with pytest.raises(RefusedError, match="not stored as plain bytes"):
            scan(path.read_bytes())


def test_a_name_of_endless_length_is_refused() -> None:
    with pytest.raises(RefusedError, match="too long a name"):
        scan(archive.pack({"a" * (archive.NAME_LIMIT_BYTES + 1): b""}))
