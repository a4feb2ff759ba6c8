"""Tokens: 256 random bits for Principals, kept as hashes; an HMAC of the Run's number for workers, kept
nowhere."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Literal

from kernos.base.errors import ConflictError, UnknownCallerError
from kernos.base.ids import RunId, check_name, new_token
from kernos.catalog.records import ENDED, PrincipalRecord, RunRecord
from kernos.security.access import Caller

if TYPE_CHECKING:
    from kernos.catalog.store import SqlStore, Transaction

PrincipalKind = Literal["person", "service", "agent", "device"]
Role = Literal["admin", "operator", "viewer", "infer"]

_RUN_TOKEN = re.compile(r"run_([1-9][0-9]{0,17})_([0-9a-f]{64})\Z", re.ASCII)
_PURPOSE = b"kernos run token v1\0"
_TOKEN_LIMIT = 256


def token_sha256(token: str) -> str:
    """What is stored of a token. A plain hash is enough: there is nothing to guess in 256 random bits."""
    return hashlib.sha256(token.encode()).hexdigest()


def issue(tx: Transaction, name: str, kind: PrincipalKind, role: Role, *, by: str) -> str:
    """Make Principal `name` and return its token, which nobody can see again. ConflictError if the name is
    taken.

    `by` is the Principal who asks; the journal keeps it.
    """
    check_name(name, "a principal")
    if tx.get(PrincipalRecord, name) is not None:
        raise ConflictError(f"There is a principal {name!r} already.", hint="Choose another name.")
    token = new_token("kernos")
    tx.put(PrincipalRecord(name, kind, role, token_sha256(token), tx.at_ms))
    tx.emit("principal.created", f"principal:{name}", by, kind=kind, role=role)
    return token


class RunTokens:
    """Tokens of workers: `run_<id>_<HMAC-SHA-256>`. Anyone with `secret` can make them, nobody else can."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def issue(self, run: RunId) -> str:
        return f"run_{run}_{self._mac(str(run))}"

    def verify(self, token: str) -> RunId | None:
        """The Run, or None for a token this secret did not make. Takes the same time for every wrong MAC."""
        match = _RUN_TOKEN.match(token)
        if match is None or not hmac.compare_digest(match[2], self._mac(match[1])):
            return None
        return RunId(int(match[1]))

    def _mac(self, run: str) -> str:
        return hmac.new(self._secret, _PURPOSE + run.encode(), hashlib.sha256).hexdigest()


class Authenticator:
    """From token to caller. Nothing is remembered: a removed Principal or an ended Run is unknown at once."""

    def __init__(self, store: SqlStore, run_tokens: RunTokens) -> None:
        self._store = store
        self._run_tokens = run_tokens

    def caller(self, token: str) -> Caller:
        """UnknownCallerError for every token that opens nothing, with one text for all reasons."""
        found = self._find(token) if 0 < len(token) <= _TOKEN_LIMIT and token.isascii() else None
        if found is None:
            raise UnknownCallerError("This token is not known.", hint="Send 'Authorization: Bearer <token>'.")
        return found

    def _find(self, token: str) -> Caller | None:
        run = self._run_tokens.verify(token)
        with self._store.read() as reader:
            if run is not None:
                record = reader.get(RunRecord, run)
                is_over = record is None or record.state in ENDED
                return None if is_over else Caller(f"run:{run}", "run", run)
            digest = token_sha256(token)
            for principal in reader.list(PrincipalRecord, where={"token_sha256": digest}, limit=1):
                if hmac.compare_digest(principal.token_sha256, digest):
                    return Caller(principal.name, principal.role)
        return None
