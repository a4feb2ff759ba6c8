"""A model with all that stands behind it, signed: `.kpkg`. What opens is exactly what was sealed.

The file is an archive (see `archive`) of eight files. `signature.dsse.json` is a DSSE envelope around an
in-toto Statement v1 whose subjects are the other seven by SHA-256, so that none can be changed, added,
dropped or taken from another package. No reader trusts a byte before the signature holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from kernos.base.digests import canonical, of_bytes
from kernos.base.errors import CorruptError, LimitError, NotFoundError, RefusedError
from kernos.base.files import write_atomic
from kernos.base.ids import Digest
from kernos.base.units import show_bytes
from kernos.models import archive
from kernos.runtime.signature import Signature
from kernos.security.dsse import verify_envelope
from kernos.security.keys import VerifyKey

FORMAT = 1
SIGNATURE = "signature.dsse.json"
CONTENTS: tuple[str, ...] = (
    "card.md",
    "gates.json",
    "lineage.json",
    "manifest.json",
    "model.onnx",
    "reference.json",
    "replay.json",
)
"""What is signed. Each is always there."""
PREDICATE_TYPE = "urn:kernos:package:v1"
_DOCUMENT_LIMIT_BYTES = 64 * 2**20
"""Every file but the model is a document that somebody reads whole."""


class PackageManifest(msgspec.Struct, frozen=True):
    """`manifest.json`."""

    format: int
    app: str
    model: Digest
    """Of `model.onnx`."""
    signature: Signature
    target: str
    code: Digest
    data: list[str]
    """Dataset versions it was trained on: `/data/income@3`."""
    created_ms: int
    metrics: dict[str, float]
    params: dict[str, str]
    kernos: str
    """The version of Kernos that made it."""


def statement(files: Mapping[str, Digest], manifest: PackageManifest) -> dict[str, Any]:
    """What the kernel signs: these files, made for this App, having passed the gates of `gates.json`."""
    _check_names(files)
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": _subjects(files),
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "app": manifest.app,
            "target": manifest.target,
            "code": manifest.code,
            "data": manifest.data,
            "gates": files["gates.json"],
            "metrics": manifest.metrics,
            "createdMs": manifest.created_ms,
            "kernos": manifest.kernos,
        },
    }


def seal(target: Path, files: Mapping[str, bytes], envelope: dict[str, Any]) -> Digest:
    """Write the package: whole or not at all, the same bytes for the same content. Its digest."""
    _check_names(files)
    for name, data in files.items():
        _check_size(name, len(data))
    data = archive.pack({**files, SIGNATURE: canonical(envelope)})
    write_atomic(target, data)
    return of_bytes(data)


@dataclass(frozen=True, slots=True)
class Package:
    """A verified package. Its file may be gone or changed later: `read` checks again."""

    path: Path
    manifest: PackageManifest
    digest: Digest
    """Of the whole file."""
    key_id: str
    """Who signed it."""
    entries: Mapping[str, archive.Entry]

    @property
    def files(self) -> Mapping[str, Digest]:
        """Digests of the signed files."""
        return {name: self.entries[name].digest for name in CONTENTS}

    def read(self, name: str) -> bytes:
        """A file's bytes, those that were verified. CorruptError where the package has changed since."""
        with _open(self.path) as file:
            return _read(file, self.entries[name])


def open_package(path: Path, trusted: Sequence[VerifyKey]) -> Package:
    """Verify a package, or refuse it whole.

    RefusedError for an unknown or missing signature, a signature of other files and anything Kernos would not
    have written; CorruptError for bytes that are damaged or cut off; LimitError above the bounds.
    """
    with _open(path) as file:
        found, digest = archive.scan(file, lambda name: name == SIGNATURE or name in CONTENTS)
        entries = {entry.name: entry for entry in found}
        _check_names([name for name in entries if name != SIGNATURE])
        for entry in found:
            _check_size(entry.name, entry.size_bytes)
        if SIGNATURE not in entries:
            raise RefusedError("The package is not signed.", hint="Deploy only what Kernos has packaged.")
        key_id = _verify(_read(file, entries[SIGNATURE]), entries, trusted)
        manifest = _manifest(_read(file, entries["manifest.json"]))
    if manifest.model != entries["model.onnx"].digest:
        raise RefusedError("The package's manifest tells of another model.", hint="Package the model again.")
    return Package(path, manifest, digest, key_id, entries)


def _verify(data: bytes, entries: Mapping[str, archive.Entry], trusted: Sequence[VerifyKey]) -> str:
    """The id of the trusted key that signed exactly these files."""
    try:
        envelope = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RefusedError("The package's signature is not JSON.", hint="Get it again.") from error
    signed = verify_envelope(envelope, trusted)
    if len(envelope["signatures"]) != 1:
        raise RefusedError("The package has several signatures.", hint="Kernos signs a package once.")
    if signed.get("predicateType") != PREDICATE_TYPE:
        raise RefusedError("What is signed is not a package.", hint="Get it again from its source.")
    if signed.get("subject") != _subjects({name: entries[name].digest for name in CONTENTS}):
        raise RefusedError(
            "The signature belongs to other files than those in the package.",
            hint="Somebody has changed it. Get it again from its source.",
        )
    return str(envelope["signatures"][0]["keyid"])


def _manifest(data: bytes) -> PackageManifest:
    try:
        manifest = msgspec.json.decode(data, type=PackageManifest)
    except msgspec.MsgspecError as error:
        raise RefusedError(f"The package's manifest is not one: {error}", hint="Package it again.") from error
    if manifest.format != FORMAT:
        raise RefusedError(
            f"The package has format {manifest.format}; this Kernos reads {FORMAT}.", hint="Update Kernos."
        )
    return manifest


def _subjects(files: Mapping[str, Digest]) -> list[dict[str, Any]]:
    return [
        {"name": name, "digest": {"sha256": files[name].removeprefix("sha256:")}} for name in sorted(files)
    ]


def _check_names(names: Mapping[str, Any] | Sequence[str]) -> None:
    missing, extra = sorted(set(CONTENTS) - set(names)), sorted(set(names) - set(CONTENTS))
    if missing or extra:
        raise RefusedError(
            f"A package has {len(CONTENTS)} files; missing {missing}, unknown {extra}.",
            hint=f"They are {', '.join(CONTENTS)}.",
        )


def _check_size(name: str, size_bytes: int) -> None:
    if name != "model.onnx" and size_bytes > _DOCUMENT_LIMIT_BYTES:
        raise LimitError(
            f"{name} has {show_bytes(size_bytes)}.", hint=f"{show_bytes(_DOCUMENT_LIMIT_BYTES)} is the limit."
        )


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise NotFoundError(f"There is no package {path}.", hint="See `kernos ls /packages`.") from error


def _read(file: BinaryIO, entry: archive.Entry) -> bytes:
    file.seek(entry.offset)
    data = file.read(entry.size_bytes)
    if of_bytes(data) != entry.digest:
        raise CorruptError(f"{entry.name} has changed since the package was opened.", hint="Open it again.")
    return data
