"""Loading tells what the module declares, or where it is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from kernos.base.errors import InvalidError
from kernos.loop.work import load

if TYPE_CHECKING:
    from tests.unit.loop.work.conftest import Bench


def test_the_manifest_is_told_as_plain_values(bench: Bench) -> None:
    manifest = load.run(bench.task())["manifest"]

    assert (manifest["app"], manifest["target"], manifest["sensitive"]) == ("diabetes", "progressed", ["sex"])
    assert [step["name"] for step in manifest["steps"]] == ["clean", "train"]
    assert manifest["gates"][0]["text"] == "accuracy >= 0.65"


def test_a_mistake_names_its_line(make_bench: Callable[[str], Bench], example: str) -> None:
    source = example.replace("accuracy >= 0.65", "acuracy >= 0.65")
    line = next(number for number, row in enumerate(source.splitlines(), 1) if "acuracy" in row)

    with pytest.raises(InvalidError, match=rf"app\.py:{line}"):
        load.run(make_bench(source).task())
