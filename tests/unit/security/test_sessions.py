from __future__ import annotations

import pytest

from kernos.base.errors import UnknownCallerError
from kernos.security.access import Caller
from kernos.security.sessions import CODE_LIFE_S, SESSION_LIFE_S, Sessions

ANA = Caller("ana", "admin")


def opened(sessions: Sessions, now_s: float = 0.0) -> str:
    return sessions.redeem(sessions.issue_code(ANA, now_s), now_s)


def test_a_code_becomes_a_session_of_its_caller() -> None:
    sessions = Sessions()

    assert sessions.caller(opened(sessions), 1.0) == ANA


def test_a_code_works_once() -> None:
    sessions = Sessions()
    code = sessions.issue_code(ANA, 0.0)
    sessions.redeem(code, 1.0)

    with pytest.raises(UnknownCallerError):
        sessions.redeem(code, 2.0)


def test_a_code_grows_old() -> None:
    sessions = Sessions()
    code = sessions.issue_code(ANA, 100.0)

    with pytest.raises(UnknownCallerError):
        sessions.redeem(code, 100.0 + CODE_LIFE_S)
    with pytest.raises(UnknownCallerError):
        sessions.redeem(code, 100.0)


@pytest.mark.parametrize("code", ["", "x", "\ud800", "é"])
def test_a_made_up_code_opens_nothing(code: str) -> None:
    sessions = Sessions()

    with pytest.raises(UnknownCallerError):
        sessions.redeem(code, 0.0)
    assert sessions.caller(code, 0.0) is None


def test_a_session_ends_by_itself_and_on_request() -> None:
    sessions = Sessions()
    first, second = opened(sessions), opened(sessions)

    sessions.end(first)
    sessions.end("never was")

    assert sessions.caller(first, 1.0) is None
    assert sessions.caller(second, SESSION_LIFE_S - 1) == ANA
    assert sessions.caller(second, SESSION_LIFE_S) is None


def test_a_code_is_no_session_and_a_session_no_code() -> None:
    sessions = Sessions()
    code, session = sessions.issue_code(ANA, 0.0), opened(sessions)

    assert sessions.caller(code, 0.0) is None
    with pytest.raises(UnknownCallerError):
        sessions.redeem(session, 0.0)


def test_form_tokens_belong_to_one_session() -> None:
    sessions = Sessions()
    one, two = opened(sessions), opened(sessions)

    assert sessions.is_csrf(one, sessions.csrf(one))
    assert not sessions.is_csrf(two, sessions.csrf(one))
    assert not sessions.is_csrf(one, "é")
    assert not sessions.is_csrf(one, "")
    assert Sessions().csrf(one) != sessions.csrf(one)


def test_there_are_never_too_many() -> None:
    sessions = Sessions()
    codes = [sessions.issue_code(ANA, 0.0) for _ in range(65)]

    with pytest.raises(UnknownCallerError):
        sessions.redeem(codes[0], 0.0)

    ids = [opened(sessions) for _ in range(1025)]
    assert sessions.caller(ids[0], 0.0) is None
    assert sessions.caller(ids[-1], 0.0) == ANA


def test_old_ones_make_room_before_living_ones_go() -> None:
    sessions = Sessions()
    old = [sessions.issue_code(ANA, 0.0) for _ in range(63)]
    living = sessions.issue_code(ANA, CODE_LIFE_S - 1)
    late = [sessions.issue_code(ANA, CODE_LIFE_S) for _ in range(63)]

    assert len(old) == len(late)
    assert sessions.redeem(living, CODE_LIFE_S)


def test_secrets_do_not_show() -> None:
    sessions = Sessions()
    session = opened(sessions)

    assert session not in repr(vars(sessions))
