"""From Events to the topics that changed. A page names the topics it shows; what the stream sends is only these names. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from kernos.api.views import EventView

TICK = "tick"
"""Sent at a steady pace: durations and counters have moved even without an Event."""


def topics_of(events: Iterable[EventView]) -> list[str]:
    """Sorted and without doubles; `home` and `audit` are in whenever anything happened."""
    topics: set[str] = set()
    for event in events:
        topics |= {"home", "audit"} | _of_subject(event.subject)
        app = event.payload.get("app")
        if isinstance(app, str) and app:
            topics |= {"apps", "services", f"app:{app}", f"service:{app}"}
        parent = event.payload.get("parent")
        if isinstance(parent, int):
            topics.add(f"run:{parent}")
    return sorted(topics)


def _of_subject(subject: str) -> set[str]:
    kind, _, name = subject.partition(":")
    if kind == "run":
        return {"runs", subject}
    if kind in {"service", "deployment"}:
        return {"apps", "services", f"app:{name}", f"service:{name}"}
    if subject.startswith("/"):
        app = subject.partition("@")[0].rpartition("/")[2]
        return {"catalog", "apps", "services", f"app:{app}", f"service:{app}"}
    return set()
