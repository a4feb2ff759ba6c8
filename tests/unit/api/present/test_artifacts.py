from __future__ import annotations

from typing import Any

from kernos.api.present.artifacts import artifact_lines, edge_views, version_views
from kernos.catalog.records import EdgeRecord, VersionRecord


def test_a_version_whose_artifact_is_gone_is_still_listed(world: Any, system: Any) -> None:
    version = VersionRecord("/data/x", 1, world.digest("e"), None, 5)
    world.put(version, "test", "/data/x@1")

    with system.store.read() as reader:
        [line] = artifact_lines(reader, "/")
        [view] = version_views(reader, [version])

    assert (line.path, line.kind, line.size_bytes) == ("/data/x", "", 0)
    assert (view.ref, view.meta) == ("/data/x@1", {})


def test_an_end_without_a_path_stands_for_itself(system: Any) -> None:
    with system.store.read() as reader:
        [edge] = edge_views(reader, [EdgeRecord("sha256:x", "admin", "author", None)], {})

    assert (edge.target_ref, edge.source_ref) == ("sha256:x", "admin")


def test_an_end_goes_by_the_path_it_was_asked_by(system: Any) -> None:
    with system.store.read() as reader:
        [edge] = edge_views(
            reader, [EdgeRecord("sha256:x", "admin", "author", None)], {"sha256:x": "/data/a@1"}
        )

    assert edge.target_ref == "/data/a@1"
