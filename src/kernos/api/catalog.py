"""Artifacts over HTTP: what there is, what it was made from, how two versions differ, new data."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import get, post
from litestar.params import FromQuery, JSONBody

from kernos.api.context import TheApi, TheCaller
from kernos.api.present.artifacts import artifact_lines, edge_views, name_of, version_views
from kernos.api.runs import view_run
from kernos.api.views import ArtifactLine, EdgeView, LineageView, RunView, VersionView
from kernos.base.errors import NotFoundError
from kernos.base.ids import Ref, parse_digest, parse_ref
from kernos.catalog.artifacts import lineage, resolve
from kernos.catalog.records import ArtifactRecord, VersionRecord

VERSION_LIMIT = 500
_PREDICTION = "pred:"


class NewData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    source: str
    """Absolute path on the kernel's machine."""
    name: str
    app: str = ""
    """Whose data contract it must keep."""


@post("/v1/data", opt={"action": ("data:write", "files:read")}, sync_to_thread=True)
def ingest(api: TheApi, caller: TheCaller, data: JSONBody[NewData]) -> RunView:
    """Start the Run that turns a file into the next version of `/data/<name>`."""
    return view_run(api, api.system.loop.ingest(data.source, data.name, data.app, caller).id)


@get("/v1/artifacts", opt={"action": "data:read"}, sync_to_thread=True)
def list_artifacts(api: TheApi, prefix: FromQuery[str] = "/") -> list[ArtifactLine]:
    """One line a path, by path."""
    with api.system.store.read() as reader:
        return artifact_lines(reader, prefix if prefix.startswith("/") else f"/{prefix}")


@get("/v1/artifacts/versions", opt={"action": "data:read"}, sync_to_thread=True)
def list_versions(api: TheApi, path: FromQuery[str]) -> list[VersionView]:
    """The newest 500 versions of a path, newest first."""
    wanted = parse_ref(path).path
    with api.system.store.read() as reader:
        resolve(reader, Ref(wanted))
        versions = reader.list(
            VersionRecord, where={"path": wanted}, order_by="version", descending=True, limit=VERSION_LIMIT
        )
        return version_views(reader, versions)


@get("/v1/artifacts/one", opt={"action": "data:read"}, sync_to_thread=True)
def get_artifact(api: TheApi, ref: FromQuery[str]) -> VersionView:
    """`/data/income@3`, `/models/income@live`, or a path for its newest version."""
    with api.system.store.read() as reader:
        return version_views(reader, [resolve(reader, parse_ref(ref))])[0]


@get("/v1/lineage", opt={"action": "data:read"}, sync_to_thread=True)
def get_lineage(api: TheApi, caller: TheCaller, ref: FromQuery[str]) -> LineageView:
    """All that stands behind a version, a digest (`sha256:…`) or a prediction (`pred:<id>`)."""
    first: list[EdgeView] = []
    if ref.startswith(_PREDICTION):
        answer = api.system.loop.prediction(ref.removeprefix(_PREDICTION), caller)
        package = f"/packages/{answer['app']}@{answer['version']}"
        with api.system.store.read() as reader:
            digest = resolve(reader, parse_ref(package)).digest
        first, name = [EdgeView(ref, ref, digest, package, "model", None)], package
    elif ref.startswith("sha256:"):
        digest = parse_digest(ref)
        with api.system.store.read() as reader:
            name = name_of(reader, digest)
    else:
        with api.system.store.read() as reader:
            version = resolve(reader, parse_ref(ref))
        digest, name = version.digest, f"{version.path}@{version.version}"
    with api.system.store.read() as reader:
        if reader.get(ArtifactRecord, digest) is None:
            raise NotFoundError(f"The catalog holds no {digest}.", hint="`kernos ls` lists what there is.")
        behind = edge_views(reader, lineage(reader, digest), {digest: name})
        return LineageView(ref if first else name, first + behind)


@get("/v1/diff", opt={"action": "data:read"}, sync_to_thread=True)
def diff(api: TheApi, caller: TheCaller, a: FromQuery[str], b: FromQuery[str]) -> dict[str, Any]:
    """Columns and rows between two dataset versions."""
    answer: dict[str, Any] = api.system.loop.diff(a, b, caller)
    return answer


ROUTES: list[Any] = [ingest, list_artifacts, list_versions, get_artifact, get_lineage, diff]
