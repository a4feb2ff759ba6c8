"""One writer, many snapshots. A change is durable with its Events when `write` returns, or it left nothing.

`write` hands the change to the one writer thread. That thread takes all changes that wait, runs each in its
own savepoint inside one transaction, commits once (WAL, synchronous=FULL), then wakes the callers: all who
wait share the cost of one sync (group commit). A change that raises is rolled back alone, and `write` raises
its error. A commit that fails (disk full, input/output error, read-only) fails every change in it with
UnavailableError and leaves the database at the commit before; the writer goes on.
"""

from __future__ import annotations

import builtins
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine, Executable, func, insert, select
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import SQLAlchemyError

from kernos.base.clock import Clock
from kernos.base.errors import ConflictError, InvalidError, KernosError, UnavailableError
from kernos.base.ids import RunId
from kernos.catalog import journal, merkle, queries
from kernos.catalog.engine import STORAGE_ERRORS, WRITES, open_engine, storage_error, use_write_ahead_log
from kernos.catalog.records import EventRecord, NodeRecord, Record, RunRecord
from kernos.catalog.schema import JOURNAL, RecordTable, row_digest, table_of
from kernos.catalog.upgrade import upgrade

T = TypeVar("T")
R = TypeVar("R", bound=Record)

_BATCH = 512
"""Changes in one commit: bounds what one caller waits for and what one failure fails."""
_FETCH = 1000
_INSERT_EVENT = insert(table_of(EventRecord).table)

logger = logging.getLogger(__name__)


class Reader:
    """A consistent snapshot: nothing committed after its first read is seen. For one thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, kind: type[R], *key: object) -> R | None:
        """The record with this primary key."""
        table = table_of(kind)
        row = self._execute(table.by_key, queries.by_key(table, key)).first()
        return None if row is None else table.decode(row)

    def list(
        self,
        kind: type[R],
        *,
        where: Mapping[str, object] | None = None,
        order_by: str = "",
        descending: bool = False,
        limit: int | None = None,
        below: tuple[str, object] | None = None,
        above: tuple[str, object] | None = None,
    ) -> builtins.list[R]:
        """Records whose columns have the values of `where` (any of them, where a value is a collection).

        `below` and `above` are strict bounds on one column. Ties, and a list without `order_by`, go by key.
        """
        table = table_of(kind)
        statement = select(table.table).where(*queries.conditions(table, where or {}))
        if below:
            statement = statement.where(queries.column(table, below[0]) < below[1])
        if above:
            statement = statement.where(queries.column(table, above[0]) > above[1])
        order = queries.ordering(table, order_by, descending=descending)
        return [table.decode(row) for row in self._execute(statement.order_by(*order).limit(limit))]

    def count(self, kind: type[Record], *, where: Mapping[str, object] | None = None) -> int:
        table = table_of(kind)
        statement = (
            select(func.count()).select_from(table.table).where(*queries.conditions(table, where or {}))
        )
        return int(self._execute(statement).scalar_one())

    def events(
        self, after: int = -1, limit: int = 1000, *, kind_prefix: str = "", subject: str = ""
    ) -> builtins.list[EventRecord]:
        """Events with a `seq` above `after`, oldest first. `kind_prefix` is compared letter by letter."""
        table = table_of(EventRecord)
        columns = table.table.c
        statement = select(table.table).where(columns.seq > after)
        if kind_prefix:
            end = kind_prefix + "\U0010ffff"
            statement = statement.where(columns.kind >= kind_prefix, columns.kind < end)
        if subject:
            statement = statement.where(columns.subject == subject)
        rows = self._execute(statement.order_by(columns.seq).limit(limit))
        return [table.decode(row) for row in rows]

    def tree(self) -> merkle.Nodes:
        """The journal's tree as stored, for `merkle.root`, `merkle.inclusion` and `merkle.consistency`."""
        return journal.stored_nodes(self._connection)

    def stored(self, table: RecordTable[Any]) -> Iterator[tuple[Any, ...]]:
        """Every row of a table as it is stored, in the order of its key, in bounded memory. For audits."""
        order = queries.ordering(table, "", descending=False)
        statement = select(table.table).order_by(*order).execution_options(yield_per=_FETCH)
        try:
            for row in self._execute(statement):
                yield tuple(row)
        except STORAGE_ERRORS as error:
            raise storage_error(error) from error

    def _execute(
        self, statement: Executable, values: Mapping[str, object] | None = None
    ) -> CursorResult[Any]:
        try:
            return self._connection.execute(statement, values)
        except STORAGE_ERRORS as error:
            raise storage_error(error) from error
        except OverflowError as error:
            raise InvalidError("A number has more than 64 bits.", hint="Give a smaller one.") from error


class Transaction(Reader):
    """One change: sees its own writes, and becomes durable as a whole, together with its Events.

    Every row put or deleted belongs to the next Event emitted. A change that ends with rows of which no Event
    tells is a programming error (ValueError) and is rolled back.
    """

    at_ms: int
    """Wall time of this change in ms since 1970, but never below the newest Event's: while a clock that was
    set back catches up, time stands still here, and the journal's times never fall."""

    def __init__(self, connection: Connection, head: journal.Head, wall_ms: int) -> None:
        super().__init__(connection)
        self.at_ms = max(wall_ms, head.at_ms)
        self.head = head
        self.nodes: builtins.list[NodeRecord] = []
        self.failure: KernosError | None = None
        """The storage's failure, if there was one: nothing in this commit can be trusted then."""
        self._untold: dict[tuple[str, str], str] = {}

    def put(self, record: Record) -> None:
        """Insert the record, or replace the one with its primary key.

        ConflictError where another row has the same unique value (a Run's `key`); InvalidError where a number
        does not fit its column (NaN, infinity, more than 64 bits).
        """
        table = table_of(type(record))
        if isinstance(record, EventRecord | NodeRecord):
            raise ValueError("the journal is written by emit")
        stored = table.encode(record)
        self._execute(table.upsert, dict(zip(table.table.columns.keys(), stored, strict=True)))
        if type(record) not in JOURNAL:
            self._untold[table.name, table.key_text(stored)] = row_digest(stored)

    def delete(self, kind: type[Record], *key: object) -> None:
        """Remove the record if it is there. Runs and the journal stay: a Run's id is never free again."""
        if kind in JOURNAL or kind is RunRecord:
            raise ValueError(f"{kind.__name__} is never deleted")
        table = table_of(kind)
        row = self._execute(table.by_key, queries.by_key(table, key)).first()
        if row is not None:
            where = queries.conditions(table, dict(zip(table.key, key, strict=True)))
            self._execute(table.table.delete().where(*where))
            self._untold[table.name, table.key_text(row)] = ""

    def next_run_id(self) -> RunId:
        """1, 2, 3 …; an id comes again only if the change that took it was rolled back."""
        self.head = replace(self.head, run=RunId(self.head.run + 1))
        return self.head.run

    def emit(self, kind: str, subject: str, principal: str, /, **payload: Any) -> int:
        """Add an Event, which tells of all rows put or deleted since the last one; its `seq`."""
        rows = [(table, key, digest) for (table, key), digest in self._untold.items()]
        event = EventRecord(self.head.seq + 1, self.at_ms, kind, subject, principal, payload, rows, leaf="")
        head, stored, nodes = self.head.append(event)
        names = _INSERT_EVENT.table.columns.keys()
        self._execute(_INSERT_EVENT, dict(zip(names, stored, strict=True)))
        self.head = head
        self.nodes += nodes
        self._untold.clear()
        return event.seq

    def finish(self) -> None:
        """Called by the writer when the change has returned."""
        if self._untold:
            rows = ", ".join(f"{table} {key}" for table, key in self._untold)
            raise ValueError(f"no Event tells of the change of {rows}: emit one after the last put")

    def _execute(
        self, statement: Executable, values: Mapping[str, object] | None = None
    ) -> CursorResult[Any]:
        try:
            return super()._execute(statement, values)
        except (ConflictError, InvalidError):
            raise
        except KernosError as error:
            self.failure = error
            raise


class SqlStore:
    """The catalog in one database. Thread-safe; `open` it before use, `close` it once.

    Another process that writes to the same database waits its turn (UnavailableError after the busy timeout)
    and corrupts nothing; but `wait` hears only of the Events of its own process.
    """

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._engine: Engine | None = None
        self._writer: threading.Thread | None = None
        self._waiting: deque[_Change[Any]] = deque()
        self._work = threading.Condition()
        self._news = threading.Condition()
        self._closing = True
        self._newest = -1

    def open(self) -> None:
        """Bring the schema up to date, then start the writer thread."""
        engine = open_engine(self._url)
        try:
            use_write_ahead_log(engine)
            with engine.connect().execution_options(**WRITES) as connection, connection.begin():
                upgrade(connection)
                head = journal.read_head(connection)
        except STORAGE_ERRORS as error:
            engine.dispose()
            raise storage_error(error) from error
        except BaseException:
            engine.dispose()
            raise
        self._engine = engine
        self._newest = head.seq
        self._closing = False
        self._writer = threading.Thread(
            target=self._write_on, args=(engine, head), name="kernos-catalog-writer"
        )
        self._writer.start()

    def close(self) -> None:
        """Commit what waits, then stop. Later writes are UnavailableError; closing twice is harmless."""
        with self._work:
            self._closing = True
            self._work.notify()
        with self._news:
            self._news.notify_all()
        if self._writer:
            self._writer.join()
        if self._engine:
            self._engine.dispose()
        self._writer = self._engine = None

    def write(self, change: Callable[[Transaction], T]) -> T:
        """Run `change` in the writer thread; what it returned, once it is durable. Raises what it raised.

        `change` must be quick, for everyone waits for it, and must not call `write`.
        """
        if threading.current_thread() is self._writer:
            raise RuntimeError("a change must not write through the store: use its own transaction")
        entry = _Change(change)
        with self._work:
            if self._closing:
                raise _closed()
            self._waiting.append(entry)
            self._work.notify()
        return entry.outcome()

    @contextmanager
    def read(self) -> Iterator[Reader]:
        """A snapshot of what is committed. Cheap, many at once; hold it briefly: the log grows meanwhile."""
        if self._engine is None:
            raise _closed()
        try:
            connection = self._engine.connect()
        except STORAGE_ERRORS as error:
            raise storage_error(error) from error
        with connection:
            yield Reader(connection)

    def wait(self, after_seq: int, timeout_s: float) -> int:
        """Block until there is an Event above `after_seq`, the time is up, or the store closes.

        Returns the newest Event's `seq`; -1 where there is none.
        """
        with self._news:
            self._news.wait_for(lambda: self._newest > after_seq or self._closing, timeout_s)
            return self._newest

    def _write_on(self, engine: Engine, head: journal.Head) -> None:
        connection = engine.connect().execution_options(**WRITES)
        while batch := self._take():
            try:
                head = self._commit(connection, head, batch)
            except (
                Exception
            ) as error:  # the thread's outermost loop: whatever happens, the callers hear of it
                logger.warning("a commit of %d changes failed", len(batch), exc_info=True)
                _roll_back(connection)
                for entry in batch:
                    entry.fail(error)
            else:
                self._announce(head.seq)
            for entry in batch:
                entry.wake()
        connection.close()

    def _take(self) -> list[_Change[Any]]:
        """The changes that wait, once there are some; none when the store closes."""
        with self._work:
            self._work.wait_for(lambda: self._waiting or self._closing)
            return [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]

    def _commit(
        self, connection: Connection, head: journal.Head, batch: Iterable[_Change[Any]]
    ) -> journal.Head:
        with connection.begin():
            head = journal.current(connection, head)
            nodes: list[NodeRecord] = []
            for entry in batch:
                transaction = Transaction(connection, head, self._clock.wall_ms())
                if entry.apply(connection, transaction):
                    head = transaction.head
                    nodes += transaction.nodes
            if nodes:
                table = table_of(NodeRecord)
                names = table.table.columns.keys()
                rows = [dict(zip(names, table.encode(node), strict=True)) for node in nodes]
                connection.execute(table.upsert, rows)
        return head

    def _announce(self, seq: int) -> None:
        with self._news:
            if seq > self._newest:
                self._newest = seq
                self._news.notify_all()


class _Change(Generic[T]):
    """A change that waits for the writer, and what came of it."""

    def __init__(self, change: Callable[[Transaction], T]) -> None:
        self._change = change
        self._unsettled = threading.Lock()
        self._unsettled.acquire()
        self._value: T | None = None
        self._error: BaseException | None = None

    def apply(self, connection: Connection, transaction: Transaction) -> bool:
        """Run the change in a savepoint; whether it stays. Raises when the storage failed under it."""
        connection.exec_driver_sql("SAVEPOINT change")
        try:
            self._value = self._change(transaction)
            transaction.finish()
        except BaseException as error:
            self._error = error
        if transaction.failure:
            raise transaction.failure
        if self._error:
            connection.exec_driver_sql("ROLLBACK TO change")
        connection.exec_driver_sql("RELEASE change")
        return self._error is None

    def fail(self, error: Exception) -> None:
        """Nothing of the commit holds. Each caller gets an error of its own: tracebacks are not shared."""
        if isinstance(error, STORAGE_ERRORS):
            error = storage_error(error)
        if isinstance(error, KernosError):
            error = type(error)(error.message, hint=error.hint)
        self._error = error

    def wake(self) -> None:
        self._unsettled.release()

    def outcome(self) -> T:
        with self._unsettled:
            if self._error:
                raise self._error
            return self._value  # type: ignore[return-value] # apply set it, for there is no error


def _closed() -> UnavailableError:
    return UnavailableError("The catalog is closed.", hint="Start Kernos, then try again.")


def _roll_back(connection: Connection) -> None:
    """Leave the failed transaction; a connection that cannot is replaced by a new one."""
    try:
        connection.rollback()
    except SQLAlchemyError:
        connection.invalidate()
