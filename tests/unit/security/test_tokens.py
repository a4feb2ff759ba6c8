from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.base.clock import ManualClock
from kernos.base.errors import ConflictError, InvalidError, UnknownCallerError
from kernos.base.ids import RunId
from kernos.catalog.records import PrincipalRecord, RunRecord, RunState
from kernos.catalog.store import SqlStore, Transaction
from kernos.security.access import Caller
from kernos.security.tokens import Authenticator, RunTokens, issue, token_sha256

SECRET = b"s" * 32


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    store = SqlStore(f"sqlite:///{tmp_path}/catalog.db", ManualClock())
    store.open()
    yield store
    store.close()


@pytest.fixture
def authenticator(store: SqlStore) -> Authenticator:
    return Authenticator(store, RunTokens(SECRET))


def put_run(store: SqlStore, state: RunState) -> RunId:
    def change(tx: Transaction) -> RunId:
        run = tx.next_run_id()
        tx.put(
            RunRecord(
                id=run,
                kind="step",
                app="a",
                name="n",
                owner="ana",
                parent=None,
                key="",
                state=state,
                reason="",
                klass="batch",
                weight=1.0,
                cpus=1.0,
                memory_bytes=0,
                wall_s=0.0,
                entry="",
                payload={},
                result={},
                attempts=1,
                retries=0,
                queued_ms=0,
                started_ms=None,
                ended_ms=None,
                usage={},
            )
        )
        tx.emit("run.queued", f"run:{run}", "ana")
        return run

    return store.write(change)


def test_a_token_opens_its_principal(store: SqlStore, authenticator: Authenticator) -> None:
    token = store.write(lambda tx: issue(tx, "ana", "person", "operator", by="admin"))

    assert authenticator.caller(token) == Caller("ana", "operator")


def test_only_the_hash_is_stored_and_the_journal_says_who_asked(store: SqlStore) -> None:
    token = store.write(lambda tx: issue(tx, "ana", "person", "operator", by="admin"))

    with store.read() as reader:
        record = reader.get(PrincipalRecord, "ana")
        event = reader.events()[-1]
    assert record is not None
    assert record.token_sha256 == token_sha256(token)
    assert (event.kind, event.subject, event.principal) == ("principal.created", "principal:ana", "admin")
    assert token not in repr(record) + repr(event)


def test_a_name_is_given_once(store: SqlStore) -> None:
    store.write(lambda tx: issue(tx, "ana", "person", "viewer", by="admin"))

    with pytest.raises(ConflictError):
        store.write(lambda tx: issue(tx, "ana", "service", "admin", by="eve"))


def test_a_name_that_is_none_is_refused(store: SqlStore) -> None:
    with pytest.raises(InvalidError):
        store.write(lambda tx: issue(tx, "run:1", "person", "viewer", by="admin"))


def test_a_removed_principal_is_unknown_at_once(store: SqlStore, authenticator: Authenticator) -> None:
    token = store.write(lambda tx: issue(tx, "ana", "person", "viewer", by="admin"))
    authenticator.caller(token)

    def remove(tx: Transaction) -> None:
        tx.delete(PrincipalRecord, "ana")
        tx.emit("principal.removed", "principal:ana", "admin")

    store.write(remove)

    with pytest.raises(UnknownCallerError):
        authenticator.caller(token)


@pytest.mark.parametrize(
    "token", ["", "x", "kernos_", "kernos_" + "A" * 43, "run_1_" + "0" * 64, "é" * 50, "x" * 9999, "\0"]
)
def test_a_token_that_opens_nothing_is_refused(authenticator: Authenticator, token: str) -> None:
    with pytest.raises(UnknownCallerError, match="not known"):
        authenticator.caller(token)


def test_the_stored_hash_itself_opens_nothing(store: SqlStore, authenticator: Authenticator) -> None:
    token = store.write(lambda tx: issue(tx, "ana", "person", "admin", by="admin"))

    with pytest.raises(UnknownCallerError):
        authenticator.caller(token_sha256(token))


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_living_runs_token_opens_that_run(
    store: SqlStore, authenticator: Authenticator, state: RunState
) -> None:
    run = put_run(store, state)

    assert authenticator.caller(RunTokens(SECRET).issue(run)) == Caller(f"run:{run}", "run", run)


@pytest.mark.parametrize("state", ["done", "failed", "stopped", "cached"])
def test_an_ended_runs_token_opens_nothing(
    store: SqlStore, authenticator: Authenticator, state: RunState
) -> None:
    run = put_run(store, state)

    with pytest.raises(UnknownCallerError):
        authenticator.caller(RunTokens(SECRET).issue(run))


def test_a_token_of_a_run_that_never_was_opens_nothing(authenticator: Authenticator) -> None:
    with pytest.raises(UnknownCallerError):
        authenticator.caller(RunTokens(SECRET).issue(RunId(99)))


@given(st.integers(1, 10**18 - 1))
def test_a_run_token_is_verified(run: int) -> None:
    tokens = RunTokens(SECRET)

    assert tokens.verify(tokens.issue(RunId(run))) == run


def test_a_run_token_of_another_secret_is_none() -> None:
    assert RunTokens(SECRET).verify(RunTokens(b"t" * 32).issue(RunId(1))) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token.replace("run_7_", "run_8_"),
        lambda token: token.replace("run_7_", "run_07_"),
        lambda token: token.replace("run_7_", "run_-7_"),
        lambda token: token.replace("run_7_", "run_٧_"),
        lambda token: token.replace("run_7_", "run_ 7_"),
        lambda token: token.upper(),
        lambda token: token + "\n",
        lambda token: token[:-1],
        lambda token: token + "0",
        lambda token: "run_" + "9" * 30 + token[5:],
    ],
)
def test_a_changed_run_token_is_none(change: Callable[[str], str]) -> None:
    tokens = RunTokens(SECRET)

    assert tokens.verify(change(tokens.issue(RunId(7)))) is None


@given(st.text(max_size=80))
def test_no_text_is_taken_for_a_run_token(text: str) -> None:
    assert RunTokens(SECRET).verify(text) is None
