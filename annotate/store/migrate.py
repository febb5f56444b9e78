"""Bring a database to the program's form, under a lock, or say why not."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from annotate.store.engine import Database, errors_in_words
from annotate.store.types import StoreError

HEAD = "0003"
MIGRATIONS = Path(__file__).with_name("migrations")
MIGRATION_KEY = 7_215_001  # of PostgreSQL's advisory lock


def migrate(database: Database, revision: str = HEAD) -> None:
    """Create or upgrade the tables. Replicas that start together wait for each other.

    Args:
        database: to be brought to `revision`.
        revision: the program's own; another one for tests.

    Raises:
        StoreError: the database is newer than the program, or no such database.
    """
    with errors_in_words():
        with database.engine.connect() as connection:
            found = _revision(connection)
        if found == revision:
            return
        if not database.is_sqlite:
            _upgrade_locked(database, revision)
            return
        with database.transaction(writes=True) as connection:
            _upgrade(connection, revision)


def _upgrade_locked(database: Database, revision: str) -> None:
    with database.transaction(writes=True) as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_KEY})
        _upgrade(connection, revision)


def _revision(connection: Connection) -> str:
    """The database's revision, "" where it has none."""
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
