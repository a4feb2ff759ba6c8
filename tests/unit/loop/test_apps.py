"""Bundles by digest, and the Manifests behind them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from kernos.base.errors import InvalidError, LimitError, NotFoundError
from kernos.base.ids import Digest
from kernos.catalog.blobs import FileBlobs
from kernos.loop.apps import BUNDLE_LIMIT_BYTES, app_of_code, find_app, store_bundle
from kernos.loop.room import code_folder
from kernos.spec.manifest import Manifest

if TYPE_CHECKING:
    from tests.unit.loop.conftest import Machine

FILES = {"app.py": "x = 1\n", "parts/steps.py": "y = 2\n"}


def test_sources_are_kept_by_digest_and_laid_out(blobs: FileBlobs, tmp_path: Path) -> None:
    code, size_bytes = store_bundle(FILES, "app.py", blobs, tmp_path)

    assert msgspec.json.decode(blobs.get(code)) == {"files": FILES, "main": "app.py"}
    assert size_bytes == blobs.size(code)
    folder = code_folder(tmp_path, code)
    assert {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.py")} == FILES


def test_the_same_sources_have_the_same_digest(blobs: FileBlobs, tmp_path: Path) -> None:
    first = store_bundle(FILES, "app.py", blobs, tmp_path)

    assert store_bundle(dict(reversed(FILES.items())), "app.py", blobs, tmp_path) == first
    assert store_bundle({**FILES, "app.py": "x = 2\n"}, "app.py", blobs, tmp_path)[0] != first[0]
    assert store_bundle(FILES, "parts/steps.py", blobs, tmp_path)[0] != first[0]


@pytest.mark.parametrize(
    "name", ["/etc/app.py", "../app.py", "a/../../b.py", "notes.txt", "app.pyc", "model.pkl", ""]
)
def test_a_file_that_is_no_source_below_the_folder_is_refused(
    blobs: FileBlobs, tmp_path: Path, name: str
) -> None:
    with pytest.raises(InvalidError, match="not a Python file below"):
        store_bundle({"app.py": "", name: "x"}, "app.py", blobs, tmp_path)

    assert list(blobs.digests()) == []


def test_a_bundle_has_its_main_file(blobs: FileBlobs, tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match=r"no file 'b\.py'"):
        store_bundle(FILES, "b.py", blobs, tmp_path)


def test_a_bundle_has_a_limit(blobs: FileBlobs, tmp_path: Path) -> None:
    with pytest.raises(LimitError, match="4 MiB"):
        store_bundle({"app.py": "#" * BUNDLE_LIMIT_BYTES}, "app.py", blobs, tmp_path)


def test_the_newest_version_is_found_by_name_and_any_by_code(machine: Machine) -> None:
    machine.app(Manifest("m", "y", doc="old"), "sha256:c1")
    machine.app(Manifest("m", "y", doc="new"), "sha256:c2")

    with machine.store.read() as reader:
        newest = find_app(reader, "m")
        assert (newest.name, newest.version, newest.code, newest.main) == ("m", 2, "sha256:c2", "app.py")
        assert newest.manifest.doc == "new"
        assert app_of_code(reader, Digest("sha256:c1")).manifest.doc == "old"


def test_an_app_that_is_not_there_says_so(machine: Machine) -> None:
    machine.artifact("sha256:d", "dataset", {})
    with machine.store.read() as reader:
        with pytest.raises(NotFoundError, match="/apps/absent"):
            find_app(reader, "absent")
        with pytest.raises(InvalidError, match="not a name for an App"):
            find_app(reader, "../x")
        for code in ("sha256:none", "sha256:d"):
            with pytest.raises(NotFoundError, match="No App has the code"):
                app_of_code(reader, Digest(code))
