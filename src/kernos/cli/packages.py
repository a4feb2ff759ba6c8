"""Packages on the command line, without a kernel: whose they are, and whether a byte was changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from kernos.base.clock import iso
from kernos.base.errors import NotFoundError
from kernos.cli.session import Home, Json, answer, home_path
from kernos.cli.table import document, fields, number

if TYPE_CHECKING:
    from kernos.models.package import Package

File = Annotated[Path, typer.Argument(help="A .kpkg file.", show_default=False)]
Key = Annotated[
    Path | None,
    typer.Option(
        "--key", help="PEM file of the signer's public key; this home's own without it.", show_default=False
    ),
]


def verify(file: File, key: Key = None, home: Home = None, as_json: Json = False) -> None:
    """Check the signature and every digest."""
    package = _open(file, key, home)
    value = {"ok": True, "digest": package.digest, "key_id": package.key_id, "files": dict(package.files)}

    def draw(console: Console) -> None:
        console.print(Text.assemble(("intact", "green"), f"   signed by {package.key_id}"))
        console.print(fields([("package", package.digest), *package.files.items()]))

    answer(as_json).show(value, draw)


def show(file: File, key: Key = None, home: Home = None, as_json: Json = False) -> None:
    """What is in it: model, data, gates, metrics."""
    package = _open(file, key, home)
    manifest = package.manifest
    gates = msgspec.json.decode(package.read("gates.json"))

    def draw(console: Console) -> None:
        console.print(
            fields(
                [
                    ("app", manifest.app),
                    ("target", manifest.target),
                    ("made", f"{iso(manifest.created_ms)} by Kernos {manifest.kernos}"),
                    ("signed by", package.key_id),
                    ("model", manifest.model),
                    ("code", manifest.code),
                    ("data", ", ".join(manifest.data)),
                    ("inputs", ", ".join(manifest.signature.columns)),
                    ("params", ", ".join(f"{name}={value}" for name, value in manifest.params.items())),
                    (
                        "metrics",
                        ", ".join(f"{name} = {number(value)}" for name, value in manifest.metrics.items()),
                    ),
                ]
            )
        )
        console.print()
        console.print(document(gates))

    value = {"manifest": manifest, "key_id": package.key_id, "digest": package.digest, "gates": gates}
    answer(as_json).show(value, draw)


def _open(file: Path, key: Path | None, home: Path | None) -> Package:
    from kernos.models.package import open_package
    from kernos.security.keys import PUBLIC_NAME, VerifyKey

    path = key or home_path(home) / "keys" / PUBLIC_NAME
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise NotFoundError(
            f"There is no public key at {path}.", hint="Name the signer's: --key signer.pub.pem"
        ) from error
    return open_package(file, [VerifyKey.from_pem(text)])
