"""The console's own style sheet, modules and icon. A name that is not on the list does not exist."""

from __future__ import annotations

from pathlib import Path

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from kernos.api.guard import OPEN
from kernos.base.digests import of_bytes
from kernos.base.errors import NotFoundError
from kernos.console.frame import HEADERS, AnyRequest

STATIC = Path(__file__).parent / "static"

_TYPES = {
    "console.css": "text/css; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "morph.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


def asset_routes() -> list[HTTPRouteHandler]:
    @get("/console/static/{name:str}", opt={"action": OPEN}, sync_to_thread=True)
    def asset(request: AnyRequest, name: FromPath[str]) -> Response[bytes]:
        if name not in _TYPES:
            raise NotFoundError(
                f"The console has no file {name[:80]!r}.", hint="Start at the console's home page."
            )
        content = (STATIC / name).read_bytes()
        tag = f'"{of_bytes(content)[7:39]}"'
        headers = {**HEADERS, "Cache-Control": "no-cache", "ETag": tag}
        if request.headers.get("If-None-Match") == tag:
            return Response(b"", status_code=304, media_type=_TYPES[name], headers=headers)
        return Response(content, media_type=_TYPES[name], headers=headers)

    return [asset]
