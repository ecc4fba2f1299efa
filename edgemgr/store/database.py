"""One database, SQLite or PostgreSQL, opened the same way.

SQLite runs in WAL mode with synchronous=FULL, so that a committed change survives a power cut, and writers take
the lock at BEGIN, so that no transaction fails half-way for want of it. It is driven through the pysqlite3 wheel:
SQLite before 3.51.3 can corrupt a WAL database that several processes write (sqlite.org/changes.html).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from pysqlite3 import dbapi2 as sqlite_module
from sqlalchemy import event, make_url
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, create_engine

from edgemgr.errors import StoreError

__all__ = ["LOCK_TIMEOUT_S", "SAFE_SQLITE", "Database", "Session", "sqlite_version"]

#: SQLite's -shm file grows by so much at once (sqlite.org/walformat.html, part 2).
SHM_BYTES = 32 << 10
SAFE_SQLITE = (3, 51, 3)
LOCK_TIMEOUT_S = 30
#: How often each end of a connection to PostgreSQL looks whether the other is still there, seconds.
LINK_LOOK_S = 5


class Database:
    """The engine and its two kinds of session."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.engine = _engine(self.url)
        self._reader = self.engine.execution_options(edgemgr_read_only=True)
        # SQLite lets one writer in and makes the others sleep and look again, in no order: threads of this process
        # wait here for their turn instead, without a connection in their hands.
        self._turn = threading.Lock() if self.dialect == "sqlite" else None

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.engine.dialect.name

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that may change data: commits at the end, rolls back on an error.

        Raises:
            StoreError: the database is locked for too long, full, damaged, not there or not migrated.
        """
        with (
            _told_plainly(self.url),
            self._my_turn(),
            Session(self.engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A consistent view for reading; never waits for a writer on SQLite.

        Raises:
            StoreError: as `write`.
        """
        with _told_plainly(self.url), Session(self._reader, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        if self._turn is None:
            yield
            return
        if not self._turn.acquire(timeout=LOCK_TIMEOUT_S):
            raise _locked(self.url)
        try:
            yield
        finally:
            self._turn.release()

    def close(self) -> None:
        """Give back every connection."""
        self.engine.dispose()


def _engine(url: sqlalchemy.URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_size=4, max_overflow=60, pool_pre_ping=True, connect_args=_connect_args())
    # As many connections as threads ask for: opening a file costs little, and readers wait for nobody.
    engine = create_engine(url, module=sqlite_module, max_overflow=-1, connect_args={"timeout": LOCK_TIMEOUT_S})
    engine.dialect.statement_compiler = _HintedCompiler

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # BEGIN is ours, below
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-16384"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        read_only = connection.get_execution_options().get("edgemgr_read_only")
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


class _HintedCompiler(SQLiteCompiler):
    """Lets `with_hint` say `INDEXED BY`, which SQLAlchemy leaves out (sqlite.org/lang_indexedby.html)."""

    def get_from_hint_text(self, table: Any, text: str | None) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        return text


def _connect_args() -> dict[str, object]:
    """PostgreSQL: who was cut off notices it in seconds, and what it had locked is free again in seconds.

    Both ends look whether the other is still there (postgresql.org/docs, libpq-connect and runtime-config-connection):
    without that a claim whose client vanished would keep its locks for as long as the kernel's two hours.
    """
    server = {
        "tcp_keepalives_idle": LINK_LOOK_S,
        "tcp_keepalives_interval": LINK_LOOK_S,
        "tcp_keepalives_count": 3,
        "tcp_user_timeout": f"{4 * LINK_LOOK_S}s",
        "lock_timeout": f"{LOCK_TIMEOUT_S}s",
        "idle_in_transaction_session_timeout": f"{LOCK_TIMEOUT_S}s",
    }
    return {
        "connect_timeout": 2 * LINK_LOOK_S,
        "keepalives_idle": LINK_LOOK_S,
        "keepalives_interval": LINK_LOOK_S,
        "keepalives_count": 3,
        "tcp_user_timeout": 4 * LINK_LOOK_S * 1000,
        "options": " ".join(f"-c {name}={value}" for name, value in server.items()),
    }


def sqlite_version() -> tuple[str, bool]:
    """The SQLite that is used, and whether it is free of the WAL-reset bug."""
    version: str = sqlite_module.sqlite_version
    return version, tuple(int(part) for part in version.split(".")) >= SAFE_SQLITE


@contextmanager
def _told_plainly(url: sqlalchemy.URL) -> Iterator[None]:
    """Turn the database's own errors into ours. Broken rules (IntegrityError) pass: callers know what they mean."""
    try:
        yield
    except sqlalchemy.exc.TimeoutError as exc:  # PostgreSQL: every connection of the pool is in use
        raise StoreError(
            f"no connection to the database {url.render_as_string(hide_password=True)} became free",
            hint="It is tried again; if this repeats, the database is too slow.",
            code="E-STORE-BUSY",
        ) from exc
    except DBAPIError as exc:
        if isinstance(exc, sqlalchemy.exc.IntegrityError):
            raise
        raise _store_error(exc, url) from exc


def _store_error(exc: DBAPIError, url: sqlalchemy.URL) -> StoreError:
    where = url.render_as_string(hide_password=True)
    text = str(exc.orig)
    lower = text.lower()
    if "locked" in lower or "lock timeout" in lower:
        return _locked(url)
    if "is full" in lower or "no space left" in lower or ("disk i/o error" in lower and _has_no_room(url)):
        return StoreError(
            f"no room left to write the database {where}; nothing was changed",
            hint="Free disk space and repeat the command.",
            code="E-STORE-FULL",
        )
    if "no such table" in lower or "does not exist" in lower or "no such column" in lower:
        return StoreError(
            f"the database {where} has not the tables of this version: {text.splitlines()[0]}",
            hint="Run `edgemgr database upgrade`.",
            code="E-STORE-SCHEMA",
        )
    if "malformed" in lower or "not a database" in lower:
        return StoreError(
            f"the database {where} is damaged: {text}",
            hint="Keep the file, restore the last backup, and look at the disk.",
            code="E-STORE-DAMAGED",
        )
    return StoreError(
        f"the database {where} cannot be used: {text.splitlines()[0] if text else exc}",
        hint="Check that it exists, runs and may be written: `edgemgr doctor`.",
        code="E-STORE-UNAVAILABLE",
    )


def _has_no_room(url: sqlalchemy.URL) -> bool:
    """Whether SQLite's bare "disk I/O error" comes of a full disk: it says that if its -shm file cannot grow."""
    directory = Path(url.database or "").absolute().parent
    return directory.exists() and os.statvfs(directory).f_bavail * os.statvfs(directory).f_frsize < SHM_BYTES


def _locked(url: sqlalchemy.URL) -> StoreError:
    return StoreError(
        f"the database {url.render_as_string(hide_password=True)} stayed locked for {LOCK_TIMEOUT_S} s",
        hint="Another edgemgr command writes much at once: try again, or look for one that hangs.",
        code="E-STORE-LOCKED",
    )
