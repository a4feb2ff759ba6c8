from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from kernos.base.errors import CorruptError, RefusedError
from kernos.security.keys import PRIVATE_NAME, PUBLIC_NAME, SigningKey, VerifyKey, load_or_create_secret


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_key_is_made_once_and_found_again(tmp_path: Path) -> None:
    first = SigningKey.load_or_create(tmp_path / "keys")
    again = SigningKey.load_or_create(tmp_path / "keys")

    assert first.key_id == again.key_id
    assert first.sign(b"x") == again.sign(b"x")
    assert mode(tmp_path / "keys" / PRIVATE_NAME) == 0o600
    assert (tmp_path / "keys" / PUBLIC_NAME).read_text() == first.public_pem


def test_the_public_half_verifies_and_has_the_same_id(tmp_path: Path) -> None:
    key = SigningKey.load_or_create(tmp_path)

    public = VerifyKey.from_pem(key.public_pem)

    assert public.key_id == key.key_id
    assert public.key_id.startswith("ed25519:")
    assert len(public.key_id) == len("ed25519:") + 16
    assert public.verify(b"data", key.sign(b"data"))


def test_the_signature_is_rfc_8032s() -> None:
    # RFC 8032, section 7.1, test 1: the empty message.
    secret = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    expected = (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )

    assert SigningKey(Ed25519PrivateKey.from_private_bytes(secret)).sign(b"").hex() == expected


@pytest.mark.parametrize("signature", [b"", b"x" * 63, b"x" * 64, b"x" * 65, b"\0" * 64])
def test_a_made_up_signature_is_none(tmp_path: Path, signature: bytes) -> None:
    assert not SigningKey.load_or_create(tmp_path).verify_key.verify(b"data", signature)


def test_a_signature_fits_one_text_and_one_key(tmp_path: Path) -> None:
    key, other = SigningKey.load_or_create(tmp_path / "a"), SigningKey.load_or_create(tmp_path / "b")

    assert not key.verify_key.verify(b"other", key.sign(b"data"))
    assert not other.verify_key.verify(b"data", key.sign(b"data"))


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660, 0o700 | 0o010])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (SigningKey.load_or_create, PRIVATE_NAME),
        (lambda folder: load_or_create_secret(folder / "secret"), "secret"),
    ],
)
def test_a_secret_that_others_may_touch_is_refused(
    tmp_path: Path, make: Callable[[Path], object], name: str, bits: int
) -> None:
    make(tmp_path)
    (tmp_path / name).chmod(bits)

    with pytest.raises(RefusedError) as caught:
        make(tmp_path)

    assert "chmod 600" in caught.value.hint


def test_a_link_in_place_of_a_key_is_refused(tmp_path: Path) -> None:
    SigningKey.load_or_create(tmp_path / "real")
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / PRIVATE_NAME).symlink_to(tmp_path / "real" / PRIVATE_NAME)

    with pytest.raises(RefusedError):
        SigningKey.load_or_create(tmp_path / "keys")


def test_a_folder_in_place_of_a_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / PRIVATE_NAME).mkdir(mode=0o700)

    with pytest.raises(RefusedError):
        SigningKey.load_or_create(tmp_path)


def other_kind(private: bool) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    if private:
        return key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


@pytest.mark.parametrize(
    "data", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", other_kind(True)]
)
def test_a_file_that_is_no_key_is_corrupt_and_stays(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / PRIVATE_NAME
    path.write_bytes(data)
    path.chmod(0o600)

    with pytest.raises(CorruptError):
        SigningKey.load_or_create(tmp_path)

    assert path.read_bytes() == data


@given(st.text(max_size=200))
def test_no_text_is_taken_for_a_public_key(text: str) -> None:
    with pytest.raises(CorruptError):
        VerifyKey.from_pem(text)


def test_a_private_key_or_another_kind_is_no_public_key(tmp_path: Path) -> None:
    SigningKey.load_or_create(tmp_path)

    for pem in ((tmp_path / PRIVATE_NAME).read_text(), other_kind(False).decode()):
        with pytest.raises(CorruptError):
            VerifyKey.from_pem(pem)


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    secret = load_or_create_secret(tmp_path / "secret")

    assert len(secret) == 32
    assert load_or_create_secret(tmp_path / "secret") == secret
    assert load_or_create_secret(tmp_path / "other") != secret
    assert mode(tmp_path / "secret") == 0o600


def test_a_cut_secret_is_corrupt(tmp_path: Path) -> None:
    load_or_create_secret(tmp_path / "secret")
    (tmp_path / "secret").write_bytes(b"short")

    with pytest.raises(CorruptError):
        load_or_create_secret(tmp_path / "secret")
