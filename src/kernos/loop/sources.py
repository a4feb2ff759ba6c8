"""What `app.read("patients.parquet")` stands for: a dataset version that the build pins once and every Run of it reads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernos.base.digests import of_file
from kernos.base.errors import InvalidError, NotFoundError
from kernos.base.ids import Digest, Ref, parse_ref
from kernos.catalog.artifacts import resolve
from kernos.catalog.records import ArtifactRecord, VersionRecord
from kernos.catalog.store import Reader


@dataclass(frozen=True, slots=True)
class Pinned:
    ref: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class Fresh:
    """A file the catalog does not hold yet."""

    path: Path
    name: str
    stamp: list[int]


def find_source(reader: Reader, source: str, folder: str) -> Pinned | Fresh:
    """The newest version made of an unchanged file, or the file to ingest. `source` may also be a dataset's path."""
    if source.startswith("/data/"):
        version = resolve(reader, parse_ref(source))
        return Pinned(f"{version.path}@{version.version}", version.digest)
    path = (Path(folder) / source).resolve()
    if not path.is_file():
        raise NotFoundError(f"There is no file {path}.", hint="Paths are relative to the App's folder.")
    name = dataset_name(path)
    stamp = file_stamp(path)
    newest = _newest(reader, f"/data/{name}")
    if newest is not None and _is_unchanged(path, stamp, newest[1]):
        return Pinned(f"{newest[0].path}@{newest[0].version}", newest[0].digest)
    return Fresh(path, name, stamp)


def file_stamp(path: Path) -> list[int]:
    """Size and time of change: when both are as they were, the bytes are taken to be the same."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def dataset_name(path: Path) -> str:
    """The file's name without its ending, as a dataset's name."""
    name = re.sub(r"[^\w.-]+", "_", path.name.split(".")[0]).strip("_.-")
    if not name:
        raise InvalidError(
            f"{path.name!r} gives no dataset name.", hint="Name the dataset: kernos ingest FILE --name NAME."
        )
    return name


def _newest(reader: Reader, path: str) -> tuple[VersionRecord, dict[str, Any]] | None:
    try:
        version = resolve(reader, Ref(path))
    except NotFoundError:
        return None
    artifact = reader.get(ArtifactRecord, version.digest)
    return None if artifact is None else (version, artifact.meta)


def _is_unchanged(path: Path, stamp: list[int], meta: dict[str, Any]) -> bool:
    if meta.get("source") != str(path):
        return False
    sha256: str = meta.get("source_sha256", "")
    return bool(
        meta.get("stamp") == stamp or of_file(path).removeprefix("sha256:") == sha256.removeprefix("sha256:")
    )
