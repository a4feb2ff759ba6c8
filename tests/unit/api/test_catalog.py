from __future__ import annotations

from typing import Any


def test_artifacts_are_listed_by_path_with_names(world: Any, admin: Any) -> None:
    world.artifact("/data/income", "a")
    world.artifact("/data/income", "b")
    world.artifact("/models/income", "c", "model")
    world.name("/data/income", "live", 1)

    lines = admin.get("/v1/artifacts").json()
    below = admin.get("/v1/artifacts?prefix=/models").json()

    assert [(line["path"], line["newest"], line["names"]) for line in lines] == [
        ("/data/income", 2, {"live": 1}),
        ("/models/income", 1, {}),
    ]
    assert [line["path"] for line in below] == ["/models/income"]
    assert [line["path"] for line in admin.get("/v1/artifacts?prefix=data/income").json()] == ["/data/income"]
    assert admin.get("/v1/artifacts?prefix=/none").json() == []


def test_versions_come_newest_first_and_one_by_name(world: Any, admin: Any) -> None:
    world.artifact("/data/income", "a", rows=3)
    world.artifact("/data/income", "b", rows=4)
    world.name("/data/income", "live", 1)

    versions = admin.get("/v1/artifacts/versions?path=/data/income").json()
    live = admin.get("/v1/artifacts/one?ref=/data/income@live").json()

    assert [version["ref"] for version in versions] == ["/data/income@2", "/data/income@1"]
    assert versions[1]["names"] == ["live"]
    assert (live["version"], live["meta"]["rows"], live["digest"]) == (1, 3, world.digest("a"))


def test_unknown_and_impossible_refs_are_told_apart(world: Any, admin: Any) -> None:
    world.artifact("/data/income", "a")

    assert admin.get("/v1/artifacts/one?ref=/data/income@7").status_code == 404
    assert admin.get("/v1/artifacts/versions?path=/data/incom").json()["code"] == "not_found"
    assert admin.get("/v1/artifacts/one?ref=nonsense").status_code == 400
    assert admin.get("/v1/lineage?ref=sha256:abc").status_code == 400
    assert admin.get("/v1/lineage?ref=" + world.digest("f")).status_code == 404


def test_lineage_names_both_ends(world: Any, admin: Any) -> None:
    world.artifact("/data/income", "a")
    world.artifact(
        "/models/income", "b", "model", inputs=[(world.digest("a"), "data"), ("ed25519:12", "signer")]
    )

    view = admin.get("/v1/lineage?ref=/models/income@1").json()

    ends = {(edge["target_ref"], edge["role"], edge["source_ref"]) for edge in view["edges"]}
    assert ends == {
        ("/models/income@1", "data", "/data/income@1"),
        ("/models/income@1", "signer", "ed25519:12"),
    }
    assert admin.get("/v1/lineage?ref=" + world.digest("b")).json()["edges"] == view["edges"]


def test_the_lineage_of_a_prediction_starts_at_it(world: Any, admin: Any) -> None:
    world.artifact("/models/diabetes", "b", "model")
    world.artifact("/packages/diabetes", "c", "package", inputs=[(world.digest("b"), "model")])

    edges = admin.get("/v1/lineage?ref=pred:b-1").json()["edges"]

    assert [(edge["target_ref"], edge["source_ref"]) for edge in edges] == [
        ("pred:b-1", "/packages/diabetes@1"),
        ("/packages/diabetes@1", "/models/diabetes@1"),
    ]
    assert admin.get("/v1/lineage?ref=pred:none").status_code == 404


def test_ingest_and_diff_reach_the_loop(system: Any, admin: Any) -> None:
    run = admin.post("/v1/data", json={"source": "/tmp/x.csv", "name": "income"})
    answer = admin.get("/v1/diff?a=/data/income@1&b=@2").json()

    assert run.status_code == 201
    assert (run.json()["kind"], run.json()["name"]) == ("ingest", "income")
    assert system.loop.calls == [("ingest", "/tmp/x.csv", "income", "", "admin")]
    assert answer == {"a": "/data/income@1", "b": "@2", "rows_added": 1}
