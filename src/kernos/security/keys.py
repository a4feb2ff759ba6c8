"""Ed25519 keys and the kernel's secret, on disk. A private key that others may read is refused, never used.

The one module that imports the cryptography library. Ed25519: RFC 8032; private keys are PKCS #8 PEM, public
ones SPKI PEM.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from kernos.base.errors import CorruptError, RefusedError
from kernos.base.files import write_atomic

PRIVATE_NAME = "signing.pem"
PUBLIC_NAME = "signing.pub.pem"

_SECRET_BYTES = 32
_LIMIT_BYTES = 64 * 2**10
"""A key file is a few hundred bytes."""


class VerifyKey:
    """A public key. `key_id` is `ed25519:` and the first 16 hex digits of SHA-256 over its 32 raw bytes."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key
        self.key_id = "ed25519:" + hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]

    @classmethod
    def from_pem(cls, text: str) -> VerifyKey:
        """CorruptError for anything but the PEM of an Ed25519 public key."""
        try:
            key = load_pem_public_key(text.encode())
        except Exception as error:  # the library raises many kinds for malformed input
            raise _not_a_key("public key") from error
        if not isinstance(key, Ed25519PublicKey):
            raise _not_a_key("public key")
        return cls(key)

    @property
    def pem(self) -> str:
        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def verify(self, data: bytes, signature: bytes) -> bool:
        try:
            self._key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """A private key, kept in `folder` with mode 0600; its public half lies beside it for everybody."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.verify_key = VerifyKey(key.public_key())

    @classmethod
    def load_or_create(cls, folder: Path) -> SigningKey:
        """The key of this folder, made at first use. RefusedError if others may read it, CorruptError if it
        is no key."""
        path = folder / PRIVATE_NAME
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            made = cls(Ed25519PrivateKey.generate())
            write_atomic(path, made._private_pem(), mode=0o600)
        key = cls._from_pem(_read_private(path))
        if not (folder / PUBLIC_NAME).exists():
            write_atomic(folder / PUBLIC_NAME, key.public_pem.encode())
        return key

    @property
    def key_id(self) -> str:
        return self.verify_key.key_id

    @property
    def public_pem(self) -> str:
        return self.verify_key.pem

    def sign(self, data: bytes) -> bytes:
        """64 bytes, the same for the same data."""
        return self._key.sign(data)

    @classmethod
    def _from_pem(cls, data: bytes) -> SigningKey:
        try:
            key = load_pem_private_key(data, password=None)
        except Exception as error:  # the library raises many kinds for malformed input
            raise _not_a_key("private key") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise _not_a_key("private key")
        return cls(key)

    def _private_pem(self) -> bytes:
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load_or_create_secret(path: Path) -> bytes:
    """32 random bytes, made at first use, mode 0600. RefusedError if others may read them, CorruptError if
    cut."""
    if not path.exists():
        write_atomic(path, secrets.token_bytes(_SECRET_BYTES), mode=0o600)
    data = _read_private(path)
    if len(data) != _SECRET_BYTES:
        raise CorruptError(
            f"The secret {path} has {len(data)} bytes, not {_SECRET_BYTES}.",
            hint="Restore it from a backup, or remove it: tokens of running work then become void.",
        )
    return data


def _read_private(path: Path) -> bytes:
    """The file's bytes, if it is a plain file that only its owner may touch: judged on the open file
    itself."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise RefusedError(
            f"{path} cannot be read as a private file: {error.strerror}.",
            hint="It is a plain file of yours, no link.",
        ) from error
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode) or mode & 0o077:
            raise RefusedError(
                f"{path} is not a plain file that its owner alone may touch (mode {stat.S_IMODE(mode):04o}).",
                hint=f"Run: chmod 600 {path}. If others could read it, replace it.",
            )
        return os.read(descriptor, _LIMIT_BYTES)
    finally:
        os.close(descriptor)


def _not_a_key(what: str) -> CorruptError:
    return CorruptError(f"This is not an Ed25519 {what} in PEM form.", hint="Restore the file from a backup.")
