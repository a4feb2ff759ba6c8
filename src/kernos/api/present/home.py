"""The home page as data: what runs, what is served, what a person should look at."""

from __future__ import annotations

from collections.abc import Sequence

from kernos.api.views import AttentionView, RunView, ServiceView


def attention(
    services: Sequence[ServiceView], failed: Sequence[RunView], queued: Sequence[RunView]
) -> list[AttentionView]:
    """The gravest first; nothing that needs no one. `failed` are builds, `queued` Runs that wait."""
    found = [line for service in services for line in _service(service)]
    found += [_run("error", f"Build {run.id} of {run.app} failed: {run.reason}", run) for run in failed]
    found += [_run("info", f"Run {run.id} waits: {run.reason}", run) for run in queued]
    order = {"error": 0, "warning": 1, "info": 2}
    return sorted(found, key=lambda line: order[line.level])


def _run(level: str, text: str, run: RunView) -> AttentionView:
    return AttentionView(level, text, f"/runs/{run.id}", f"kernos why {run.id}")


def _service(service: ServiceView) -> list[AttentionView]:
    app, link = service.app, f"/services/{service.app}"
    found = []
    if not service.url and service.phase != "stopped":
        found.append(
            AttentionView("error", f"{app} is not answered: {service.reason}", link, "kernos doctor")
        )
    if service.phase == "rolled_back":
        text = f"{app} was rolled back to version {service.live}: {service.reason}"
        found.append(AttentionView("warning", text, link, f"kernos services {app}"))
    if service.phase == "canary":
        text = f"{app} has a canary, version {service.canary}, with {service.share:.0%} of the traffic"
        found.append(AttentionView("info", text, link, f"kernos services {app}"))
    if service.drift is not None and service.drift.alarm:
        text = f"{app} sees other data than it was trained on"
        found.append(AttentionView("warning", text, link, f"kernos services {app}"))
    found += [
        AttentionView("info", f"{app}: {note}", link, f"kernos services {app}") for note in service.notes
    ]
    return found
