"""Who may do what: a role is a set of actions, and everything else is denied."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

import msgspec

from kernos.base.errors import DeniedError
from kernos.base.ids import RunId

Action = Literal[
    "runs:read",
    "runs:write",
    "data:read",
    "data:write",
    "apps:write",
    "deploy",
    "infer",
    "audit:read",
    "principals:write",
    "system:read",
    "run:child",
    "files:read",
]
ACTIONS: frozenset[Action] = frozenset(get_args(Action))


class Caller(msgspec.Struct, frozen=True):
    """Somebody known. `run` is set for a worker, which acts as that Run."""

    principal: str
    role: str
    run: RunId | None = None


_VIEWER: frozenset[Action] = frozenset({"runs:read", "data:read", "audit:read", "system:read"})
_OPERATOR: frozenset[Action] = _VIEWER | {
    "runs:write",
    "data:write",
    "files:read",  # an operator's code runs here and can read what the kernel can
    "apps:write",
    "deploy",
    "infer",
}
_ROLES: Mapping[str, frozenset[Action]] = MappingProxyType(
    {
        "admin": ACTIONS - {"run:child"},
        "operator": _OPERATOR,
        "viewer": _VIEWER,
        "infer": frozenset({"infer"}),
        "run": frozenset({"run:child", "runs:read", "data:read"}),
    }
)


def actions_of(role: str) -> frozenset[Action]:
    """What `role` may do. A role nobody knows may do nothing."""
    return _ROLES.get(role, frozenset())


def authorise(caller: Caller, action: Action) -> None:
    """DeniedError unless the caller's role holds `action`."""
    if action in actions_of(caller.role):
        return
    able = [role for role, actions in _ROLES.items() if action in actions]
    raise DeniedError(
        f"{caller.principal} with role {caller.role!r} may not do {action!r}.",
        hint=f"Roles that may: {', '.join(able) or 'none'}. An administrator gives roles.",
        action=action,
        role=caller.role,
    )
