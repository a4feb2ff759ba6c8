from __future__ import annotations

from typing import Any

import pytest

from kernos.api.views import EventView
from kernos.console.topics import topics_of


def event(subject: str, **payload: Any) -> EventView:
    return EventView(1, 0, "run.done", subject, "kernel", payload, "")


@pytest.mark.parametrize(
    ("told", "topics"),
    [
        (
            event("run:13", app="a", parent=9),
            {"runs", "run:13", "run:9", "app:a", "service:a", "apps", "services"},
        ),
        (event("run:13", app="", parent=None), {"runs", "run:13"}),
        (event("/packages/a@2"), {"catalog", "apps", "services", "app:a", "service:a"}),
        (event("/packages/a"), {"catalog", "apps", "services", "app:a", "service:a"}),
        (event("deployment:a"), {"apps", "services", "app:a", "service:a"}),
        (event("service:a"), {"apps", "services", "app:a", "service:a"}),
        (event("sha256:" + "0" * 64), set()),
        (event("head"), set()),
    ],
)
def test_an_event_touches_the_pages_that_show_it(told: EventView, topics: set[str]) -> None:
    assert set(topics_of([told])) == topics | {"home", "audit"}


def test_topics_come_once_and_sorted() -> None:
    topics = topics_of([event("run:2"), event("run:1"), event("run:2")])

    assert topics == sorted(set(topics))


def test_nothing_happened_nothing_changed() -> None:
    assert topics_of([]) == []
