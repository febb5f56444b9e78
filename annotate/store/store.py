"""The store of Teach: images, tasks and annotations, in SQLite or PostgreSQL. Everything goes through this one class.

    store = AnnotationStore.open(Path("data"))
    who = store.pseudonym("Ada")
    task = store.next_task(who)

`by` and `who` are pseudonyms. Whatever goes wrong is a `StoreError` of one sentence.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from annotate.store.database import Database, database_url, migrate
from annotate.store.exchange import Exchange
from annotate.store.imports import Imports
from annotate.store.lookup import Lookup
from annotate.store.model import StoreError, StoreSettings
from annotate.store.people import People
from annotate.store.projects import Projects
from annotate.store.reviews import Reviews
from annotate.store.submissions import Submissions
from annotate.store.tasks import Tasks

if TYPE_CHECKING:
    from web.settings import Settings


def utc_now() -> datetime:
    """Return the server's clock."""
    return datetime.now(UTC)


class AnnotationStore(Projects, Imports, Tasks, Submissions, Reviews, People, Lookup, Exchange):
    """Made by `open`, and safe to use from many threads. Its methods are in the modules of its parts."""

    @classmethod
    def open(
        cls,
        folder: Path,
        url: str = "",
        settings: StoreSettings = StoreSettings(),  # noqa: B008 - frozen
        clock: Callable[[], datetime] = utc_now,
    ) -> Self:
        """Open the store, make or upgrade its tables.

        Args:
            folder: of the data; holds `annotations.db` where no URL is given. Made where it is missing.
            url: of a PostgreSQL (or SQLite) database; "" for SQLite in the folder.
            settings: how tasks are given out.
            clock: tells the time, with a zone.

        Raises:
            StoreError: no such database, one that cannot be written, or one of a newer program.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            raise StoreError(f"The data folder {folder} cannot be made; check the path and its permissions.") from None
        database = Database(database_url(folder, url))
        try:
            migrate(database)
            return cls(database, settings, clock)
        except BaseException:
            database.close()
            raise

    @classmethod
    def of_settings(cls, settings: "Settings") -> Self:
        """Open the store that the program's settings name; errors as in `open`."""
        of_store = StoreSettings(
            quota=settings.quota, gold_share=settings.gold_share, repeat_share=settings.repeat_share,
            secret=settings.pseudonym_key.get_secret_value(),
        )  # fmt: skip
        return cls.open(settings.data, settings.database_url.get_secret_value(), of_store)

    def close(self) -> None:
        """Give the connections back."""
        self.database.close()

    def free_bytes(self) -> float:
        """Return what the disk of a SQLite database still takes; infinite where the database is elsewhere."""
        return self.database.free_bytes()
