"""Connections to SQLite or PostgreSQL, transactions that are durable when they end, migrations, and errors in words."""

import logging
import math
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_message,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from annotate.store.model import StoreError, StoreTrouble

log = logging.getLogger(__name__)
DATABASE_FILE = "annotations.db"
BUSY_S = 60.0  # how long a writer waits for another process
ATTEMPTS = 8
ATTEMPTS_TO_ADD = 3
RETRY_CODES = {"40001", "40P01", "55P03"}  # PostgreSQL: serialisation failure, deadlock, lock not available
FULL_CODES = {"53100"}  # PostgreSQL: disk full
MIGRATIONS = Path(__file__).with_name("migrations")
HEAD = max(path.name.split("_")[1] for path in (MIGRATIONS / "versions").glob("rev_*.py"))  # the program's form
MIGRATION_KEY = 7_215_001  # of PostgreSQL's advisory lock
Result = TypeVar("Result")
Rest = ParamSpec("Rest")


class FairLock:
    """A lock that serves threads in the order in which they came; Python's own may leave one waiting for long.

    Used by `with`; not to be taken twice by one thread.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held = False
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        with self._guard:
            if not self._held:
                self._held = True
                return
            gate = threading.Lock()
            gate.acquire()
            self._waiting.append(gate)
        gate.acquire()  # until the one before hands over

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._held = False


def database_url(folder: Path, url: str) -> URL:
    """Return where the database is: a file in the folder, or what the URL says.

    Raises:
        StoreError: a URL that is neither of SQLite nor of PostgreSQL.
    """
    if not url:
        return URL.create("sqlite", database=str(folder / DATABASE_FILE))
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StoreError("DATABASE_URL is no database URL; write postgresql://user:password@host/database.") from None
    kind = parsed.drivername.partition("+")[0]
    if kind in ("postgres", "postgresql"):
        return parsed.set(drivername="postgresql+psycopg")
    if kind == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return parsed.set(drivername="sqlite")
    raise StoreError("DATABASE_URL must be of PostgreSQL, or of SQLite with a file; what it names is neither.")


class Database:
    """An engine with two kinds of transactions.

    Args:
        url: as from `database_url`.
    """

    def __init__(self, url: URL) -> None:
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self._write_lock = FairLock()  # SQLite has one writer; threads that queue here need not poll the file
        self._guard, self._waiting = threading.Lock(), list[tuple[Callable[[Connection], Any], Future[Any]]]()
        if self.is_sqlite:
            self.engine = create_engine(url, connect_args={"timeout": BUSY_S}, pool_size=8, max_overflow=56)
            event.listen(self.engine, "connect", _prepare_sqlite)
        else:
            self.engine = create_engine(url, pool_pre_ping=True, pool_size=8, max_overflow=8, pool_timeout=BUSY_S)

    def free_bytes(self) -> float:
        """Return what the disk below a SQLite file still takes; infinite for a server, whose disk is not seen."""
        if not self.is_sqlite:
            return math.inf
        return shutil.disk_usage(Path(str(self.engine.url.database)).parent).free

    def read(self, work: Callable[[Connection], Result]) -> Result:
        """Return what `work` does; each of its queries sees a consistent state, in SQLite all of them the same one."""
        return self._repeat(lambda: self._run([work], writes=False)[0])

    def write(self, work: Callable[[Connection], Result]) -> Result:
        """Return what `work` does, once all it wrote is durable. It is run again after a conflict or a lost connection,
        so it must lead to the same when its first run was stored after all.

        Raises:
            StoreError: as `work` does, or the database failed; then nothing is stored.
        """
        with self._write_lock if self.is_sqlite else nullcontext():
            return self._repeat(lambda: self._run([work])[0])

    def write_together(self, work: Callable[[Connection], Result]) -> Result:
        """Write what many write at a time: in SQLite in one transaction for all who wait for their turn by then.

        In PostgreSQL each has its own, since one that holds the counter must not wait for another person or image.
        """
        if not self.is_sqlite:
            return self._repeat(lambda: self._run([work])[0])
        mine: Future[Result] = Future()
        with self._guard:
            self._waiting.append((work, mine))
            is_first = len(self._waiting) == 1
        if is_first:
            with self._write_lock:
                with self._guard:
                    together, self._waiting = self._waiting, []
                self._finish(together)
        return mine.result()

    def _finish(self, together: list[tuple[Callable[[Connection], Any], Future[Any]]]) -> None:
        """Do everybody's work at once or, where any of it fails, each alone: nobody's error is another's."""
        try:
            results = self._repeat(lambda: self._run([work for work, _ in together]))
        except BaseException as error:
            if len(together) == 1:
                together[0][1].set_exception(error)
                return
            for one in together:
                self._finish([one])
        else:
            for (_, future), result in zip(together, results, strict=True):
                future.set_result(result)

    def _run(self, works: Iterable[Callable[[Connection], Result]], *, writes: bool = True) -> list[Result]:
        with self.transaction(writes=writes) as connection:
            return [work(connection) for work in works]

    @contextmanager
    def transaction(self, *, writes: bool) -> Iterator[Connection]:
        """Return one transaction; what it wrote is durable at the end."""
        with self.engine.begin() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
            yield connection

    def _repeat(self, attempt: Callable[[], Result]) -> Result:
        with translate_errors():
            return RETRYING(attempt)

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - a connection of the driver
    connection.isolation_level = None  # the driver begins no transactions; `Database.transaction` does
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={int(1000 * BUSY_S)}")
    mode = WHILE_LOCKED(lambda: cursor.execute("PRAGMA journal_mode=WAL").fetchone()[0])
    if mode.lower() != "wal":
        raise StoreError("The data folder cannot hold a SQLite database in WAL mode; put it on a local disk.")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _is_transient(state: RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, IntegrityError):  # two transactions added the same row at once; the second one finds it now
        return state.attempt_number < ATTEMPTS_TO_ADD
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or getattr(error.orig, "sqlstate", None) in RETRY_CODES


RETRYING = Retrying(
    retry=_is_transient,
    stop=stop_after_attempt(ATTEMPTS),
    wait=wait_random_exponential(0.02, max=2),
    reraise=True,
)

# SQLite does not wait for whoever makes a new file's log at the same moment, whatever its busy_timeout.
WHILE_LOCKED = Retrying(
    retry=retry_if_exception_message(match=".*locked"),
    stop=stop_after_delay(BUSY_S),
    wait=wait_random_exponential(0.02, max=0.5),
    reraise=True,
)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turn what the database raises into one `StoreTrouble`; the details go to the log."""
    try:
        yield
    except DBAPIError as error:
        log.warning("database: %s", error.orig)
        raise StoreTrouble(_message(error)) from None
    except PoolTimeout:
        raise StoreTrouble("The store is busy; nothing was stored; try again in a moment.") from None
    except SQLAlchemyError as error:
        log.warning("database: %s", error)
        raise StoreTrouble("The database refused this; nothing was stored; see the server's log.") from None


def _message(error: DBAPIError) -> str:
    message = str(error.orig).lower()
    if getattr(error.orig, "sqlstate", None) in FULL_CODES or "disk is full" in message or "no space left" in message:
        return "The store's disk is full; nothing was stored; make room and try again."
    if "locked" in message:
        return "The store is busy with another program; nothing was stored; try again in a moment."
    if "not a database" in message or "malformed" in message:
        return "The database file is damaged or of another program; give another data folder, or restore a copy."
    if "unable to open" in message or "readonly" in message or "read-only" in message:
        return "The database file cannot be written; check the data folder and its permissions."
    if error.connection_invalidated or "connect" in message:
        return "The database cannot be reached; nothing was stored; check DATABASE_URL, or try again in a moment."
    return "The database refused this; nothing was stored; see the server's log."


def advisory_lock(connection: Connection, key: int) -> None:
    """Wait until no other transaction holds `key`, and hold it until the end; SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


# ---- methods in a transaction ----------------------------------------------------------------------------------------
class HasDatabase(Protocol):
    """Whose methods these are."""

    database: Database


Owner = TypeVar("Owner", bound=HasDatabase)


Method = Callable[Concatenate[Owner, Connection, Rest], Result]


def _inside(method: Method[Owner, Rest, Result], *, writes: bool) -> Callable[Concatenate[Owner, Rest], Result]:
    @wraps(method)
    def call(owner: Owner, /, *args: Rest.args, **kwargs: Rest.kwargs) -> Result:
        run = owner.database.write if writes else owner.database.read
        return run(lambda connection: method(owner, connection, *args, **kwargs))

    return call


def reads(method: Method[Owner, Rest, Result]) -> Callable[Concatenate[Owner, Rest], Result]:
    """Call a method with the connection of a transaction that reads, see `Database.read`."""
    return _inside(method, writes=False)


def writes(method: Method[Owner, Rest, Result]) -> Callable[Concatenate[Owner, Rest], Result]:
    """Call a method with the connection of a transaction that writes, see `Database.write`."""
    return _inside(method, writes=True)


# ---- migrations ------------------------------------------------------------------------------------------------------
def migrate(database: Database, revision: str = HEAD) -> None:
    """Create or upgrade the tables. Replicas that start together wait for each other.

    Args:
        database: to be brought to `revision`.
        revision: the program's own; another one for tests.

    Raises:
        StoreError: the database is newer than the program, or no such database.
    """
    with translate_errors():
        with database.engine.connect() as connection:
            found = _revision(connection)
        if found == revision:
            return
        with database.transaction(writes=True) as connection:
            advisory_lock(connection, MIGRATION_KEY)
            _upgrade(connection, revision)


def _revision(connection: Connection) -> str:
    """Return the database's revision, "" where it has none."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or ""


def _upgrade(connection: Connection, revision: str) -> None:
    from alembic import command  # late: a database that is up to date needs none of it
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    found = _revision(connection)
    if found and found not in known:
        raise StoreError(
            f"The database is of a newer program (its form is {found}, this program knows {HEAD}); update GazeVLM."
        )
    if found == revision:
        return  # another process was faster
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
