"""A disk that fills up while blobs and catalog are written: typed errors, nothing half-written, and on it goes with room."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kernos.base.clock import SystemClock
from kernos.base.digests import of_bytes
from kernos.base.errors import KernosError, UnavailableError
from kernos.base.ids import Digest
from kernos.catalog.artifacts import publish
from kernos.catalog.audit import verify
from kernos.catalog.blobs import FileBlobs
from kernos.catalog.records import ArtifactRecord, VersionRecord
from kernos.catalog.store import SqlStore
from kernos.client.api import Client

if TYPE_CHECKING:
    from tests.conftest import Home

Mount = Callable[[Path, str], "Disk"]


class Disk:
    """A small file system of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self, leave_bytes: int = 0) -> None:
        """Take all the room there is, but for so much."""
        with self._filler.open("ab", buffering=0) as file:
            while (free := shutil.disk_usage(self.path).free - leave_bytes) > 0:
                file.write(b"\0" * min(free, 1 << 20))

    def free(self) -> None:
        self._filler.unlink()


@pytest.fixture
def mount() -> Iterator[Mount]:
    if os.geteuid() != 0:
        pytest.skip("SKIPPED: only root can mount a small file system to fill")
    mounted: list[Path] = []

    def make(path: Path, size: str) -> Disk:
        path.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("SKIPPED: tmpfs cannot be mounted here")
        mounted.append(path)
        return Disk(path)

    yield make
    for path in mounted:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def test_blobs_on_a_full_disk_are_whole_or_absent(tmp_path: Path, mount: Mount) -> None:
    disk = mount(tmp_path / "disk", "4m")
    blobs = FileBlobs(disk.path / "blobs")
    chance = random.Random(3)
    kept: list[Digest] = []
    with pytest.raises(UnavailableError, match="The disk is full"):
        put_all(blobs, kept, chance)
    source = tmp_path / "file"
    source.write_bytes(chance.randbytes(3_000_000))
    with pytest.raises(UnavailableError, match="The disk is full"):
        blobs.put_file(source)

    assert sorted(blobs.digests()) == sorted(kept)
    assert list((disk.path / "blobs" / "tmp").iterdir()) == []
    for digest in kept:
        assert of_bytes(blobs.get(digest)) == digest

    blobs.delete(kept.pop())
    kept.append(blobs.put(chance.randbytes(200_000)))
    assert sorted(blobs.digests()) == sorted(kept)


def test_a_catalog_on_a_full_disk_keeps_what_it_acknowledged(tmp_path: Path, mount: Mount) -> None:
    disk = mount(tmp_path / "disk", "16m")
    store = SqlStore(f"sqlite:///{disk.path / 'catalog.db'}", SystemClock())
    store.open()
    try:
        acknowledged = [publish_one(store, number) for number in range(20)]
        disk.fill()
        refused = 0
        for number in range(20, 400):
            try:
                acknowledged.append(publish_one(store, number))
            except UnavailableError as error:
                assert error.hint
                refused += 1
        assert refused > 0
        assert verify(store).ok

        disk.free()
        acknowledged.append(publish_one(store, 1000))
        with store.read() as reader:
            versions = {version.digest for version in reader.list(VersionRecord)}
            artifacts = {artifact.digest for artifact in reader.list(ArtifactRecord)}
        assert set(acknowledged) <= versions == artifacts
        assert verify(store).ok
    finally:
        store.close()


def put_all(blobs: FileBlobs, kept: list[Digest], chance: random.Random) -> None:
    for _ in range(100):
        kept += [blobs.put(chance.randbytes(300_000))]


def publish_one(store: SqlStore, number: int) -> Digest:
    digest = of_bytes(str(number).encode())
    meta = {"bulk": random.Random(number).randbytes(4000).hex()}
    artifact = ArtifactRecord(digest, "value", 1, meta, None, 0)
    store.write(lambda tx: publish(tx, "/data/x", artifact, [], "ann"))
    return digest


@pytest.mark.timeout(240)
def test_a_kernel_on_a_full_disk_refuses_with_reason_and_goes_on_with_room(
    cold_home: Home, diabetes: Path, mount: Mount
) -> None:
    disk = mount(cold_home.path, "64m")
    app = diabetes / "app.py"
    app.write_text(app.read_text().replace('tune={"C": (0.001, 10.0)}, trials=8, ', ""))
    cold_home.up()
    try:
        cold_home.json("run", str(app))
        versions = [version_of(cold_home, table(diabetes, 1))]

        disk.fill(leave_bytes=200_000)
        code, problem = cold_home.refusal("ingest", str(table(diabetes, 2, rows=150_000)), "--name", "t")
        assert (code, problem["code"]) == (7, "unavailable")
        assert "disk" in problem["detail"].lower() or "space" in problem["detail"].lower()
        disk.fill()
        asked = ask_for_more(cold_home, diabetes, range(3, 13))
        assert cold_home.json("services", "diabetes")["phase"] == "live"

        disk.free()
        assert {run["state"] for run in settled(cold_home, asked)} <= {"done", "failed"}
        versions.append(version_of(cold_home, table(diabetes, 20)))
        assert {cold_home.json("show", version)["ref"] for version in versions} == set(versions)
        app.write_text(app.read_text().replace("C: float = 1.0", "C: float = 0.3"))
        assert cold_home.json("run", str(app))["state"] == "done"
        assert cold_home.json("audit", "verify")["ok"]
        assert damaged(cold_home.path / "blobs") == []
    finally:
        cold_home.down()


def table(folder: Path, number: int, rows: int = 50) -> Path:
    file = folder / f"t{number}.csv"
    chance = random.Random(number)
    file.write_text("a,b\n" + "".join(f"{chance.random()},{chance.random()}\n" for _ in range(rows)))
    return file


def version_of(home: Home, file: Path) -> str:
    """Ingest it; the version it has become."""
    (version,) = home.json("ingest", str(file), "--name", "t")["outputs"]
    return str(version)


def ask_for_more(home: Home, folder: Path, numbers: range) -> list[int]:
    """The Runs that were acknowledged; what was not was refused with the one error that fits."""
    client = Client.from_home(home.path)
    asked = []
    for number in numbers:
        try:
            asked.append(int(client.ingest(str(table(folder, number)), "t")["id"]))
        except KernosError as error:
            assert error.code == "unavailable"
    return asked


def settled(home: Home, runs: list[int]) -> list[dict[str, Any]]:
    """The Runs once they have ended; the driver tries again within ten seconds of a failed commit."""
    clock = SystemClock()
    client = Client.from_home(home.path)
    deadline_s = clock.monotonic_s() + 60
    found = []
    for run in runs:
        view = client.wait(run, 10.0)
        while view["state"] in {"queued", "running"}:
            assert clock.monotonic_s() < deadline_s, view["reason"]
            view = client.wait(run, 10.0)
        found.append(view)
    return found


def damaged(blobs: Path) -> list[Path]:
    """Blobs that are not what their digest says, and whatever was half-written."""
    files = [file for folder in blobs.iterdir() for file in folder.iterdir()]
    return [
        file
        for file in files
        if hashlib.sha256(file.read_bytes()).hexdigest() != file.parent.name + file.name
    ]
