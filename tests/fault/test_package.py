"""Attacks on a package: each is refused, whatever the attacker can write but not sign."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from kernos.base.digests import canonical, of_bytes
from kernos.base.errors import CorruptError, KernosError, LimitError, RefusedError
from kernos.models import archive
from kernos.models.package import CONTENTS, SIGNATURE, PackageManifest, open_package, seal, statement
from kernos.runtime.signature import Signature
from kernos.security.dsse import sign_statement
from kernos.security.keys import SigningKey

REFUSALS = (RefusedError, CorruptError, LimitError)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return SigningKey.load_or_create(tmp_path_factory.mktemp("keys"))


def manifest(model: bytes = b"") -> PackageManifest:
    return PackageManifest(
        1, "a", of_bytes(model), Signature("regression", [], []), "y", of_bytes(b""), [], 0, {}, {}, "0.1.0"
    )


def contents(model: bytes = b"weights" * 20) -> dict[str, bytes]:
    files = {name: name.encode() for name in CONTENTS}
    return files | {"model.onnx": model, "manifest.json": canonical(manifest(model))}


def envelope(files: dict[str, bytes], key: SigningKey) -> dict[str, Any]:
    return sign_statement(statement({n: of_bytes(data) for n, data in files.items()}, manifest()), key)


@pytest.fixture
def good(tmp_path: Path, key: SigningKey) -> Path:
    path = tmp_path / "good.kpkg"
    seal(path, contents(), envelope(contents(), key))
    open_package(path, [key.verify_key])
    return path


def refused(path: Path, data: bytes, key: SigningKey) -> KernosError:
    path.write_bytes(data)
    with pytest.raises(REFUSALS) as caught:
        open_package(path, [key.verify_key])
    assert caught.value.message
    return caught.value


def rewritten(good: bytes, *, rename: dict[str, str] | None = None, kind: int = zipfile.ZIP_STORED) -> bytes:
    """The package as another tool would write it, its entries renamed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(good)) as old, zipfile.ZipFile(out, "w", kind) as new:
        for info in old.infolist():
            new.writestr((rename or {}).get(info.filename, info.filename), old.read(info))
    return out.getvalue()


def test_a_flipped_bit_anywhere_is_found(good: Path, key: SigningKey) -> None:
    data = good.read_bytes()

    for place in range(len(data)):
        spoilt = bytearray(data)
        spoilt[place] ^= 1 << place % 8
        refused(good, bytes(spoilt), key)


def test_every_truncation_is_found(good: Path, key: SigningKey) -> None:
    data = good.read_bytes()

    for size in range(0, len(data), 7):
        refused(good, data[:size], key)


def test_bytes_before_and_after_are_found(good: Path, key: SigningKey) -> None:
    data = good.read_bytes()

    for spoilt in (b"#!/bin/sh\n" + data, data + b"\0", data + data, b"\0" * 22, b"PK\x05\x06" + b"\0" * 18):
        refused(good, spoilt, key)


def test_an_empty_file_is_no_package(good: Path, key: SigningKey) -> None:
    assert isinstance(refused(good, b"", key), CorruptError)


def test_a_fitting_checksum_does_not_replace_the_signature(good: Path, key: SigningKey) -> None:
    files = contents() | {"model.onnx": b"WEIGHTS" * 20}

    spoilt = archive.pack(files | {SIGNATURE: canonical(envelope(contents(), key))})

    assert "other files" in refused(good, spoilt, key).message


def test_each_file_may_neither_be_added_nor_dropped(good: Path, key: SigningKey) -> None:
    whole = contents() | {SIGNATURE: canonical(envelope(contents(), key))}

    refused(good, archive.pack(whole | {"notes.txt": b"extra"}), key)
    for name in whole:
        refused(good, archive.pack({n: d for n, d in whole.items() if n != name}), key)


@pytest.mark.parametrize(
    "name", ["../card.md", "/etc/passwd", "a/../card.md", "card.md\0", "C:\\card.md", "cärd.md", ""]
)
def test_names_that_lead_elsewhere_are_refused(good: Path, key: SigningKey, name: str) -> None:
    whole = contents() | {SIGNATURE: canonical(envelope(contents(), key))}

    refused(good, archive.pack({n if n != "card.md" else name: d for n, d in whole.items()}), key)
    if name and "\0" not in name:
        refused(good, rewritten(archive.pack(whole), rename={"card.md": name}), key)


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_a_second_file_of_the_same_name_is_refused(good: Path, key: SigningKey) -> None:
    data = good.read_bytes()
    out = io.BytesIO(data)
    with zipfile.ZipFile(out, "a") as appended:
        appended.writestr("model.onnx", b"other weights")
    refused(good, out.getvalue(), key)

    entries, _ = archive.scan(io.BytesIO(data), lambda name: True)
    model = next(entry for entry in entries if entry.name == "model.onnx")
    start = model.offset - 30 - len("model.onnx")
    record = data[start : model.offset + model.size_bytes]
    refused(good, data[:start] + record + data[start:], key)


def test_a_link_is_refused(good: Path, key: SigningKey) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            made = zipfile.ZipInfo(info.filename, info.date_time)
            made.create_system = 3
            made.external_attr = (stat.S_IFLNK if info.filename == "model.onnx" else stat.S_IFREG) << 16
            new.writestr(made, b"/etc/passwd" if info.filename == "model.onnx" else old.read(info))

    refused(good, out.getvalue(), key)


def test_a_compressed_bomb_is_refused_unread(good: Path, key: SigningKey) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("card.md", b"\0" * 50_000_000)

    assert "plain bytes" in refused(good, out.getvalue(), key).message


def test_a_size_that_lies_is_refused(good: Path, key: SigningKey) -> None:
    data = bytearray(good.read_bytes())
    for size in (0xFFFFFFFF, archive.TOTAL_LIMIT_BYTES + 1, 100_000):
        data[18:26] = struct.pack("<2I", size, size)
        refused(good, bytes(data), key)


def test_another_tools_archive_is_refused_with_a_true_signature(good: Path, key: SigningKey) -> None:
    data = good.read_bytes()

    refused(good, rewritten(data), key)
    refused(good, rewritten(data, kind=zipfile.ZIP_DEFLATED), key)


def test_another_key_is_refused(good: Path, key: SigningKey, tmp_path: Path) -> None:
    stranger = SigningKey.load_or_create(tmp_path / "stranger")
    seal(good, contents(), envelope(contents(), stranger))

    with pytest.raises(RefusedError):
        open_package(good, [key.verify_key])
    with pytest.raises(RefusedError):
        open_package(good, [])
    assert open_package(good, [key.verify_key, stranger.verify_key]).key_id == stranger.key_id


def test_a_signature_of_another_package_is_refused(good: Path, key: SigningKey) -> None:
    other = contents(b"other weights")
    seal(good, contents(), envelope(other, key))

    assert "other files" in refused(good, good.read_bytes(), key).message


def test_a_signature_of_something_else_is_refused(good: Path, key: SigningKey) -> None:
    made = statement({name: of_bytes(data) for name, data in contents().items()}, manifest())
    seal(good, contents(), sign_statement(made | {"predicateType": "urn:kernos:report:v1"}, key))

    assert "not a package" in refused(good, good.read_bytes(), key).message


def test_two_signatures_are_refused(good: Path, key: SigningKey) -> None:
    once = envelope(contents(), key)
    seal(good, contents(), once | {"signatures": once["signatures"] * 2})

    assert "several" in refused(good, good.read_bytes(), key).message


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"{}", b"[" * 100_000], ids=len)
def test_a_signature_that_is_none_is_refused(good: Path, key: SigningKey, data: bytes) -> None:
    refused(good, archive.pack(contents() | {SIGNATURE: data}), key)
