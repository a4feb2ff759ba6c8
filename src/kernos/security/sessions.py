"""Console sessions, in memory: a login code works once, a session ends by itself, and there are never too
many."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from dataclasses import dataclass

from kernos.base.errors import UnknownCallerError
from kernos.security.access import Caller

CODE_LIFE_S = 600.0
"""Long enough to click a link in a terminal."""
SESSION_LIFE_S = 12 * 3600.0
"""A working day; then a new link."""
_MOST_CODES = 64
_MOST_SESSIONS = 1024


@dataclass(frozen=True, slots=True)
class _Held:
    caller: Caller
    until_s: float


class Sessions:
    """Thread-safe. Times are monotonic seconds, given in. Only hashes of codes and ids are kept; at a
    bound the oldest one goes. A restart ends all sessions."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key = secrets.token_bytes(32)
        self._codes: dict[str, _Held] = {}
        self._sessions: dict[str, _Held] = {}

    def issue_code(self, caller: Caller, now_s: float) -> str:
        """A one-time code for `caller`, good for ten minutes."""
        code = secrets.token_urlsafe(32)
        with self._lock:
            _hold(self._codes, code, _Held(caller, now_s + CODE_LIFE_S), now_s, _MOST_CODES)
        return code

    def redeem(self, code: str, now_s: float) -> str:
        """A session's id for a code, once. UnknownCallerError for used, expired and made-up codes alike."""
        with self._lock:
            held = self._codes.pop(_name(code), None)
            if held is None or now_s >= held.until_s:
                raise UnknownCallerError(
                    "This link has been used or is too old.", hint="Run 'kernos console' for a new one."
                )
            session = secrets.token_urlsafe(32)
            _hold(self._sessions, session, _Held(held.caller, now_s + SESSION_LIFE_S), now_s, _MOST_SESSIONS)
        return session

    def caller(self, session: str, now_s: float) -> Caller | None:
        """Who this is; None if the session is not known or over."""
        with self._lock:
            held = self._sessions.get(_name(session))
        return held.caller if held is not None and now_s < held.until_s else None

    def end(self, session: str) -> None:
        with self._lock:
            self._sessions.pop(_name(session), None)

    def csrf(self, session: str) -> str:
        """The token that forms of this session carry: bound to it, and of no use to another."""
        return hmac.new(self._key, session.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    def is_csrf(self, session: str, given: str) -> bool:
        """Whether `given` is this session's form token, in constant time."""
        return hmac.compare_digest(self.csrf(session).encode(), given.encode("utf-8", "replace"))


def _name(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _hold(held: dict[str, _Held], secret: str, value: _Held, now_s: float, most: int) -> None:
    for name in [name for name, old in held.items() if now_s >= old.until_s]:
        del held[name]
    while len(held) >= most:
        del held[next(iter(held))]
    held[_name(secret)] = value
