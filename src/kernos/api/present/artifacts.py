"""Artifacts, versions and lineage as views."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from kernos.api.views import ArtifactLine, EdgeView, VersionView
from kernos.catalog.artifacts import version_of
from kernos.catalog.records import ArtifactRecord, EdgeRecord, NameRecord, VersionRecord

if TYPE_CHECKING:
    from kernos.catalog.store import Reader

_DIGESTS_AT_ONCE = 1000


def artifact_lines(reader: Reader, prefix: str) -> list[ArtifactLine]:
    """One line a path under `prefix`, by path: its newest version and its moving names."""
    newest = {
        version.path: version
        for version in reader.list(
            VersionRecord,
            order_by="version",
            above=("path", prefix[:-1]),
            below=("path", prefix + "\U0010ffff"),
        )
        if version.path.startswith(prefix)
    }
    names: dict[str, dict[str, int]] = defaultdict(dict)
    for name in reader.list(NameRecord):
        names[name.path][name.name] = name.version
    artifacts = _artifacts(reader, newest.values())
    lines = []
    for path, version in sorted(newest.items()):
        artifact = artifacts.get(version.digest)
        lines.append(
            ArtifactLine(
                path=path,
                kind=artifact.kind if artifact else "",
                newest=version.version,
                names=names[path],
                size_bytes=artifact.size_bytes if artifact else 0,
                at_ms=version.at_ms,
            )
        )
    return lines


def version_views(reader: Reader, versions: Sequence[VersionRecord]) -> list[VersionView]:
    """In the given order."""
    if not versions:
        return []
    artifacts = _artifacts(reader, versions)
    names: dict[tuple[str, int], list[str]] = defaultdict(list)
    paths = sorted({version.path for version in versions})
    for name in reader.list(NameRecord, where={"path": paths}, order_by="name"):
        names[name.path, name.version].append(name.name)
    return [
        _version_view(version, artifacts.get(version.digest), names[version.path, version.version])
        for version in versions
    ]


def edge_views(reader: Reader, edges: Iterable[EdgeRecord], asked: Mapping[str, str]) -> list[EdgeView]:
    """Each end with the newest path@version that has its digest; the end itself where there is none.

    `asked` names digests that the caller knows by a certain path: one digest may stand under several.
    """
    known = dict(asked)

    def ref(end: str) -> str:
        if end not in known:
            known[end] = name_of(reader, end)
        return known[end]

    return [
        EdgeView(edge.target, ref(edge.target), edge.source, ref(edge.source), edge.role, edge.run)
        for edge in edges
    ]


def name_of(reader: Reader, end: str) -> str:
    """The newest path@version with this digest; what it is given where there is none."""
    version = version_of(reader, end)
    return f"{version.path}@{version.version}" if version else end


def _artifacts(reader: Reader, versions: Iterable[VersionRecord]) -> dict[str, ArtifactRecord]:
    digests = sorted({version.digest for version in versions})
    found: dict[str, ArtifactRecord] = {}
    for start in range(0, len(digests), _DIGESTS_AT_ONCE):
        part = digests[start : start + _DIGESTS_AT_ONCE]
        found |= {
            artifact.digest: artifact for artifact in reader.list(ArtifactRecord, where={"digest": part})
        }
    return found


def _version_view(version: VersionRecord, artifact: ArtifactRecord | None, names: list[str]) -> VersionView:
    return VersionView(
        ref=f"{version.path}@{version.version}",
        path=version.path,
        version=version.version,
        digest=version.digest,
        kind=artifact.kind if artifact else "",
        size_bytes=artifact.size_bytes if artifact else 0,
        at_ms=version.at_ms,
        run=version.run,
        names=names,
        meta=artifact.meta if artifact else {},
    )
