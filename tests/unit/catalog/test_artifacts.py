from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernos.base import digests
from kernos.base.clock import ManualClock
from kernos.base.errors import InvalidError, NotFoundError
from kernos.base.ids import Digest, RunId, parse_ref
from kernos.catalog import artifacts, audit
from kernos.catalog.records import ArtifactRecord, EdgeRecord, NameRecord, VersionRecord
from kernos.catalog.store import SqlStore

INCOME, MODEL = "/data/income", "/models/income"
LICENCE = "ed25519:0011223344556677"


def artifact(text: str, run: int | None = 1) -> ArtifactRecord:
    digest = digests.of_bytes(text.encode())
    return ArtifactRecord(digest, "dataset", len(text), {"rows": 3}, None if run is None else RunId(run), 5)


def digest_of(text: str) -> Digest:
    return artifact(text).digest


def publish(store: SqlStore, path: str, text: str, *inputs: tuple[str, str]) -> VersionRecord:
    return store.write(lambda tx: artifacts.publish(tx, path, artifact(text), inputs, "alice"))


def record(store: SqlStore, text: str, *inputs: str) -> None:
    edges = [(digest_of(each), "data") for each in inputs]
    store.write(lambda tx: artifacts.record(tx, artifact(text), edges, "alice"))


def move(store: SqlStore, name: str, version: int) -> None:
    store.write(lambda tx: artifacts.move_name(tx, INCOME, name, version, "alice", "looks good"))


def resolve(store: SqlStore, ref: str) -> VersionRecord:
    with store.read() as reader:
        return artifacts.resolve(reader, parse_ref(ref))


def kinds(store: SqlStore) -> list[str]:
    with store.read() as reader:
        return [f"{event.kind} {event.subject}" for event in reader.events()]


def test_versions_count_from_one_and_are_found_by_number_name_and_as_newest(store: SqlStore) -> None:
    first, second = publish(store, INCOME, "a"), publish(store, INCOME, "b")
    move(store, "live", 1)

    assert (first.version, second.version) == (1, 2)
    assert resolve(store, "/data/income@1") == resolve(store, "data/income@live") == first
    assert resolve(store, "/data/income") == resolve(store, "/data/income@2") == second


def test_publishing_emits_one_event_for_all_its_rows(store: SqlStore) -> None:
    publish(store, INCOME, "a", (digest_of("raw"), "data"), (LICENCE, "signer"))

    with store.read() as reader:
        (event,) = reader.events()
    assert (event.kind, event.subject, event.principal) == ("artifact.created", "/data/income@1", "alice")
    assert event.payload == {"digest": digest_of("a"), "kind": "dataset", "size_bytes": 1, "run": 1}
    assert sorted(table for table, _, _ in event.rows) == ["artifacts", "edges", "edges", "versions"]


def test_publishing_the_newest_again_changes_nothing(store: SqlStore) -> None:
    first = publish(store, INCOME, "a", (digest_of("raw"), "data"))

    assert publish(store, INCOME, "a", (digest_of("raw"), "data")) == first
    assert kinds(store) == ["artifact.created /data/income@1"]

    assert publish(store, INCOME, "a", (digest_of("other"), "data")) == first
    assert kinds(store)[1:] == [f"artifact.linked {digest_of('a')}"]


def test_an_older_digest_may_be_published_again(store: SqlStore) -> None:
    for text in "aba":
        publish(store, INCOME, text)

    assert resolve(store, INCOME).version == 3
    assert resolve(store, INCOME).digest == resolve(store, "/data/income@1").digest
    with store.read() as reader:
        assert reader.count(ArtifactRecord) == 2
        newest = artifacts.version_of(reader, digest_of("a"))
        assert newest is not None
        assert newest.version == 3
        assert artifacts.version_of(reader, digest_of("c")) is None


@pytest.mark.parametrize("path", ["/data/income@1", "data/income", "/data", "/data/../x", ""])
def test_what_is_no_path_cannot_be_published(store: SqlStore, path: str) -> None:
    with pytest.raises(InvalidError):
        publish(store, path, "a")


def test_recording_is_idempotent_and_keeps_what_was_first(store: SqlStore) -> None:
    record(store, "table", "a")
    record(store, "table", "a")
    store.write(lambda tx: artifacts.record(tx, artifact("table", run=9), [], "bob"))
    record(store, "table", "a", "b")

    assert kinds(store) == [f"artifact.created {digest_of('table')}", f"artifact.linked {digest_of('table')}"]
    with store.read() as reader:
        assert reader.get(ArtifactRecord, digest_of("table")) == artifact("table", run=1)
        assert reader.count(EdgeRecord) == 2


def test_a_name_moves_and_says_from_where(store: SqlStore) -> None:
    publish(store, INCOME, "a")
    publish(store, INCOME, "b")
    move(store, "live", 1)
    move(store, "live", 2)
    move(store, "live", 2)

    with store.read() as reader:
        moves = reader.events(kind_prefix="name.", subject=INCOME)
        assert reader.count(NameRecord) == 1
    assert [(each.payload["previous"], each.payload["version"]) for each in moves] == [(None, 1), (1, 2)]
    assert moves[1].payload["reason"] == "looks good"


@pytest.mark.parametrize(("name", "version"), [("live", 2), ("live", 0), ("live", -1), ("live", 2**70)])
def test_a_name_moves_only_to_what_is_there(store: SqlStore, name: str, version: int) -> None:
    publish(store, INCOME, "a")

    with pytest.raises(NotFoundError):
        move(store, name, version)


@pytest.mark.parametrize("name", ["3", "٣", "", "a b", "@"])
def test_a_name_must_not_look_like_a_number_or_worse(store: SqlStore, name: str) -> None:
    publish(store, INCOME, "a")

    with pytest.raises(InvalidError):
        move(store, name, 1)


def test_what_is_not_found_names_what_is_near(store: SqlStore) -> None:
    with pytest.raises(NotFoundError, match="Nothing has been published"):
        resolve(store, INCOME)
    publish(store, INCOME, "a")
    publish(store, MODEL, "m")
    move(store, "live", 1)

    with pytest.raises(NotFoundError, match="Did you mean /data/income"):
        resolve(store, "/data/incme")
    for ref in ("@7", "@0", "@99999999999999999999999", "@lve"):
        with pytest.raises(NotFoundError, match=r"versions 1 to 1, live"):
            resolve(store, f"/data/income{ref}")


def test_lineage_goes_upstream_nearest_first_each_edge_once(store: SqlStore) -> None:
    record(store, "raw")
    record(store, "clean", "raw")
    record(store, "left", "clean")
    record(store, "right", "clean", "raw")
    record(store, "model", "left", "right")
    record(store, "unrelated", "raw")

    with store.read() as reader:
        edges = artifacts.lineage(reader, digest_of("model"))
        near = artifacts.lineage(reader, digest_of("model"), depth=1)

    names: dict[str, str] = {digest_of(text): text for text in ("raw", "clean", "left", "right", "model")}
    pairs = [(names[edge.target], names[edge.source]) for edge in edges]
    assert (
        set(pairs[:2])
        == {("model", "left"), ("model", "right")}
        == {(names[edge.target], names[edge.source]) for edge in near}
    )
    assert set(pairs[2:5]) == {("left", "clean"), ("right", "clean"), ("right", "raw")}
    assert pairs[5:] == [("clean", "raw")]


def test_lineage_ends_even_where_edges_make_a_ring(store: SqlStore) -> None:
    record(store, "a", "b")
    record(store, "b", "a")

    with store.read() as reader:
        assert len(artifacts.lineage(reader, digest_of("a"))) == 2


@settings(max_examples=15)
@given(st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("abc")), max_size=12))
def test_every_history_leaves_gapless_versions(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[str, str]]
) -> None:
    store = SqlStore(f"sqlite:///{tmp_path_factory.mktemp('history')}/catalog.db", ManualClock())
    store.open()
    expected: dict[str, list[str]] = {}
    for name, text in history:
        publish(store, f"/data/{name}", text)
        texts = expected.setdefault(f"/data/{name}", [])
        if texts[-1:] != [text]:
            texts.append(text)

    with store.read() as reader:
        found = reader.list(VersionRecord)
    report = audit.verify(store)
    store.close()

    assert [(each.path, each.version, each.digest) for each in found] == [
        (path, number, digest_of(text))
        for path, texts in sorted(expected.items())
        for number, text in enumerate(texts, 1)
    ]
    assert report.ok
