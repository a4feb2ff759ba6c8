"""What is wanted is loaded, what does not verify is not, and a bad file changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernos.base.clock import SystemClock
from kernos.base.errors import CorruptError
from kernos.base.settings import PlaneSettings
from kernos.runtime.plane import Plane
from kernos.runtime.wanted import Route
from kernos.security.keys import SigningKey
from kernos.serve.keeper import Keeper
from kernos.testing.planes import APP, PlaneHome
from kernos.testing.wire import Notebook


class Kept:
    """A home, and a plane that obeys it."""

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.home = PlaneHome(folder)
        self.plane = Plane(loop, PlaneSettings(), SystemClock(), "boot", Notebook().journal())
        self.keeper = Keeper(self.home.folder / "wanted.json", self.plane, SystemClock())
        self._loop = loop

    def reload(self) -> None:
        self._loop.run_until_complete(self.keeper.reload())

    @property
    def why(self) -> dict[int, str]:
        return {version: why for _, version, why in self.plane.failures}


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    loop = asyncio.new_event_loop()
    one = Kept(tmp_path, loop)
    yield one
    one.plane.close()
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def test_nothing_is_wanted_at_first(kept: Kept) -> None:
    kept.reload()

    assert kept.keeper.generation == 0
    assert kept.plane.is_ready


def test_wanted_revisions_are_loaded_and_others_let_go(kept: Kept) -> None:
    one, two = kept.home.package(1, 1.0), kept.home.package(2, 2.0)
    kept.home.want([one, two], Route(APP, 1, canary=2, share=0.1))
    kept.reload()
    assert kept.plane.loaded == [(APP, 1), (APP, 2)]

    kept.home.want([two], Route(APP, 2))
    kept.reload()

    assert kept.plane.loaded == [(APP, 2)]
    assert kept.keeper.generation == 2


def test_what_does_not_verify_is_listed_and_never_served(kept: Kept, tmp_path: Path) -> None:
    good, tampered, absent = (kept.home.package(version, version) for version in (1, 2, 3))
    foreign = kept.home.package(4, 4.0, key=SigningKey.load_or_create(tmp_path / "other"))
    data = bytearray(Path(tampered.package).read_bytes())
    data[len(data) // 2] ^= 1
    Path(tampered.package).write_bytes(data)
    Path(absent.package).unlink()
    swapped = type(good)(APP, 5, good.package, "sha256:" + "0" * 64)
    kept.home.want([good, tampered, absent, foreign, swapped], Route(APP, 1))
    kept.reload()

    assert kept.plane.loaded == [(APP, 1)]
    assert set(kept.why) == {2, 3, 4, 5}
    assert "not the one that is wanted" in kept.why[5]


def test_a_package_that_is_no_model_fails_alone(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernos.testing.planes.linear", lambda _: b"no model")
    kept.home.want([kept.home.package(1, 1.0)], Route(APP, 1))
    kept.reload()

    assert kept.plane.loaded == []
    assert kept.why[1]


def test_a_bug_while_loading_fails_that_revision_alone(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernos.serve.keeper.warmed", None)
    kept.home.want([kept.home.package(1, 1.0)], Route(APP, 1))
    kept.reload()

    assert "TypeError" in kept.why[1]


def test_a_signer_that_is_no_longer_trusted_stops_at_once(kept: Kept, tmp_path: Path) -> None:
    revision = kept.home.package(1, 1.0)
    kept.home.want([revision], Route(APP, 1))
    kept.reload()
    kept.home.key = SigningKey.load_or_create(tmp_path / "new")
    kept.home.want([revision], Route(APP, 1))
    kept.reload()

    assert kept.plane.loaded == []
    assert "no longer trusted" in kept.why[1]
    kept.reload()
    assert kept.plane.loaded == []


def test_a_key_that_cannot_be_read_is_not_trusted(kept: Kept) -> None:
    kept.home.want([kept.home.package(1, 1.0)], Route(APP, 1))
    path = kept.home.folder / "wanted.json"
    path.write_bytes(path.read_bytes().replace(b"PUBLIC KEY", b"SECRET KEY"))
    kept.reload()

    assert kept.plane.loaded == []


def test_a_damaged_file_changes_nothing(kept: Kept) -> None:
    kept.home.want([kept.home.package(1, 1.0)], Route(APP, 1))
    kept.reload()
    (kept.home.folder / "wanted.json").write_bytes(b'{"generation": 2, "revi')

    with pytest.raises(CorruptError):
        kept.reload()

    assert kept.plane.loaded == [(APP, 1)]
    assert kept.keeper.generation == 1


def test_a_revision_that_failed_is_tried_again(kept: Kept) -> None:
    revision = kept.home.package(1, 1.0)
    data = Path(revision.package).read_bytes()
    Path(revision.package).unlink()
    kept.home.want([revision], Route(APP, 1))
    kept.reload()
    Path(revision.package).write_bytes(data)
    kept.reload()

    assert kept.plane.loaded == [(APP, 1)]
    assert kept.plane.failures == []
