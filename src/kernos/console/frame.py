"""What every page shares: the session it is shown in, the frame around it, the headers that keep it closed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from litestar import Request, Response

from kernos.api.guard import cookie_name
from kernos.base.clock import Clock
from kernos.base.errors import NotFoundError
from kernos.console.render import Renderer
from kernos.console.source import Source
from kernos.security.access import Caller
from kernos.security.sessions import Sessions

AnyRequest = Request[Any, Any, Any]

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "X-Fragment, Cookie",
}


_LONGEST_NUMBER = 15
"""Digits: more name nothing, and a database may not hold them."""


@dataclass(frozen=True, slots=True)
class Frame:
    title: str
    section: str = ""
    """The entry of the navigation it stands under."""
    command: str = ""
    """The command line that shows the same."""
    topics: str = ""
    """What it shows, for the stream: it is asked for again when one of these changes."""
    said: str = ""
    """One short sentence for those who listen; spoken when it changes."""


@dataclass(frozen=True, slots=True)
class Visitor:
    session: str
    caller: Caller


@dataclass(frozen=True, slots=True)
class Console:
    """What the pages work with. Who may see a route is decided before it, by the API's one guard."""

    source: Callable[[AnyRequest], Source]
    sessions: Sessions
    clock: Clock
    renderer: Renderer

    def visitor(self, request: AnyRequest) -> Visitor | None:
        """Who sits before the page; None without a living session."""
        session = request.cookies.get(cookie_name(request), "")
        caller = self.sessions.caller(session, self.clock.monotonic_s()) if session else None
        return Visitor(session, caller) if caller else None

    def page(
        self, request: AnyRequest, template: str, frame: Frame, *, status: int = 200, **context: Any
    ) -> Response[str]:
        """The page, or for the live module (`X-Fragment: 1`) its main part alone."""
        visitor = self.visitor(request)
        html = self.renderer.html(
            template,
            frame=frame,
            fragment=request.headers.get("X-Fragment") == "1",
            who=visitor.caller if visitor else None,
            csrf=self.sessions.csrf(visitor.session) if visitor else "",
            newest=getattr(request.state, "newest", -1),
            **context,
        )
        return Response(html, status_code=status, media_type="text/html; charset=utf-8", headers=HEADERS)


def run_number(text: str) -> int:
    if not text.isdecimal() or len(text) > _LONGEST_NUMBER:
        raise NotFoundError(
            f"There is no Run {text[:40]!r}.", hint="`kernos ps --all` lists the Runs there are."
        )
    return int(text)


def see_other(location: str) -> Response[str]:
    return Response("", status_code=303, media_type="text/html", headers={**HEADERS, "Location": location})
