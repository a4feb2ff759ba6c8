from __future__ import annotations

import pytest

from kernos.base.errors import DeniedError
from kernos.security.access import ACTIONS, Action, Caller, actions_of, authorise

TABLE: dict[str, set[Action]] = {
    "admin": {
        "runs:read", "runs:write", "data:read", "data:write", "apps:write", "deploy", "infer", "audit:read",
        "principals:write", "system:read", "files:read",
    },
    "operator": {
        "runs:read", "runs:write", "data:read", "data:write", "apps:write", "deploy", "infer", "audit:read",
        "system:read", "files:read",
    },
    "viewer": {"runs:read", "data:read", "audit:read", "system:read"},
    "infer": {"infer"},
    "run": {"run:child", "runs:read", "data:read"},
}  # fmt: skip


@pytest.mark.parametrize("role", TABLE)
@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_a_role_may_do_what_the_table_says_and_nothing_else(role: str, action: Action) -> None:
    caller = Caller("ana", role)

    if action in TABLE[role]:
        authorise(caller, action)
        return
    with pytest.raises(DeniedError) as caught:
        authorise(caller, action)
    assert action in caught.value.message
    assert role in caught.value.message


@pytest.mark.parametrize("role", ["", "root", "Admin", "admin "])
def test_an_unknown_role_may_do_nothing(role: str) -> None:
    assert actions_of(role) == frozenset()
    with pytest.raises(DeniedError):
        authorise(Caller("eve", role), "system:read")


def test_the_hint_names_the_roles_that_may() -> None:
    with pytest.raises(DeniedError) as caught:
        authorise(Caller("vi", "viewer"), "deploy")

    assert "admin, operator" in caught.value.hint
