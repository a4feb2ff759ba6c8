"""The console over a running system: each method asks the API's route of the same name, so there is one answer to a question."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, cast

from kernos.api import apps, catalog, health, journal, runs, services
from kernos.api.context import Api
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
from kernos.base.ids import RunId
from kernos.console.source import RunFilter, Watch
from kernos.security.access import Caller


class SystemSource:
    def __init__(self, api: Api) -> None:
        self._api = api

    def home(self) -> HomeView:
        return cast(HomeView, health.get_home.fn(self._api))

    def runs(self, wanted: RunFilter) -> RunPage:
        page = runs.list_runs.fn(
            self._api,
            states=[wanted.state] if wanted.state else None,
            kind=[wanted.kind] if wanted.kind else None,
            app=wanted.app,
            parent=wanted.parent,
            limit=wanted.limit,
            below=wanted.below,
        )
        return cast(RunPage, page)

    def run(self, run: int) -> WhyView:
        return cast(WhyView, runs.why_run.fn(self._api, run))

    def tail(self, run: int, limit_bytes: int) -> LogView:
        path = self._api.system.home / "runs" / str(run) / "log"
        size = path.stat().st_size if path.exists() else 0
        start = max(0, size - limit_bytes)
        view = cast(LogView, runs.read_log.fn(self._api, run, start, limit_bytes))
        if start == 0:
            return view
        return LogView(view.text.partition("\n")[2], view.next_offset, view.ended)

    def apps(self) -> list[AppView]:
        return cast(list[AppView], apps.list_apps.fn(self._api))

    def app(self, name: str) -> AppView:
        return cast(AppView, apps.get_app.fn(self._api, name))

    def services(self) -> list[ServiceView]:
        return services.all_services(self._api)

    def service(self, app: str) -> ServiceView:
        return services.one_service(self._api, app)

    def catalog(self, prefix: str) -> list[ArtifactLine]:
        return cast(list[ArtifactLine], catalog.list_artifacts.fn(self._api, prefix))

    def versions(self, path: str) -> list[VersionView]:
        return cast(list[VersionView], catalog.list_versions.fn(self._api, path))

    def version(self, ref: str) -> VersionView:
        return cast(VersionView, catalog.get_artifact.fn(self._api, ref))

    def lineage(self, ref: str, caller: Caller) -> LineageView:
        return cast(LineageView, catalog.get_lineage.fn(self._api, caller, ref))

    def diff(self, a: str, b: str, caller: Caller) -> dict[str, Any]:
        return cast(dict[str, Any], catalog.diff.fn(self._api, caller, a, b))

    def audit(self) -> AuditView:
        return cast(AuditView, journal.audit.fn(self._api))

    def events(self, after: int, limit: int, subject: str) -> EventPage:
        return cast(EventPage, journal.list_events.fn(self._api, after, limit, subject))

    def newest(self) -> int:
        return self._api.system.store.wait(-1, 0.0)

    def watch(self) -> AbstractContextManager[Watch]:
        return self._api.feed.watch()

    def closed(self) -> bool:
        return self._api.feed.closed

    def rollback(self, app: str, caller: Caller) -> None:
        self._api.system.loop.rollback(app, caller)

    def stop(self, run: int, caller: Caller) -> None:
        self._api.system.kernel.stop_run(RunId(run), caller.principal)
