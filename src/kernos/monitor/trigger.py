"""Whether to build again, now. Pure: the same facts give the same decision, with its reason in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, assert_never

import msgspec

from kernos.spec.manifest import Trigger


class Alarm(msgspec.Struct, frozen=True):
    """Raised by the watch of the version that is live."""

    what: Literal["inputs", "accuracy"]
    at_ms: int


class BuildTimes(msgspec.Struct, frozen=True):
    """Wall-clock milliseconds; whoever asked for the build."""

    started_ms: int
    ended_ms: int | None


class Decision(msgspec.Struct, frozen=True):
    start: bool
    cause: Literal["", "drift", "schedule"]
    reason: str
    """A sentence for the journal and the console."""
    not_before_ms: int | None = None
    """When the rate limit, or the period, will let the next one start."""


def decide(trigger: Trigger, alarms: Sequence[Alarm], builds: Sequence[BuildTimes], now_ms: int) -> Decision:
    """One build at a time; on drift at least `trigger.every_s` after the last start, on time each `every_s`.

    An alarm that a build could not end (its gate refused, say) asks again once the distance has passed. A
    last start in the future means that the wall clock went back: it then holds nothing up.
    """
    if trigger.on == "":
        return Decision(False, "", "The app builds only when asked.")
    if any(build.ended_ms is None for build in builds):
        return Decision(False, "", "A build is running.")
    match trigger.on:
        case "drift":
            return _on_drift(trigger, alarms, builds, now_ms)
        case "time":
            return _on_time(trigger, builds, now_ms)
        case _:
            assert_never(trigger.on)


def _on_drift(
    trigger: Trigger, alarms: Sequence[Alarm], builds: Sequence[BuildTimes], now_ms: int
) -> Decision:
    if not alarms:
        return Decision(False, "", "No alarm stands.")
    first = min(alarms, key=lambda alarm: alarm.at_ms)
    told = "The inputs have drifted" if first.what == "inputs" else "The live errors have become too many"
    not_before = _not_before(trigger, builds, now_ms)
    if not_before > now_ms:
        wait = (
            f"the last build started {_span(now_ms - _last(builds))} ago and the app builds {_rate(trigger)}"
        )
        return Decision(False, "drift", f"{told}, but {wait}.", not_before)
    return Decision(True, "drift", f"{told}.", not_before)


def _on_time(trigger: Trigger, builds: Sequence[BuildTimes], now_ms: int) -> Decision:
    not_before = _not_before(trigger, builds, now_ms)
    if not_before > now_ms:
        wait = _span(not_before - now_ms)
        return Decision(False, "schedule", f"The next build is due in {wait}.", not_before)
    return Decision(
        True, "schedule", f"The app builds every {_span(round(trigger.every_s * 1000))}.", not_before
    )


def _not_before(trigger: Trigger, builds: Sequence[BuildTimes], now_ms: int) -> int:
    if not builds or _last(builds) > now_ms:
        return now_ms
    return _last(builds) + round(trigger.every_s * 1000)


def _last(builds: Sequence[BuildTimes]) -> int:
    return max(build.started_ms for build in builds)


def _rate(trigger: Trigger) -> str:
    return f"at most every {_span(round(trigger.every_s * 1000))}"


def _span(duration_ms: int) -> str:
    for size, unit in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s")):
        if duration_ms >= size:
            return f"{duration_ms / size:.3g} {unit}"
    return f"{duration_ms} ms"
