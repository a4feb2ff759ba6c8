from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from kernos.base.digests import canonical, of_bytes
from kernos.models.package import CONTENTS, PackageManifest, seal, statement
from kernos.runtime.signature import Signature, TensorSpec
from kernos.security.dsse import sign_statement
from kernos.security.keys import PUBLIC_NAME, SigningKey


@pytest.fixture
def package(tmp_path: Path) -> Path:
    key = SigningKey.load_or_create(tmp_path / "home" / "keys")
    signature = Signature("classification", [TensorSpec("X", "FP32", [-1, 1], ["bmi"])], [], [0, 1])
    manifest = PackageManifest(
        1, "diabetes", of_bytes(b"model"), signature, "y", of_bytes(b"c"), ["/data/d@1"], 0, {"accuracy": 0.7}, {"C": "1"}, "0.1"
    )  # fmt: skip
    files = dict.fromkeys(CONTENTS, b"{}") | {
        "model.onnx": b"model",
        "manifest.json": canonical(manifest),
        "gates.json": msgspec.json.encode([{"rule": "accuracy >= 0.65", "passed": True}]),
    }
    digests = {name: of_bytes(data) for name, data in files.items()}
    target = tmp_path / "diabetes.kpkg"
    seal(target, files, sign_statement(statement(digests, manifest), key))
    return target


def test_a_package_of_this_home_is_intact(kernos: Any, package: Path) -> None:
    done = kernos("package", "verify", str(package))

    assert done.code == 0
    assert done.out.startswith("intact   signed by ed25519:")
    assert kernos("package", "verify", str(package), "--json").json["ok"]


def test_show_tells_what_is_in_it(kernos: Any, package: Path) -> None:
    out = kernos("package", "show", str(package)).out

    assert "/data/d@1" in out
    assert "accuracy >= 0.65" in out
    assert kernos("package", "show", str(package), "--json").json["manifest"]["app"] == "diabetes"


def test_a_foreign_key_refuses_it(kernos: Any, package: Path, tmp_path: Path) -> None:
    SigningKey.load_or_create(tmp_path / "other")

    done = kernos("package", "verify", str(package), "--key", str(tmp_path / "other" / PUBLIC_NAME))

    assert done.code == 6


def test_a_changed_byte_is_found(kernos: Any, package: Path) -> None:
    data = bytearray(package.read_bytes())
    data[data.index(b"model")] ^= 1
    package.write_bytes(bytes(data))

    assert kernos("package", "verify", str(package)).code in {6, 9}


def test_what_is_missing_is_told(kernos: Any, package: Path, tmp_path: Path) -> None:
    assert kernos("package", "verify", str(tmp_path / "none.kpkg")).code == 3
    assert kernos("package", "verify", str(package), "--key", str(tmp_path / "none.pem")).code == 3
