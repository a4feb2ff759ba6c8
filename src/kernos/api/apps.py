"""Apps and builds over HTTP: hand in a module, build it, see where it stands."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import get, post
from litestar.params import FromPath, JSONBody

from kernos.api.context import Api, TheApi, TheCaller
from kernos.api.present.builds import app_view, build_view
from kernos.api.runs import find_run
from kernos.api.views import AppView, BuildView
from kernos.base.errors import NotFoundError
from kernos.base.ids import Ref, RunId, check_name
from kernos.catalog.artifacts import resolve
from kernos.catalog.records import RunRecord, VersionRecord

_BUILDS_SHOWN = 10


class NewApp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    files: dict[str, str]
    """Path below the App's folder -> source."""
    main: str
    """The file that declares the App."""


class RegisteredApp(msgspec.Struct, frozen=True):
    app: str
    version: int
    run: int | None
    """The Run that loaded it."""


class NewBuild(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    app: str
    folder: str = ""
    """Where relative sources are looked for, on the kernel's machine."""
    args: dict[str, Any] = {}
    """Arguments of the flow; the rest keep their defaults."""


@post("/v1/apps", opt={"action": "apps:write"}, sync_to_thread=True, summary="RegisterApp")
def register_app(api: TheApi, caller: TheCaller, data: JSONBody[NewApp]) -> RegisteredApp:
    """Keep the sources, load the module in a worker, and publish what it declares."""
    return msgspec.convert(api.system.loop.register_app(data.files, data.main, caller), RegisteredApp)


@get("/v1/apps", opt={"action": "runs:read"}, sync_to_thread=True)
def list_apps(api: TheApi) -> list[AppView]:
    """By name, each with its newest build alone."""
    status, usage, now_ms = _now(api)
    with api.system.store.read() as reader:
        versions = reader.list(
            VersionRecord, order_by="version", above=("path", "/apps/"), below=("path", "/apps0")
        )
        newest = {version.path: version for version in versions}
        return [app_view(reader, newest[path], status, usage, now_ms, builds=1) for path in sorted(newest)]


@get("/v1/apps/{app_name:str}", opt={"action": "runs:read"}, sync_to_thread=True)
def get_app(api: TheApi, app_name: FromPath[str]) -> AppView:
    status, usage, now_ms = _now(api)
    with api.system.store.read() as reader:
        version = resolve(reader, Ref(f"/apps/{check_name(app_name, 'an App')}"))
        return app_view(reader, version, status, usage, now_ms, builds=_BUILDS_SHOWN)


@post("/v1/builds", opt={"action": ("apps:write", "files:read")}, sync_to_thread=True)
def start_build(api: TheApi, caller: TheCaller, data: JSONBody[NewBuild]) -> BuildView:
    """Build the App's newest version. The same build of the same data is recalled, not repeated."""
    build = api.system.loop.build(data.app, data.folder, data.args, caller)
    return _view(api, build)


@get("/v1/builds/{build:int}", opt={"action": "runs:read"}, sync_to_thread=True)
def get_build(api: TheApi, build: FromPath[int]) -> BuildView:
    record = find_run(api, RunId(build))
    if record.kind != "build":
        raise NotFoundError(f"Run {build} is a {record.kind}, not a build.", hint=f"kernos show {build}")
    return _view(api, record)


def _view(api: Api, build: RunRecord) -> BuildView:
    status, usage, now_ms = _now(api)
    with api.system.store.read() as reader:
        return build_view(reader, build, status, usage, now_ms)


def _now(api: Api) -> tuple[Any, Any, int]:
    return api.system.loop.status(), api.system.kernel.usage(), api.system.clock.wall_ms()


ROUTES: list[Any] = [register_app, list_apps, get_app, start_build, get_build]
