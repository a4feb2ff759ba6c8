"""Signing in with a one-time code. The session lives in a cookie that scripts cannot read; the code is spent at once."""

from __future__ import annotations

from litestar import Response, get, post
from litestar.datastructures import Cookie
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery

from kernos.api.guard import OPEN, cookie_name
from kernos.api.principals import CONSOLE_LOGIN
from kernos.base.errors import UnknownCallerError
from kernos.console.frame import AnyRequest, Console, Frame, see_other

_FRAME = Frame("Sign in")


def login_routes(console: Console) -> list[HTTPRouteHandler]:
    @get(CONSOLE_LOGIN, opt={"action": OPEN}, sync_to_thread=False)
    def login(request: AnyRequest, code: FromQuery[str] = "") -> Response[str]:
        if not code.strip():
            return console.page(request, "login.html", _FRAME, problem=None)
        try:
            session = console.sessions.redeem(code.strip(), console.clock.monotonic_s())
        except UnknownCallerError as error:
            return console.page(request, "login.html", _FRAME, status=error.status, problem=error)
        response = see_other("/")
        response.set_cookie(_cookie(request, session))
        return response

    @post("/logout", opt={"action": "system:read"}, sync_to_thread=False)
    def logout(request: AnyRequest) -> Response[str]:
        console.sessions.end(request.cookies.get(cookie_name(request), ""))
        response = see_other(CONSOLE_LOGIN)
        response.set_cookie(_cookie(request, "", max_age=0))
        return response

    return [login, logout]


def _cookie(request: AnyRequest, session: str, *, max_age: int | None = None) -> Cookie:
    return Cookie(
        key=cookie_name(request),
        value=session,
        max_age=max_age,
        path="/",
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
