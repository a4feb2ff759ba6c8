from __future__ import annotations

import msgspec

from kernos.api.views import RunView

RUN = {
    "id": 1, "kind": "step", "app": "a", "name": "n", "owner": "o", "parent": None, "state": "done", "reason": "",
    "class": "batch", "weight": 1.0, "cpus": 1.0, "memory_bytes": 0, "attempts": 1, "queued_ms": 1, "started_ms": 2,
    "ended_ms": 3, "wall_s": 0.1, "cpu_s": 0.1, "rss_bytes": 1, "outputs": [],
}  # fmt: skip


def test_a_run_calls_its_class_by_the_word_people_use() -> None:
    view = msgspec.convert(RUN, RunView)

    assert view.klass == "batch"
    assert msgspec.to_builtins(view)["class"] == "batch"


def test_a_field_of_a_newer_kernel_does_not_break_an_older_client() -> None:
    assert msgspec.convert(RUN | {"colour": "blue"}, RunView).id == 1
