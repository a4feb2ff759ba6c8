"""A system is opened whole or not at all, owns its home alone, and stops what it started."""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kernos.base.errors import ConflictError, CorruptError, KernosError, UnavailableError
from kernos.base.settings import KernelSettings, Settings
from kernos.catalog.audit import sign_head, verify
from kernos.catalog.records import PrincipalRecord
from kernos.client.home import living_kernel
from kernos.security.tokens import Authenticator
from kernos.system import System, open_system

Opening = Callable[[Settings], System]
URL = "http://127.0.0.1:7"


def settings_of(home: Path) -> Settings:
    return Settings(home=str(home), kernel=KernelSettings(cpus=1.0))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path / "home")


@pytest.fixture
def opening() -> Iterator[Opening]:
    """Opens systems, and stops those that a test has left open."""
    opened: list[System] = []

    def opening(settings: Settings) -> System:
        opened.append(open_system(settings))
        return opened[-1]

    yield opening
    for system in opened:
        if not system.lock.closed:
            system.stop()


@pytest.fixture
def system(settings: Settings, opening: Opening) -> System:
    return opening(settings)


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def die(system: System) -> None:
    """As a kernel that was killed: nothing is said to the plane."""
    system.is_plane_ours = False
    system.stop()


def test_a_home_is_made_private_with_all_its_folders(system: System) -> None:
    assert stat.S_IMODE(system.home.stat().st_mode) == 0o700
    assert {path.name for path in system.home.iterdir() if path.is_dir()} >= {
        "keys",
        "runs",
        "plane",
        "blobs",
        "apps",
    }
    assert (system.home / "plane" / "log").is_dir()


def test_the_first_administrator_gets_one_private_token(
    system: System, settings: Settings, opening: Opening
) -> None:
    file = system.home / "token"
    token = file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert system.auth.caller(token).role == "admin"
    with system.store.read() as reader:
        admin = reader.get(PrincipalRecord, "admin")
    assert admin is not None
    assert token not in admin.token_sha256

    system.stop()
    again = opening(settings)
    assert file.read_text() == token
    assert isinstance(again.auth, Authenticator)
    again.stop()


def test_a_home_has_one_kernel(system: System, settings: Settings, opening: Opening) -> None:
    with pytest.raises(ConflictError, match="Another kernel runs") as caught:
        opening(settings)
    assert f"kernos down --home {system.home}" in caught.value.hint

    system.stop()
    opening(settings).stop()


def test_two_homes_do_not_mind_each_other(system: System, tmp_path: Path, opening: Opening) -> None:
    opening(settings_of(tmp_path / "other")).stop()


@pytest.mark.parametrize("name", ["", "keys"])
def test_a_home_that_cannot_be_made_is_said(tmp_path: Path, name: str, opening: Opening) -> None:
    home = tmp_path / "home"
    if name:
        home.mkdir()
    (home / name if name else home).write_text("a file")

    with pytest.raises(UnavailableError, match="cannot be made") as caught:
        opening(settings_of(home))
    assert "--home" in caught.value.hint


def test_a_lock_that_cannot_be_opened_is_said(tmp_path: Path, opening: Opening) -> None:
    (tmp_path / "kernel.lock").mkdir()

    with pytest.raises(UnavailableError, match="cannot be written"):
        opening(settings_of(tmp_path))


@pytest.mark.parametrize("file", ["catalog.db", "keys"])
def test_an_opening_that_fails_leaves_no_lock_and_no_thread(
    settings: Settings, file: str, opening: Opening
) -> None:
    opening(settings).stop()
    before = threads()
    found = settings.home_path / file
    for path in found.iterdir() if found.is_dir() else [found]:
        path.write_bytes(b"this is neither a key nor a database" * 300)

    for _ in range(2):
        with pytest.raises(KernosError) as caught:
            opening(settings)
        assert not isinstance(caught.value, ConflictError)
    assert threads() == before


def test_only_this_homes_key_signs_its_journal(system: System, tmp_path: Path, opening: Opening) -> None:
    sign_head(system.store, system.signer.sign, system.signer.key_id)
    assert verify(system.store, system.check_head).signed_size > 0

    stranger = opening(settings_of(tmp_path / "other"))
    assert not system.check_head(b"x", stranger.signer.sign(b"x").hex(), stranger.signer.key_id)
    assert not system.check_head(b"x", stranger.signer.sign(b"x").hex(), system.signer.key_id)
    assert system.check_head(b"x", system.signer.sign(b"x").hex(), system.signer.key_id)
    stranger.stop()


def test_it_starts_says_where_it_is_and_stops(system: System) -> None:
    system.start(URL)

    file = living_kernel(system.home)
    assert file is not None
    assert (file.url, file.plane_url) == (URL, system.plane.url)
    assert file.socket == str(system.home / "kernel.sock")
    assert system.plane.status() is not None

    system.stop()
    assert living_kernel(system.home) is None
    assert not system.plane.alive()
    assert not {name for name in threads() if "kernos" in name or name == "reconciler"}


def test_a_system_that_never_started_leaves_a_plane_alone(settings: Settings, opening: Opening) -> None:
    first = opening(settings)
    first.start(URL)
    die(first)
    assert first.plane.alive()

    second = opening(settings)
    second.stop()
    assert first.plane.alive()

    third = opening(settings)
    third.start(URL)
    assert third.plane.url == first.plane.url
    third.stop()
    assert not first.plane.alive()


def test_a_start_that_fails_keeps_the_plane_it_found_and_ends_the_one_it_made(
    settings: Settings, opening: Opening
) -> None:
    def failing() -> None:
        raise CorruptError("the Runs cannot be read")

    fresh = opening(settings)
    fresh.kernel.start = failing  # type: ignore[method-assign] # any failure after the plane's start
    with pytest.raises(CorruptError):
        fresh.start(URL)
    assert fresh.plane.alive()
    fresh.stop()
    assert not fresh.plane.alive()

    good = opening(settings)
    good.start(URL)
    die(good)
    later = opening(settings)
    later.kernel.start = failing  # type: ignore[method-assign] # as above
    with pytest.raises(CorruptError):
        later.start(URL)
    later.stop()
    assert good.plane.alive()
    good.plane.stop()


def test_what_one_part_fails_with_keeps_no_other_from_stopping(settings: Settings, opening: Opening) -> None:
    system = opening(settings)
    system.start(URL)

    def failing() -> None:
        reconciler_stop()
        raise UnavailableError("the disk is full")

    reconciler_stop = system.reconciler.stop
    system.reconciler.stop = failing  # type: ignore[method-assign] # a head that cannot be written

    with pytest.raises(UnavailableError, match="the disk is full"):
        system.stop()

    assert not system.plane.alive()
    assert system.lock.closed
    opening(settings).stop()
