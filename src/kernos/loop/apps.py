"""Apps as the kernel knows them: a source bundle by digest, and the Manifest its module declared."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import msgspec

from kernos.base.digests import canonical, of_bytes
from kernos.base.errors import InvalidError, LimitError, NotFoundError
from kernos.base.files import write_atomic
from kernos.base.ids import Digest, Ref, check_name
from kernos.catalog.artifacts import resolve
from kernos.catalog.blobs import Blobs
from kernos.catalog.records import ArtifactRecord
from kernos.catalog.store import Reader
from kernos.loop.room import code_folder
from kernos.spec.manifest import Manifest

BUNDLE_LIMIT_BYTES = 4 * 2**20


class RegisteredApp(msgspec.Struct, frozen=True):
    name: str
    version: int
    code: Digest
    main: str
    manifest: Manifest


def store_bundle(files: dict[str, str], main: str, blobs: Blobs, home: Path) -> tuple[Digest, int]:
    """Keep the sources by digest and lay them out where workers import them from."""
    if main not in files:
        raise InvalidError(
            f"The bundle has no file {main!r}.", hint="`main` names the file that declares the App."
        )
    for name in files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or path.suffix != ".py":
            raise InvalidError(
                f"{name!r} is not a Python file below the App's folder.", hint="Send .py files only."
            )
    bundle = canonical({"files": files, "main": main})
    if len(bundle) > BUNDLE_LIMIT_BYTES:
        raise LimitError(
            "The App's sources are larger than 4 MiB.", hint="Keep data out of the App's folder."
        )
    code = blobs.put(bundle)
    assert code == of_bytes(bundle)
    folder = code_folder(home, code)
    for name, text in files.items():
        target = folder / name
        if not target.exists():
            write_atomic(target, text.encode())
    return code, len(bundle)


def find_app(reader: Reader, name: str) -> RegisteredApp:
    """The newest version of the App."""
    check_name(name, "an App")
    version = resolve(reader, Ref(f"/apps/{name}"))
    return app_of_code(reader, version.digest, version.version)


def app_of_code(reader: Reader, code: Digest, version: int = 0) -> RegisteredApp:
    artifact = reader.get(ArtifactRecord, code)
    if artifact is None or artifact.kind != "app":
        raise NotFoundError(f"No App has the code {code}.", hint="`kernos ls /apps` lists what there is.")
    manifest = msgspec.convert(artifact.meta["manifest"], Manifest)
    return RegisteredApp(manifest.app, version, code, artifact.meta["main"], manifest)
