"""Principals over HTTP: who may call, a new one with its token, and the way into the console."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlencode

import msgspec
from litestar import get, post
from litestar.params import JSONBody

from kernos.api.context import TheApi, TheCaller
from kernos.api.views import PrincipalView
from kernos.catalog.records import PrincipalRecord
from kernos.security.tokens import issue

CONSOLE_LOGIN = "/login"
"""The console's page that takes the one-time code."""


class NewPrincipal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    kind: Literal["person", "service", "agent", "device"] = "person"
    role: Literal["admin", "operator", "viewer", "infer"] = "viewer"


class IssuedToken(msgspec.Struct, frozen=True):
    name: str
    token: str
    """Shown this once; the kernel keeps its hash alone."""


class ConsoleLink(msgspec.Struct, frozen=True):
    url: str


@get("/v1/principals", opt={"action": "audit:read"}, sync_to_thread=True, summary="ListPrincipals")
def list_principals(api: TheApi) -> list[PrincipalView]:
    """By name."""
    with api.system.store.read() as reader:
        return [
            PrincipalView(record.name, record.kind, record.role, record.at_ms)
            for record in reader.list(PrincipalRecord, order_by="name")
        ]


@post("/v1/principals", opt={"action": "principals:write"}, sync_to_thread=True)
def add_principal(api: TheApi, caller: TheCaller, data: JSONBody[NewPrincipal]) -> IssuedToken:
    token = api.system.store.write(lambda tx: issue(tx, data.name, data.kind, data.role, by=caller.principal))
    return IssuedToken(data.name, token)


@post("/v1/console/code", opt={"action": "system:read"}, sync_to_thread=True)
def console_code(api: TheApi, caller: TheCaller) -> ConsoleLink:
    """A link that opens the console once, as this caller."""
    code = api.system.sessions.issue_code(caller, api.system.clock.monotonic_s())
    return ConsoleLink(f"{api.system.url}{CONSOLE_LOGIN}?{urlencode({'code': code})}")


ROUTES: list[Any] = [list_principals, add_principal, console_code]
