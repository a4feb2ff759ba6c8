"""A source is the version made of the file as it is now; a file that changed is fresh."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kernos.base.digests import of_file
from kernos.base.errors import InvalidError, NotFoundError
from kernos.loop.sources import Fresh, Pinned, dataset_name, file_stamp, find_source

if TYPE_CHECKING:
    from tests.unit.loop.conftest import Machine


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "rows.csv"
    file.write_text("a,y\n1,0\n")
    return file


def find(machine: Machine, source: str, folder: Path) -> Pinned | Fresh:
    with machine.store.read() as reader:
        return find_source(reader, source, str(folder))


def known(machine: Machine, file: Path, *, digest: str = "sha256:d1") -> None:
    """The file as it is now is the newest version of `/data/rows`."""
    meta = {"source": str(file), "source_sha256": of_file(file), "stamp": file_stamp(file)}
    machine.artifact(digest, "dataset", meta, "/data/rows")


def test_an_unknown_file_is_fresh(machine: Machine, file: Path) -> None:
    assert find(machine, "rows.csv", file.parent) == Fresh(file, "rows", file_stamp(file))
    assert find(machine, str(file), Path("/")) == Fresh(file, "rows", file_stamp(file))


def test_an_unchanged_file_is_its_newest_version(machine: Machine, file: Path) -> None:
    known(machine, file, digest="sha256:old")
    known(machine, file)

    assert find(machine, "rows.csv", file.parent) == Pinned("/data/rows@2", "sha256:d1")  # type: ignore[arg-type] # a digest


def test_a_file_that_was_only_touched_is_unchanged(machine: Machine, file: Path) -> None:
    known(machine, file)
    os.utime(file, ns=(1, 1))

    assert isinstance(find(machine, "rows.csv", file.parent), Pinned)


def test_a_file_that_changed_is_fresh(machine: Machine, file: Path) -> None:
    known(machine, file)
    file.write_text("a,y\n2,0\n")
    os.utime(file, ns=(1, 1))

    assert isinstance(find(machine, "rows.csv", file.parent), Fresh)


def test_a_file_of_the_same_name_elsewhere_is_another(machine: Machine, file: Path, tmp_path: Path) -> None:
    known(machine, file)
    other = tmp_path / "other" / "rows.csv"
    other.parent.mkdir()
    other.write_bytes(file.read_bytes())

    assert isinstance(find(machine, "rows.csv", other.parent), Fresh)


def test_a_version_is_named_by_path_number_or_name(machine: Machine) -> None:
    machine.artifact("sha256:d1", "dataset", {}, "/data/rows")
    machine.artifact("sha256:d2", "dataset", {}, "/data/rows")

    assert find(machine, "/data/rows@1", Path("/")).ref == "/data/rows@1"  # type: ignore[union-attr] # pinned
    assert find(machine, "/data/rows", Path("/")).ref == "/data/rows@2"  # type: ignore[union-attr] # pinned
    with pytest.raises(NotFoundError, match="/data/rows@3"):
        find(machine, "/data/rows@3", Path("/"))


@pytest.mark.parametrize("source", ["absent.csv", ".", "/data/absent"])
def test_what_is_not_there_is_an_error(machine: Machine, tmp_path: Path, source: str) -> None:
    with pytest.raises(NotFoundError):
        find(machine, source, tmp_path)


@pytest.mark.parametrize(
    ("name", "dataset"),
    [("a.csv", "a"), ("a b.tar.gz", "a_b"), ("é.csv", "é"), ("_x_.csv", "x"), ("a-1.csv", "a-1")],
)
def test_a_dataset_is_named_after_its_file(name: str, dataset: str) -> None:
    assert dataset_name(Path("/x") / name) == dataset


@pytest.mark.parametrize("name", ["...csv", ".hidden", "?.csv"])
def test_a_file_without_a_usable_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidError, match="no dataset name"):
        dataset_name(Path("/x") / name)
