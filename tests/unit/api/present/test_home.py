from __future__ import annotations

import msgspec

from kernos.api.present.home import attention
from kernos.api.views import DriftView, ServiceView

QUIET = ServiceView(
    app="a", url="http://x", phase="live", reason="", live=1, previous=None, canary=None, share=0.0, since_ms=0,
    traffic=[], drift=None, accuracy=None, feedback_rows=0,
)  # fmt: skip


def test_a_quiet_service_needs_no_one() -> None:
    assert attention([QUIET], [], []) == []


def test_what_is_wrong_with_a_service_is_told_gravest_first() -> None:
    service = msgspec.structs.replace(
        QUIET,
        url="",
        phase="canary",
        canary=2,
        share=0.1,
        drift=DriftView(True, 900, 2e4, 1e4, 880, [], ""),
    )

    assert [line.level for line in attention([service], [], [])] == ["error", "warning", "info"]


def test_a_stopped_service_may_be_silent() -> None:
    assert attention([msgspec.structs.replace(QUIET, url="", phase="stopped")], [], []) == []


def test_what_an_app_asks_for_and_does_not_get_is_said() -> None:
    noted = msgspec.structs.replace(QUIET, notes=["explain=True: unavailable"])

    assert [(line.level, line.text) for line in attention([noted], [], [])] == [
        ("info", "a: explain=True: unavailable")
    ]
