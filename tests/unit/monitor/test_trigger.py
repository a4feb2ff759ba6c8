from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from kernos.monitor.trigger import Alarm, BuildTimes, Decision, decide
from kernos.spec.manifest import Trigger

DAY, HOUR = 86_400_000, 3_600_000
DAILY = Trigger("on drift, at most daily", "drift", 86_400.0)
HOURLY = Trigger("every 6h", "time", 6 * 3600.0)
ALARM = [Alarm("inputs", 5)]


def test_an_app_without_a_trigger_never_builds_by_itself() -> None:
    assert not decide(Trigger(), ALARM, [], 10 * DAY).start


def test_an_alarm_starts_a_build() -> None:
    assert decide(DAILY, ALARM, [], 10 * DAY) == Decision(True, "drift", "The inputs have drifted.", 10 * DAY)


def test_errors_count_as_drift_too() -> None:
    decision = decide(DAILY, [Alarm("accuracy", 4), *ALARM], [], DAY)

    assert (decision.start, decision.reason) == (True, "The live errors have become too many.")


def test_no_alarm_no_build() -> None:
    assert decide(DAILY, [], [BuildTimes(0, 1)], 100 * DAY) == Decision(False, "", "No alarm stands.")


def test_one_build_at_a_time() -> None:
    running = [BuildTimes(0, 1), BuildTimes(2, None)]

    assert decide(DAILY, ALARM, running, 100 * DAY).reason == "A build is running."
    assert not decide(HOURLY, [], running, 100 * DAY).start


def test_drift_builds_keep_their_distance() -> None:
    early = decide(DAILY, ALARM, [BuildTimes(HOUR, 2 * HOUR)], 4 * HOUR)

    assert not early.start
    assert early.not_before_ms == HOUR + DAY
    assert early.reason == (
        "The inputs have drifted, but the last build started 3 h ago and the app builds at most every 1 d."
    )
    assert decide(DAILY, ALARM, [BuildTimes(HOUR, 2 * HOUR)], HOUR + DAY).start


def test_without_a_rate_drift_builds_again_at_once() -> None:
    assert decide(Trigger("on drift", "drift"), ALARM, [BuildTimes(9, 10)], 10).start


def test_time_builds_at_once_then_every_period() -> None:
    assert decide(HOURLY, [], [], 0).start
    waiting = decide(HOURLY, [], [BuildTimes(0, 1)], 5 * HOUR)
    assert waiting == Decision(False, "schedule", "The next build is due in 1 h.", 6 * HOUR)
    assert decide(HOURLY, [], [BuildTimes(0, 1)], 6 * HOUR).cause == "schedule"


def test_a_clock_that_went_back_holds_nothing_up() -> None:
    assert decide(DAILY, ALARM, [BuildTimes(9 * DAY, 9 * DAY + 1)], DAY).start


@given(st.lists(st.integers(0, 2 * HOUR), min_size=1, max_size=60), st.sampled_from([DAILY, HOURLY]))
def test_builds_are_never_closer_than_the_trigger_says(steps: list[int], trigger: Trigger) -> None:
    now, builds = 0, list[BuildTimes]()
    for step in steps:
        now += step
        if decide(trigger, ALARM, builds, now).start:
            builds.append(BuildTimes(now, now))

    starts = [build.started_ms for build in builds]
    assert all(later - sooner >= trigger.every_s * 1000 for sooner, later in pairwise(starts))
    assert starts[0] == steps[0]


def test_it_loads_no_numeric_library() -> None:
    program = "import sys, kernos.monitor.trigger; sys.exit(bool({'polars', 'numpy'} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
