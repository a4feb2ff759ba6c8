"""Artifacts by path, version and name: bytes never change, names move, and what came from what is kept."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from kernos.base.errors import InvalidError, NotFoundError
from kernos.base.ids import Ref, check_name, parse_ref
from kernos.catalog.records import ArtifactRecord, EdgeRecord, NameRecord, VersionRecord
from kernos.catalog.store import Reader, Transaction

_SOURCES = 5_000
"""Sources asked for in one query of a lineage."""


def resolve(reader: Reader, ref: Ref) -> VersionRecord:
    """The version that `ref` means now: by number, by a name that moves, or the newest."""
    newest = _newest(reader, ref.path)
    if newest is None:
        raise _no_path(reader, ref.path)
    if not ref.at:
        return newest
    number = ref.version
    if number is None:
        name = reader.get(NameRecord, ref.path, ref.at)
        number = name.version if name else 0
    found = reader.get(VersionRecord, ref.path, number) if 0 < number <= newest.version else None
    if found is None:
        names = [record.name for record in reader.list(NameRecord, where={"path": ref.path})]
        known = ", ".join([f"versions 1 to {newest.version}", *names])
        raise NotFoundError(f"There is no {ref}.", hint=f"{ref.path} has {known}.")
    return found


def publish(
    tx: Transaction, path: str, artifact: ArtifactRecord, inputs: Sequence[tuple[str, str]], principal: str
) -> VersionRecord:
    """The Artifact as the next version of `path`, with its inputs as edges (source, role).

    Where the newest version is this Artifact already, that version is returned, and only inputs not known
    before are added. Emits `artifact.created` with the subject `path@version`.
    """
    if parse_ref(path) != Ref(path):
        raise InvalidError(f"{path!r} is not a path to publish under.", hint="Write it like /data/income.")
    newest = _newest(tx, path)
    if newest and newest.digest == artifact.digest:
        record(tx, artifact, inputs, principal)
        return newest
    number = newest.version + 1 if newest else 1
    version = VersionRecord(path, number, artifact.digest, artifact.run, tx.at_ms)
    _put_new(tx, artifact, inputs)
    tx.put(version)
    _emit(tx, "artifact.created", f"{path}@{number}", artifact, principal)
    return version


def record(
    tx: Transaction, artifact: ArtifactRecord, inputs: Sequence[tuple[str, str]], principal: str
) -> None:
    """An Artifact without a path, such as a table between two steps.

    Emits `artifact.created` with the digest as subject, `artifact.linked` where only inputs are new, nothing
    where all is known already.
    """
    known = tx.get(ArtifactRecord, artifact.digest) is not None
    if _put_new(tx, artifact, inputs):
        _emit(tx, "artifact.linked" if known else "artifact.created", artifact.digest, artifact, principal)


def move_name(tx: Transaction, path: str, name: str, version: int, principal: str, reason: str) -> None:
    """Let `path@name` mean this version. Emits `name.moved`, subject `path`, unless it does already."""
    check_name(name, "a version")
    if name.isdecimal():
        raise InvalidError(f"{name!r} names a version by number.", hint="Take a name with a letter in it.")
    resolve(tx, Ref(path, str(version)))
    before = tx.get(NameRecord, path, name)
    if before and before.version == version:
        return
    tx.put(NameRecord(path, name, version, tx.at_ms))
    previous = before.version if before else None
    tx.emit("name.moved", path, principal, name=name, version=version, previous=previous, reason=reason)


def lineage(reader: Reader, digest: str, *, depth: int = 20) -> list[EdgeRecord]:
    """Every edge upstream of `digest`, each once, the nearest first; at most `depth` steps away."""
    edges: list[EdgeRecord] = []
    seen, level = {digest}, [digest]
    for _ in range(depth):
        found = [
            edge
            for start in range(0, len(level), _SOURCES)
            for edge in reader.list(EdgeRecord, where={"target": level[start : start + _SOURCES]})
        ]
        edges += found
        level = sorted({edge.source for edge in found} - seen)
        seen.update(level)
    return edges


def version_of(reader: Reader, digest: str) -> VersionRecord | None:
    """The version with this digest; the newest, where it was published more than once."""
    found = reader.list(VersionRecord, where={"digest": digest}, order_by="at_ms", descending=True, limit=1)
    return found[0] if found else None


def _newest(reader: Reader, path: str) -> VersionRecord | None:
    found = reader.list(VersionRecord, where={"path": path}, order_by="version", descending=True, limit=1)
    return found[0] if found else None


def _put_new(tx: Transaction, artifact: ArtifactRecord, inputs: Sequence[tuple[str, str]]) -> bool:
    """Put what is not there yet; whether that was anything. What is there is never replaced."""
    known = tx.get(ArtifactRecord, artifact.digest)
    if known is None:
        tx.put(artifact)
    edges = [
        EdgeRecord(artifact.digest, source, role, artifact.run) for source, role in dict.fromkeys(inputs)
    ]
    new = [edge for edge in edges if tx.get(EdgeRecord, edge.target, edge.source, edge.role) is None]
    for edge in new:
        tx.put(edge)
    return known is None or bool(new)


def _emit(tx: Transaction, kind: str, subject: str, artifact: ArtifactRecord, principal: str) -> None:
    tx.emit(
        kind,
        subject,
        principal,
        digest=artifact.digest,
        kind=artifact.kind,
        size_bytes=artifact.size_bytes,
        run=artifact.run,
    )


def _no_path(reader: Reader, path: str) -> NotFoundError:
    paths = [first.path for first in reader.list(VersionRecord, where={"version": 1})]
    near = difflib.get_close_matches(path, paths, n=3) or paths[:3]
    hint = f"Did you mean {', '.join(near)}?" if near else "Nothing has been published yet."
    return NotFoundError(f"There is no {path}.", hint=hint)
