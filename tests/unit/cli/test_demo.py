"""The demo's story: it is good only when all of it came true, and it says so to people and to programs."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from kernos.base.clock import ManualClock
from kernos.base.errors import DeadlineError, FailedError
from kernos.cli.demo import Demo, Story, find_examples, summary


def good() -> Story:
    return Story(
        build={"verdicts": [{"rule": "accuracy >= 0.65", "passed": True}], "best": {"params": {"C": 0.1}}},
        bad_batch_refused=True,
        drift={"alarm": True, "rows_to_alarm": 2110, "e_bound": 10_000.0},
        rows_before_shift=2000,
        drift_to_live_s=12.34,
        retrained=True,
        refused={"detail": "refused by the gate"},
        rolled_back=True,
        rollback_reason="5 of 20 requests failed",
        lineage={"root": "pred:x", "edges": []},
        audit={"ok": True, "size": 400, "root": "ab"},
        data_versions=["/data/diabetes@1", "/data/diabetes@2"],
        live="/models/diabetes@2",
        requests=3000,
        rescued=7,
        seconds=41.26,
    )


def test_a_good_story_is_told_in_figures() -> None:
    said = good().verdict()

    assert good().is_good()
    assert said["drift"] == {"alarm": True, "rows_to_alarm": 110, "bound": 10_000.0}
    assert (said["drift_to_live_seconds"], said["seconds"]) == (12.3, 41.3)
    assert (said["requests"], said["failed_requests"], said["rescued_requests"]) == (3000, 0, 7)
    assert said["live"] == "/models/diabetes@2"
    json.dumps(said)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bad_batch_refused", False),
        ("retrained", False),
        ("refused", {}),
        ("rolled_back", False),
        ("audit", {"ok": False}),
        ("audit", {}),
        ("failed", 1),
        ("drift", {"alarm": False}),
        ("drift", {}),
        ("build", {}),
        ("build", {"verdicts": []}),
        ("build", {"verdicts": [{"passed": True}, {"passed": False}]}),
    ],
)
def test_a_story_of_which_anything_did_not_come_true_is_not_good(name: str, value: Any) -> None:
    story = good()
    setattr(story, name, value)

    assert not story.is_good()


def test_an_empty_story_can_be_told_too() -> None:
    assert not Story().is_good()
    assert Story().verdict()["drift"]["rows_to_alarm"] is None
    assert drawn(Story(), "")


def drawn(story: Story, link: str) -> str:
    out = io.StringIO()
    Console(file=out, width=200).print(summary(story, link))
    return out.getvalue()


def test_people_read_what_happened_and_where_to_look() -> None:
    text = drawn(good(), "http://127.0.0.1:7/login?code=x")

    for words in ("/models/diabetes@2", "110 shifted rows", "refused by the gate", "5 of 20 requests failed",
                  "3000 sent, 0 failed", "400 events, verified", "login?code=x"):  # fmt: skip
        assert words in text
    broken = good()
    broken.audit = {"ok": False, "size": 3}
    assert "NOT verified" in drawn(broken, "")


def test_the_examples_are_found_and_load() -> None:
    examples = find_examples()

    assert {path.name for path in examples.glob("*.py")} >= {"app.py", "data.py", "shuffled.py", "brittle.py"}


class Shell(Demo):
    """A demo whose commands are answered by the test."""

    def __init__(self, home: Path, clock: ManualClock, answers: list[tuple[int, Any]]) -> None:
        super().__init__(home, home, Console(file=io.StringIO(), width=100), clock)
        self.answers = answers
        self.clock = clock
        self.asked: list[tuple[str, ...]] = []

    def _command(self, *words: str) -> tuple[int, Any]:
        self.asked.append(words)
        self.clock.advance(10.0)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def test_a_command_that_fails_ends_the_demo_with_its_reason(tmp_path: Path) -> None:
    shell = Shell(tmp_path, ManualClock(), [(7, {"detail": "no kernel", "hint": "kernos up"})])

    with pytest.raises(FailedError, match="kernos up --detach failed: no kernel") as caught:
        shell.run()
    assert caught.value.hint == "kernos up"


def test_what_does_not_come_in_time_ends_the_demo(tmp_path: Path) -> None:
    shell = Shell(tmp_path, ManualClock(), [(0, {"live": 1})])

    with pytest.raises(DeadlineError, match="the retrained version did not come within 30 s"):
        shell._until(30.0, "the retrained version", lambda service: service["live"] > 1)


def test_what_comes_is_waited_for(tmp_path: Path) -> None:
    shell = Shell(tmp_path, ManualClock(), [(0, {"live": 1}), (0, {"live": 2})])

    assert shell._until(60.0, "it", lambda service: service["live"] > 1) == {"live": 2}
    assert shell.asked == [("services", "diabetes")] * 2


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        ((6, {"detail": "no"}), {"detail": "no"}),
        ((6, {"reason": "refused by the gate"}), {"detail": "refused by the gate"}),
        ((0, {"state": "done"}), {}),
        ((1, {"detail": "it crashed"}), {}),
    ],
)
def test_only_a_refusal_counts_as_one(
    tmp_path: Path, answer: tuple[int, Any], refusal: dict[str, Any]
) -> None:
    assert Shell(tmp_path, ManualClock(), [answer])._refusal("run", "x.py") == refusal


def test_a_demo_runs_the_public_commands_in_its_own_home(tmp_path: Path) -> None:
    demo = Demo(tmp_path, tmp_path, Console(file=io.StringIO()))

    code, problem = demo._command("status")

    assert code == 7
    assert problem["code"] == "unavailable"
    assert str(tmp_path) in problem["detail"]
    assert sys.executable
