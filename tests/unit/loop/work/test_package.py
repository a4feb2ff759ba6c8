"""The package: everything that stands behind the model, signed by the kernel, and checked by whoever loads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from kernos.base.errors import RefusedError
from kernos.base.ids import Digest
from kernos.loop.work import package
from kernos.loop.work.package import REPLAY_ROWS
from kernos.models.package import Package, open_package
from kernos.monitor.features import Reference
from kernos.runtime.engine import OnnxEngine
from kernos.security.keys import SigningKey, VerifyKey

if TYPE_CHECKING:
    from tests.unit.loop.work.conftest import Bench


def opened(bench: Bench, key: SigningKey | None = None) -> Package:
    path = bench.blobs.path(Digest(bench.results["package"]["digest"]))
    return open_package(path, [VerifyKey.from_pem((key or bench.key).public_pem)])


def test_it_opens_with_all_that_was_judged(judged: Bench) -> None:
    result = judged.package()

    found = opened(judged)
    assert found.manifest.model == judged.results["gate"]["model"]
    assert found.manifest.params == {"C": "0.5"}
    assert found.files == result["files"]
    assert result["size_bytes"] == judged.blobs.size(result["digest"])
    assert msgspec.json.decode(found.read("gates.json")) == judged.results["gate"]["verdicts"]
    assert "Diabetes." in found.read("card.md").decode()


def test_it_carries_answers_by_which_a_loader_checks_itself(judged: Bench) -> None:
    judged.package()
    found = opened(judged)

    replay = msgspec.json.decode(found.read("replay.json"))
    engine = OnnxEngine(found.read("model.onnx"), found.manifest.signature)
    inputs = {name: np.asarray(values, np.float32) for name, values in replay["inputs"].items()}
    answers = engine.run(inputs)
    assert len(replay["inputs"]["input"]) == REPLAY_ROWS
    for name, wanted in replay["outputs"].items():
        assert np.array_equal(answers[name], np.asarray(wanted, answers[name].dtype))


def test_a_stranger_does_not_open_it(judged: Bench) -> None:
    judged.package()

    with pytest.raises(RefusedError):
        opened(judged, SigningKey.load_or_create(judged.workshop.home / "other"))


def test_a_model_that_answers_otherwise_than_it_was_fitted_is_refused(judged: Bench) -> None:
    meta = judged.results["flow"]["meta"]
    parity = {**meta["parity"], "ok": False, "reason": "3 of 300 labels differ"}

    with pytest.raises(RefusedError, match="3 of 300 labels differ"):
        judged.package(model={**meta, "parity": parity})

    assert "sign" not in [verb for verb, _ in judged.workshop.asked]


def test_drift_is_measured_from_the_newest_rows_where_they_are_enough(judged: Bench) -> None:
    def rows(recent: int) -> float:
        judged.package(recent_rows=recent)
        reference = msgspec.json.decode(opened(judged).read("reference.json"), type=Reference)
        return reference.rows

    whole = judged.results["flow"]["meta"]["training_rows"]
    assert (rows(0), rows(199), rows(250)) == (whole, whole, 250)


def test_the_same_facts_make_the_same_package(judged: Bench) -> None:
    payload = judged.package_payload()

    digests = {package.run(judged.task(**payload))["digest"] for _ in range(2)}

    assert len(digests) == 1
