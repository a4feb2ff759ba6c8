"""What the console can change, each behind a page that says what will happen and a form.

The API's guard lets a form in only with the session's own token in its field `csrf`.
"""

from __future__ import annotations

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from kernos.console import commands
from kernos.console.frame import AnyRequest, Console, Frame, run_number, see_other


def action_routes(console: Console) -> list[HTTPRouteHandler]:
    @get("/services/{app:str}/rollback", opt={"action": "deploy"}, sync_to_thread=True)
    def ask_rollback(request: AnyRequest, app: FromPath[str]) -> Response[str]:
        frame = Frame(f"Roll back {app}", "services", commands.rollback(app))
        return console.page(request, "rollback.html", frame, service=console.source(request).service(app))

    @post("/services/{app:str}/rollback", opt={"action": "deploy"}, sync_to_thread=True)
    def rollback(request: AnyRequest, app: FromPath[str]) -> Response[str]:
        name = console.source(request).service(app).app
        console.source(request).rollback(name, request.state.caller)
        return see_other(f"/services/{name}")

    @get("/runs/{run_id:str}/stop", opt={"action": "runs:write"}, sync_to_thread=True)
    def ask_stop(request: AnyRequest, run_id: FromPath[str]) -> Response[str]:
        view = console.source(request).run(run_number(run_id)).run
        frame = Frame(f"Stop Run {view.id}", "runs", commands.stop(view.id))
        return console.page(request, "stop.html", frame, run=view)

    @post("/runs/{run_id:str}/stop", opt={"action": "runs:write"}, sync_to_thread=True)
    def stop(request: AnyRequest, run_id: FromPath[str]) -> Response[str]:
        console.source(request).stop(run_number(run_id), request.state.caller)
        return see_other(f"/runs/{run_number(run_id)}")

    return [ask_rollback, rollback, ask_stop, stop]
