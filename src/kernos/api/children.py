"""What a worker asks the kernel for its own Run, and for no other."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from litestar import post
from litestar.params import FromPath, JSONBody

from kernos.api.context import TheApi, TheCaller
from kernos.base.errors import DeniedError
from kernos.base.ids import RunId

Verb = Literal["read", "call", "trial", "wait", "sign"]


@post("/v1/child/{run:int}/{verb:str}", opt={"action": "run:child"}, status_code=200)
async def ask(
    api: TheApi, caller: TheCaller, run: FromPath[int], verb: FromPath[Verb], data: JSONBody[dict[str, Any]]
) -> dict[str, Any]:
    """`read` a source, `call` a step, start a `trial`, `wait` for a Run, `sign` a package's statement.

    An answer that names a Run in `state` queued or running has no result yet: ask `wait`.
    """
    if caller.run != run:
        raise DeniedError(f"This token is not run {run}'s.", hint="A worker asks for its own Run alone.")
    loop = asyncio.get_running_loop()
    answer: dict[str, Any] = await loop.run_in_executor(
        api.children, api.system.loop.child, RunId(run), verb, data, caller
    )
    return answer


ROUTES: list[Any] = [ask]
