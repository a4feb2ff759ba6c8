"""Deployments against a plane that obeys the test: what is committed, what the plane is told, who decides."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kernos.base.digests import of_file
from kernos.base.errors import ConflictError, CorruptError, NotFoundError, RefusedError
from kernos.base.ids import Digest, Ref
from kernos.catalog.artifacts import resolve
from kernos.loop.deploy import LOOK_EVERY_S
from kernos.runtime.wanted import LATENCY_BOUNDS_MS, Caller, Route, Status, Traffic
from kernos.security.keys import SigningKey

if TYPE_CHECKING:
    from tests.unit.loop.conftest import Machine


@pytest.fixture
def home(machine: Machine) -> Machine:
    machine.app()
    return machine


def traffic(version: int, requests: int, errors: int = 0, rescued: int = 0) -> Traffic:
    return Traffic(
        "m", version, requests, requests, errors, rescued, [requests] + [0] * len(LATENCY_BOUNDS_MS)
    )


def on_trial(home: Machine) -> int:
    """Version 2 beside a live version 1."""
    home.go_live(1.0)
    version = home.package(2.0)
    home.deployer.deploy("m", version, "ann")
    home.deployer.tick()
    assert home.deployment().phase == "canary"
    return version


def package_file(home: Machine, version: int) -> Path:
    with home.store.read() as reader:
        digest = resolve(reader, Ref("/packages/m", str(version))).digest
    return home.blobs.path(digest)


def flip_a_byte(file: Path, *, unseen: bool) -> None:
    """`unseen`: the file's times stay, so that only a look at the bytes finds out."""
    before = file.stat()
    file.chmod(0o600)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    if unseen:
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_first_version_is_loaded_then_live(home: Machine) -> None:
    home.principal("ann", "infer")
    home.principal("eve", "viewer")
    version = home.package(1.0)

    home.deployer.deploy("m", version, "ann")

    waiting = home.deployment()
    assert (waiting.live, waiting.canary, waiting.phase, waiting.share) == (None, 1, "canary", 1.0)
    assert home.name("/packages/m", "canary") == 1
    home.deployer.tick()
    (wanted,) = home.plane.applied
    assert wanted.routes == [Route("m", 1)]
    assert wanted.revisions[0].digest == of_file(Path(wanted.revisions[0].package))
    assert wanted.trusted_keys == [home.signer.public_pem]
    assert wanted.callers == [Caller("ann", "sha of ann")]
    live = home.deployment()
    assert (live.live, live.canary, live.previous, live.phase) == (1, None, None, "live")
    assert home.name("/packages/m", "live") == home.name("/models/m", "live") == 1
    assert home.name("/packages/m", "canary") is home.name("/models/m", "canary") is None
    assert [event.kind for event in home.events("deployment.")] == ["deployment.canary", "deployment.live"]


def test_the_plane_is_told_again_only_when_something_changed(home: Machine) -> None:
    home.go_live()
    home.deployer.tick()
    home.deployer.tick()
    told = len(home.plane.applied)
    home.deployer.tick()
    assert len(home.plane.applied) == told

    home.principal("bob", "infer")
    home.deployer.tick()

    assert len(home.plane.applied) == told + 1
    assert home.plane.applied[-1].generation > home.plane.applied[-2].generation


def test_a_canary_gets_its_share_beside_the_live_version(home: Machine) -> None:
    on_trial(home)

    wanted = home.plane.applied[-1]
    assert wanted.routes == [Route("m", 1, 2, 0.2)]
    assert {(one.app, one.version) for one in wanted.revisions} == {("m", 1), ("m", 2)}
    assert (home.name("/packages/m", "live"), home.name("/packages/m", "canary")) == (1, 2)
    assert (home.name("/models/m", "live"), home.name("/models/m", "canary")) == (1, 2)


def test_a_good_canary_is_promoted_when_time_and_requests_are_enough(home: Machine) -> None:
    on_trial(home)
    home.plane.traffic = [traffic(2, 500)]
    home.deployer.tick()
    assert home.deployment().phase == "canary"

    home.clock.advance(6)
    home.deployer.tick()

    record = home.deployment()
    assert (record.live, record.previous, record.canary, record.share) == (2, 1, None, 0.0)
    assert (home.name("/packages/m", "live"), home.name("/models/m", "live")) == (2, 2)
    assert home.name("/packages/m", "canary") is None
    home.deployer.tick()
    assert home.plane.applied[-1].routes == [Route("m", 2)]
    assert [one.version for one in home.plane.applied[-1].revisions] == [2]


def test_a_failing_canary_is_rolled_back_at_once_with_its_figures(home: Machine) -> None:
    on_trial(home)
    home.plane.traffic = [traffic(2, 100, errors=50, rescued=50)]

    home.deployer.tick()

    record = home.deployment()
    assert (record.live, record.canary, record.phase) == (1, None, "rolled_back")
    assert "50 of 100 requests failed" in record.reason
    assert home.name("/packages/m", "canary") is None
    (event,) = home.events("deployment.rolled_back")
    assert (event.payload["version"], event.payload["to"], event.payload["rescued"]) == (2, 1, 50)
    home.deployer.tick()
    assert home.plane.applied[-1].routes == [Route("m", 1)]


def test_a_canary_that_does_not_load_is_rolled_back(home: Machine) -> None:
    home.go_live()
    home.plane.refuses["m", 2] = "It is signed by nobody."
    home.deployer.deploy("m", home.package(2.0), "ann")

    home.deployer.tick()

    record = home.deployment()
    assert (record.live, record.phase, record.reason) == (
        1,
        "rolled_back",
        "It did not load: It is signed by nobody.",
    )


def test_a_first_version_that_does_not_load_stops_the_service(home: Machine) -> None:
    home.plane.refuses["m", 1] = "damaged"
    home.deployer.deploy("m", home.package(1.0), "ann")

    home.deployer.tick()
    home.deployer.tick()

    record = home.deployment()
    assert (record.live, record.canary, record.phase) == (None, None, "stopped")
    assert record.reason == "It did not load: damaged"
    assert home.plane.applied[-1].routes == []


def test_a_person_may_give_up_the_canary_then_go_back_and_forth(home: Machine) -> None:
    on_trial(home)

    home.deployer.rollback("m", "ann", "rolled back by ann")
    assert (home.deployment().phase, home.deployment().reason) == ("rolled_back", "rolled back by ann")
    with pytest.raises(ConflictError, match="no version to go back to"):
        home.deployer.rollback("m", "ann", "again")

    home.deployer.deploy("m", 2, "ann")
    home.plane.traffic = [traffic(2, 500)]
    home.deployer.tick()
    home.clock.advance(6)
    home.deployer.tick()
    assert home.deployment().live == 2
    home.deployer.rollback("m", "ann", "rolled back by ann")
    record = home.deployment()
    assert (record.live, record.previous, record.phase) == (1, 2, "live")
    assert home.name("/packages/m", "live") == home.name("/models/m", "live") == 1


def test_a_version_that_is_tried_again_gets_a_whole_trial(home: Machine) -> None:
    """A rollback and a new trial of the same version: the old trial's time does not count."""
    on_trial(home)
    home.plane.traffic = [traffic(2, 500)]
    home.deployer.tick()
    home.clock.advance(4.9)
    home.deployer.rollback("m", "ann", "wait")
    home.deployer.deploy("m", 2, "ann")
    home.deployer.tick()

    home.clock.advance(1)
    home.deployer.tick()
    assert home.deployment().phase == "canary"

    home.clock.advance(5)
    home.deployer.tick()
    assert home.deployment().live == 2


def test_a_verdict_on_a_deployment_that_was_moved_meanwhile_is_void(home: Machine) -> None:
    """A person goes back in the moment in which the kernel would promote."""
    on_trial(home)
    home.plane.traffic = [traffic(2, 500)]
    home.clock.advance(6)
    status = home.plane.status

    def late() -> Status | None:
        if home.deployment().canary is not None:
            home.deployer.rollback("m", "ann", "by ann")
        return status()

    home.plane.status = late  # type: ignore[method-assign] # the plane's answer is when the person acts
    home.deployer.tick()

    assert (home.deployment().live, home.deployment().reason) == (1, "by ann")


def test_what_is_live_is_not_deployed_again(home: Machine) -> None:
    home.go_live()

    with pytest.raises(ConflictError, match="m@1 is live already"):
        home.deployer.deploy("m", 1, "ann")
    with pytest.raises(NotFoundError):
        home.deployer.deploy("m", 9, "ann")
    with pytest.raises(ConflictError, match="no version to go back to"):
        home.deployer.rollback("absent", "ann", "")


def test_a_tampered_package_is_not_deployed(home: Machine) -> None:
    home.go_live()
    version = home.package(2.0)
    flip_a_byte(package_file(home, version), unseen=False)

    with pytest.raises(CorruptError):
        home.deployer.deploy("m", version, "ann")

    assert (home.deployment().live, home.deployment().canary) == (1, None)
    assert home.name("/packages/m", "canary") is None


def test_a_package_tampered_with_unseen_is_refused_too(home: Machine) -> None:
    version = home.package(1.0)
    flip_a_byte(package_file(home, version), unseen=True)

    with pytest.raises((CorruptError, RefusedError)):
        home.deployer.deploy("m", version, "ann")


def test_a_package_signed_by_another_key_is_refused(home: Machine, tmp_path: Path) -> None:
    version = home.package(1.0, key=SigningKey.load_or_create(tmp_path / "other"))

    with pytest.raises(RefusedError, match="trust"):
        home.deployer.deploy("m", version, "ann")


def test_a_live_package_that_is_damaged_later_disturbs_nothing_that_serves(home: Machine) -> None:
    """The plane has it in memory; other services are deployed as ever."""
    home.go_live()
    flip_a_byte(package_file(home, 1), unseen=False)
    told = len(home.plane.applied)
    home.deployer.tick()
    assert home.deployment().phase == "live"

    home.deployer.deploy("m", home.package(2.0), "ann")
    home.deployer.tick()

    assert len(home.plane.applied) == told + 1
    assert home.plane.applied[-1].routes == [Route("m", 1, 2, 0.2)]


def test_a_live_version_that_no_longer_loads_gives_way_to_the_one_before(home: Machine) -> None:
    on_trial(home)
    home.plane.traffic = [traffic(2, 500)]
    home.clock.advance(6)
    home.deployer.tick()
    home.deployer.tick()
    assert home.deployment().live == 2
    home.plane.refuses["m", 2] = "damaged"

    home.clock.advance(LOOK_EVERY_S)
    home.deployer.tick()

    record = home.deployment()
    assert (record.live, record.previous, record.phase) == (1, None, "live")
    assert record.reason == "It did not load: damaged"
    assert home.name("/packages/m", "live") == 1
    home.deployer.tick()
    assert home.plane.applied[-1].routes == [Route("m", 1)]


def test_a_damaged_live_version_without_another_is_stopped_until_it_loads(home: Machine) -> None:
    home.go_live()
    file = package_file(home, 1)
    whole = file.read_bytes()
    flip_a_byte(file, unseen=False)
    home.plane.restart()
    home.build_parts()

    for _ in range(3):
        home.deployer.tick()

    record = home.deployment()
    assert (record.live, record.phase) == (1, "stopped")
    assert "other bytes than its digest says" in record.reason
    assert len(home.events("deployment.stopped")) == 1

    file.write_bytes(whole)
    home.deployer.tick()
    assert (home.deployment().live, home.deployment().phase) == (1, "live")


def test_a_plane_that_was_started_again_is_told_everything(home: Machine) -> None:
    home.go_live()
    home.deployer.tick()
    before = home.plane.applied[-1]

    home.plane.restart()
    home.clock.advance(LOOK_EVERY_S)
    home.deployer.tick()

    assert home.plane.applied[-1].routes == before.routes
    assert home.plane.applied[-1].generation > before.generation


def test_a_restarted_kernel_tells_the_plane_a_newer_generation(home: Machine) -> None:
    home.go_live()
    home.deployer.tick()
    before = home.plane.generation

    home.build_parts()
    home.deployer.tick()

    assert home.plane.generation == before + 1
    assert home.deployment().live == 1


def test_a_plane_that_does_not_answer_is_looked_after_and_not_judged(home: Machine) -> None:
    on_trial(home)
    home.plane.is_answering = False
    home.clock.advance(100)
    told = len(home.plane.applied)

    home.deployer.tick()

    assert home.plane.ensured_s[-1] == home.clock.monotonic_s()
    assert len(home.plane.applied) == told
    assert home.deployment().phase == "canary"
    assert home.deployer.status() is None
    assert home.deployer.url == home.plane.url


def test_a_canary_is_judged_on_its_counters_over_a_restart_of_the_plane(home: Machine) -> None:
    on_trial(home)
    home.plane.traffic = [traffic(2, 60)]
    home.deployer.tick()
    home.plane.restart()
    home.plane.traffic = [traffic(2, 30)]
    home.clock.advance(6)

    home.deployer.tick()

    assert home.deployment().live == 2


def test_a_new_candidate_takes_the_place_of_one_on_trial(home: Machine) -> None:
    on_trial(home)

    home.deployer.deploy("m", home.package(3.0), "ann")
    home.deployer.tick()

    assert (home.deployment().live, home.deployment().canary) == (1, 3)
    assert home.plane.applied[-1].routes == [Route("m", 1, 3, 0.2)]
    assert [one.version for one in home.plane.applied[-1].revisions] == [1, 3]


def test_the_digest_of_what_is_wanted_is_the_packages(home: Machine) -> None:
    home.go_live()
    (revision,) = home.plane.applied[-1].revisions

    assert home.blobs.path(Digest(revision.digest)) == Path(revision.package)
