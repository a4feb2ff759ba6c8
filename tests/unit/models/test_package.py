"""A package opens as it was sealed, for those who trust its signer, and for nobody else."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kernos.base.digests import canonical, of_bytes, of_file
from kernos.base.errors import CorruptError, LimitError, NotFoundError, RefusedError
from kernos.models import archive, package
from kernos.models.package import CONTENTS, PackageManifest, open_package, seal, statement
from kernos.runtime.signature import Signature, TensorSpec
from kernos.security.dsse import sign_statement
from kernos.security.keys import SigningKey

MODEL = b"onnx bytes"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return SigningKey.load_or_create(tmp_path_factory.mktemp("keys"))


def manifest(**changes: Any) -> PackageManifest:
    made = PackageManifest(
        format=1,
        app="diabetes",
        model=of_bytes(MODEL),
        signature=Signature(
            "classification",
            [TensorSpec("input", "FP32", [-1, 2], ["age", "bmi"])],
            [TensorSpec("label", "INT64", [-1])],
            [0, 1],
        ),
        target="progressed",
        code=of_bytes(b"code"),
        data=["/data/diabetes@1"],
        created_ms=1_790_000_000_000,
        metrics={"accuracy": 0.7},
        params={"C": "1.0"},
        kernos="0.1.0",
    )
    return msgspec.structs.replace(made, **changes)


def contents(made: PackageManifest | None = None) -> dict[str, bytes]:
    files = {name: f"content of {name}".encode() for name in CONTENTS}
    return files | {"manifest.json": canonical(made or manifest()), "model.onnx": MODEL}


def digests(files: Mapping[str, bytes]) -> dict[str, Any]:
    return {name: of_bytes(data) for name, data in files.items()}


def sealed(path: Path, key: SigningKey, files: dict[str, bytes] | None = None) -> Path:
    files = contents() if files is None else files
    seal(path, files, sign_statement(statement(digests(files), manifest()), key))
    return path


def test_a_sealed_package_opens_with_all_it_holds(tmp_path: Path, key: SigningKey) -> None:
    opened = open_package(sealed(tmp_path / "a.kpkg", key), [key.verify_key])

    assert opened.manifest == manifest()
    assert opened.key_id == key.key_id
    assert opened.digest == of_file(tmp_path / "a.kpkg")
    assert opened.files == digests(contents())
    assert {name: opened.read(name) for name in CONTENTS} == contents()


def test_the_same_content_gives_the_same_bytes(tmp_path: Path, key: SigningKey) -> None:
    one, two = sealed(tmp_path / "a.kpkg", key), sealed(tmp_path / "b.kpkg", key)

    assert one.read_bytes() == two.read_bytes()


def test_any_unzip_reads_a_package(tmp_path: Path, key: SigningKey) -> None:
    with zipfile.ZipFile(sealed(tmp_path / "a.kpkg", key)) as opened:
        assert opened.read("model.onnx") == MODEL
        assert len(opened.namelist()) == 8


def test_the_statement_names_every_file_and_the_gates() -> None:
    made = statement(digests(contents()), manifest())

    assert made["_type"] == "https://in-toto.io/Statement/v1"
    assert {s["name"]: "sha256:" + s["digest"]["sha256"] for s in made["subject"]} == digests(contents())
    assert made["predicate"]["gates"] == of_bytes(b"content of gates.json")
    assert made["predicate"]["metrics"] == {"accuracy": 0.7}


def test_a_missing_or_unknown_file_is_not_sealed(tmp_path: Path) -> None:
    files = contents()
    with pytest.raises(RefusedError, match=r"unknown \['notes.txt'\]"):
        seal(tmp_path / "a.kpkg", files | {"notes.txt": b""}, {})
    files.pop("card.md")
    with pytest.raises(RefusedError, match=r"missing \['card.md'\]"):
        seal(tmp_path / "a.kpkg", files, {})
    with pytest.raises(RefusedError):
        statement(digests(files), manifest())
    assert list(tmp_path.iterdir()) == []


def test_a_document_of_endless_size_is_not_sealed_nor_opened(
    tmp_path: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sealed(tmp_path / "a.kpkg", key)
    monkeypatch.setattr(package, "_DOCUMENT_LIMIT_BYTES", 10)

    with pytest.raises(LimitError, match=r"card\.md"):
        seal(path, contents(), {})
    with pytest.raises(LimitError, match=r"card\.md"):
        open_package(path, [key.verify_key])


def test_a_package_that_changes_after_it_was_opened_is_told(tmp_path: Path, key: SigningKey) -> None:
    path = sealed(tmp_path / "a.kpkg", key)
    opened = open_package(path, [key.verify_key])
    path.write_bytes(path.read_bytes().replace(MODEL, b"ONNX BYTES"))

    with pytest.raises(CorruptError, match="has changed"):
        opened.read("model.onnx")
    path.unlink()
    with pytest.raises(NotFoundError):
        opened.read("model.onnx")


def test_a_package_that_is_absent_is_not_found(tmp_path: Path, key: SigningKey) -> None:
    for path in (tmp_path / "none.kpkg", tmp_path):
        with pytest.raises(NotFoundError):
            open_package(path, [key.verify_key])


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (manifest(model=of_bytes(b"another")), "another model"),
        (manifest(format=2), "format 2"),
    ],
)
def test_a_signed_manifest_must_fit(
    tmp_path: Path, key: SigningKey, made: PackageManifest, words: str
) -> None:
    path = sealed(tmp_path / "a.kpkg", key, contents(made))

    with pytest.raises(RefusedError, match=words):
        open_package(path, [key.verify_key])


def test_a_signed_manifest_must_be_one(tmp_path: Path, key: SigningKey) -> None:
    path = sealed(tmp_path / "a.kpkg", key, contents() | {"manifest.json": b'{"format": 1}'})

    with pytest.raises(RefusedError, match="manifest is not one"):
        open_package(path, [key.verify_key])


def test_a_package_without_a_signature_or_with_another_is_refused(tmp_path: Path, key: SigningKey) -> None:
    made = statement(digests(contents()), manifest())
    once = sign_statement(made, key)
    other = sign_statement(made | {"subject": []}, key)
    strange = sign_statement(made | {"predicateType": "urn:other"}, key)
    twice = once | {"signatures": once["signatures"] * 2}
    path = tmp_path / "a.kpkg"

    path.write_bytes(archive.pack(contents()))
    with pytest.raises(RefusedError, match="not signed"):
        open_package(path, [key.verify_key])
    path.write_bytes(archive.pack(contents() | {package.SIGNATURE: b"{"}))
    with pytest.raises(RefusedError, match="not JSON"):
        open_package(path, [key.verify_key])
    for envelope, words in ((other, "other files"), (strange, "not a package"), (twice, "several")):
        seal(path, contents(), envelope)
        with pytest.raises(RefusedError, match=words):
            open_package(path, [key.verify_key])
