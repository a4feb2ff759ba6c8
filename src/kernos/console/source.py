"""Where the console's pages get what they show: view-models in, two verbs out. Nothing else of the system is visible here.

Every method may be called from several threads at once, except `watch` and `closed`, which belong to the event loop.
Reads raise `NotFoundError` for what does not exist and `InvalidError` for a name that cannot exist; verbs also raise
`ConflictError`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

import msgspec

from kernos.api.views import (
    AppView,
    ArtifactLine,
    AuditView,
    EventPage,
    HomeView,
    LineageView,
    LogView,
    RunPage,
    ServiceView,
    VersionView,
    WhyView,
)
from kernos.security.access import Caller


class RunFilter(msgspec.Struct, frozen=True):
    """Which Runs to list; empty fields leave nothing out."""

    state: str = ""
    kind: str = ""
    app: str = ""
    parent: int | None = None
    below: int | None = None
    """Only ids under this one: the next page of older Runs."""
    limit: int = 100


class Watch(Protocol):
    async def next(self, timeout_s: float) -> bool:
        """True once something has changed since the last call; False when the time is up."""
        ...


class Source(Protocol):
    def home(self) -> HomeView: ...

    def runs(self, wanted: RunFilter) -> RunPage: ...

    def run(self, run: int) -> WhyView: ...

    def tail(self, run: int, limit_bytes: int) -> LogView:
        """The last `limit_bytes` of a Run's log from a line's start on; empty text where there is none yet."""
        ...

    def apps(self) -> list[AppView]: ...

    def app(self, name: str) -> AppView: ...

    def services(self) -> list[ServiceView]: ...

    def service(self, app: str) -> ServiceView: ...

    def catalog(self, prefix: str) -> list[ArtifactLine]: ...

    def versions(self, path: str) -> list[VersionView]:
        """Newest first."""
        ...

    def version(self, ref: str) -> VersionView: ...

    def lineage(self, ref: str, caller: Caller) -> LineageView:
        """`ref` is `/path@version`, a digest, or `pred:<id>`."""
        ...

    def diff(self, a: str, b: str, caller: Caller) -> dict[str, Any]: ...

    def audit(self) -> AuditView:
        """Verifies the whole journal now."""
        ...

    def events(self, after: int, limit: int, subject: str) -> EventPage:
        """Events with seq > `after`, oldest first; `subject` "" takes all."""
        ...

    def newest(self) -> int:
        """The newest Event's seq, -1 without one."""
        ...

    def watch(self) -> AbstractContextManager[Watch]:
        """Changes of anything, from its start on."""
        ...

    def closed(self) -> bool:
        """The kernel ends: who waits shall end too."""
        ...

    def rollback(self, app: str, caller: Caller) -> None: ...

    def stop(self, run: int, caller: Caller) -> None: ...
