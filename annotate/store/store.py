"""The store of Teach: images, tasks and annotations, in SQLite or PostgreSQL. Everything goes through this one class.

    store = AnnotationStore.open(Path("data"))
    who = store.pseudonym("Ada")
    task = store.next_task(who)

`by` and `who` are pseudonyms. Whatever goes wrong is a `StoreError` of one sentence.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from PIL import Image
from sqlalchemy.orm import Session

from annotate.store import imports, outbox, people, pictures, reviews, submissions, tasks
from annotate.store.engine import Database, database_url
from annotate.store.migrate import migrate
from annotate.store.types import (
    AuditEntry,
    Counts,
    ImportKind,
    ImportStatus,
    Person,
    Progress,
    Receipt,
    Skip,
    Stored,
    StoredImage,
    StoreError,
    StoreSettings,
    Task,
    Verdict,
)
from annotate.store.values import ADDED, checked_text, image_of, to_us, write_audit
from gazevlm_core.annotation import Annotation
from gazevlm_core.options import DEFAULT_QUESTION
from gazevlm_core.scanpath import Scanpath


def utc_now() -> datetime:
    """The server's clock."""
    return datetime.now(UTC)


class AnnotationStore:
    """See the module; made by `open`, and safe to use from many threads."""

    def __init__(self, database: Database, settings: StoreSettings, clock: Callable[[], datetime]) -> None:
        self.database = database
        self.settings = settings
        self._clock = clock
        self._secret = settings.secret or database.read(people.stored_secret)

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

    def close(self) -> None:
        """Give the connections back."""
        self.database.close()

    def free_bytes(self) -> float:
        """What the disk of a SQLite database still takes; infinite where the database is elsewhere."""
        return self.database.free_bytes()

    def now_us(self) -> int:
        """The time of the store's clock, in microseconds since 1970."""
        return to_us(self._clock())

    def tag(self, text: str) -> str:
        """Proof that a text was given out by this store, 64 hex digits; nobody can make one without its secret."""
        return people.tag_of(text, self._secret)

    # ---- people -----------------------------------------------------------------------------------------------------
    def pseudonym(self, name: str) -> str:
        """What everybody sees instead of a name; the person is known from then on."""
        name = checked_text("The name", name, people.LONGEST_NAME)
        known = self.database.read(lambda session: people.find_name(session, name))
        return known or self.database.write(lambda session: people.find_or_add(session, name, self._secret))

    def people(self) -> list[Person]:
        """Everybody with their names; for admins only."""
        return self.database.read(people.list_people)

    # ---- images -----------------------------------------------------------------------------------------------------
    def add_image(
        self,
        image: Image.Image,
        name: str,
        *,
        question: str = DEFAULT_QUESTION,
        gold: Scanpath | None = None,
        quota: int | None = None,
        source: str = "",
        by: str,
        offered: bool = True,
    ) -> StoredImage:
        """Store an image; the same pixels twice are stored once, and stay as they were said to be.

        Args:
            image: upright, mode "L" or "RGB", as from `load_image`; only its pixels are kept.
            name: for people.
            question: what annotators are asked.
            gold: the known path of a gold image, which is given by the gold share and without a quota.
            quota: how many annotators it wants; None for the store's.
            source: where it comes from.
            by: who adds it.
            offered: whether it is given out as a task; False for an annotator's own image.
        """
        picture = pictures.encode_picture(image)
        offer = pictures.Offer(name, question, gold, self.settings.quota if quota is None else quota, source, offered)

        def put(session: Session) -> StoredImage:
            now_us = self.now_us()
            row, is_new = pictures.put_picture(session, picture, offer, by, now_us)
            if is_new:
                write_audit(session, now_us, by, ADDED, picture.sha256, name=row.name)
            return image_of(row)

        return self.database.write(put)

    def image(self, sha256: str) -> StoredImage:
        """An image without its pixels."""
        return self.database.read(lambda session: pictures.find_image(session, sha256))

    def pixels(self, sha256: str) -> Image.Image:
        """The upright pixels, mode "L" or "RGB"."""
        return pictures.decode_png(self.png(sha256))

    def png(self, sha256: str) -> bytes:
        """The pixels as a PNG file without metadata."""
        return self.database.read(lambda session: pictures.find_png(session, sha256))

    def images(self, after: str = "", limit: int = 1000) -> list[StoredImage]:
        """Images in the order of their digests, from the one behind `after`."""
        return self.database.read(lambda session: pictures.list_images(session, after, limit))

    def set_open(self, sha256: str, open_: bool, by: str) -> None:
        """Give an image out as a task from now on, or no longer."""
        self.database.write(lambda session: pictures.set_open(session, sha256, open_, by, self.now_us()))

    def set_gold(self, sha256: str, gold: Scanpath | None, by: str, *, gold_from: Collection[str] = ()) -> None:
        """Make an image a gold image with a known path, or a usual one again.

        Args:
            sha256: of the image.
            gold: the path; None for a usual image.
            by: who decides.
            gold_from: pseudonyms of the annotators whose submissions the path was taken or chosen from; how near they
                come to it says nothing.
        """
        self.database.write(lambda session: pictures.set_gold(session, sha256, gold, gold_from, by, self.now_us()))

    def queue_import(
        self, kind: ImportKind, where: str, by: str, question: str = DEFAULT_QUESTION, quota: int | None = None
    ) -> int:
        """Ask for a batch import; `imports.run_next_import` does it.

        Args:
            kind: "folder", "zip" or "hub".
            where: path on the server, or owner/name[:split] of a hub data set.
            by: who asks.
            question: what annotators are asked about these images.
            quota: how many annotators each wants; None for the store's.

        Returns:
            The import's number.
        """
        return self.database.write(
            lambda session: imports.queue_import(session, kind, where, by, question, quota, self.now_us())
        )

    def imports(self) -> list[ImportStatus]:
        """All imports and how far they are, the latest first; for admins."""
        return self.database.read(imports.list_imports)

    # ---- tasks ------------------------------------------------------------------------------------------------------
    def next_task(self, who: str) -> Task | None:
        """The image that `who` is to annotate next, kept for them for `lease_s`; None where no image wants them.

        A task that was neither submitted nor skipped is given again, also after it expired, while the image wants it.
        """
        now_us = self.now_us()
        if self.database.read(lambda session: tasks.find_expired(session, now_us, self.settings)):
            self.database.write(lambda session: tasks.take_back(session, now_us, self.settings))
        return self.database.write(lambda session: tasks.next_task(session, who, now_us, self.settings))

    def skip(self, lease_id: str, who: str, reason: str) -> None:
        """Give a task back; the image is not given to `who` again."""
        self.database.write(lambda session: tasks.skip(session, lease_id, who, reason, self.now_us()))

    def progress(self, who: str) -> Progress:
        """How far somebody is."""
        return self.database.read(lambda session: tasks.progress(session, who))

    # ---- submissions ------------------------------------------------------------------------------------------------
    def submit(self, annotation: Annotation, lease_id: str | None = None) -> Receipt:
        """Store an annotation; it is durable when this returns.

        Args:
            annotation: its annotator is a pseudonym of this store; `submitted_at` is set here, never before
                `started_at`. The same submission id with the same content stores once; times, the image's name
                and the question are the server's, and no part of that content.
            lease_id: of the task; a task that expired meanwhile still counts.
        """
        stored_at = max(self._clock(), annotation.started_at)
        record = submissions.record_of(replace(annotation, submitted_at=stored_at))
        return self.database.write_together(lambda connection: submissions.submit(connection, record, lease_id))

    def stored(
        self,
        *,
        after: int = 0,
        limit: int = 1000,
        sha256: str | None = None,
        annotator: str | None = None,
        verdicts: Collection[Verdict] | None = None,
        include_removed: bool = False,
    ) -> list[Stored]:
        """Submissions by number, from the one behind `after`, at most 10,000; who reads on misses none."""
        return self.database.read(
            lambda session: submissions.list_stored(
                session, after, limit, sha256, annotator, verdicts, include_removed
            )
        )

    def find(self, submission_id: str) -> Stored | None:
        """A submission by the client's id, removed or not."""

        def find(session: Session) -> Stored | None:
            row = submissions.find_row(session, submission_id)
            return None if row is None else submissions.stored_of(row)

        return self.database.read(find)

    def find_receipt(self, receipt_id: str) -> Stored | None:
        """A submission by its receipt, in any case, removed or not."""
        return self.database.read(lambda session: submissions.find_receipt(session, receipt_id))

    # ---- review -----------------------------------------------------------------------------------------------------
    def review(self, submission_id: str, verdict: Verdict, reason: str, by: str) -> None:
        """Judge a submission; a rejected one needs a reason, and no longer counts for its image."""
        self.database.write(
            lambda session: reviews.review(session, submission_id, verdict, reason, by, self.now_us())
        )

    def remove(self, submission_id: str, reason: str, by: str) -> None:
        """Take a submission out of sight; it is kept, and can be restored."""
        self._set_removed(submission_id, True, reason, by)

    def restore(self, submission_id: str, reason: str, by: str) -> None:
        """Undo `remove`."""
        self._set_removed(submission_id, False, reason, by)

    def _set_removed(self, submission_id: str, removed: bool, reason: str, by: str) -> None:
        self.database.write(
            lambda session: reviews.set_removed(session, submission_id, removed, reason, by, self.now_us())
        )

    def skips(self, after: int = 0, limit: int = 1000) -> list[Skip]:
        """Skipped tasks by number."""
        return self.database.read(lambda session: outbox.list_skips(session, after, limit))

    def audit(self, after: int = 0, limit: int = 1000) -> list[AuditEntry]:
        """The audit log by number; nothing in it is ever changed."""
        return self.database.read(lambda session: outbox.list_audit(session, after, limit))

    # ---- out and back -----------------------------------------------------------------------------------------------
    def counts(self) -> Counts:
        """How much there is of everything."""
        return self.database.read(outbox.count_all)

    def unsynced(self, limit: int = 1000) -> list[Stored]:
        """Submissions that are not published as they are now: new ones, and those whose verdict changed since.

        One that was removed after it was published comes again, with `removed` set; one removed before never comes.
        """
        return self.database.read(lambda session: outbox.list_unsynced(session, limit))

    def mark_synced(self, published: Sequence[int | Stored], shard: str) -> None:
        """Note that submissions are published in a shard.

        Args:
            published: numbers, or better what `unsynced` gave: what changed since then stays unsynced.
            shard: name of the file.
        """
        self.database.write(lambda session: outbox.mark_synced(session, published, shard))

    def backlog(self) -> int:
        """How many submissions are not published as they are now."""
        return self.database.read(outbox.count_unsynced)

    def take_in(self, stored: Stored, *, shard: str = "", by: str = "import") -> bool:
        """Take in an exported record as it is: number (where it is free), receipt, verdict, reason, kind.

        Args:
            stored: of an image that is in the store.
            shard: the published file it comes from: it counts as synced. "" for an export that is not published.
            by: who imports.

        Returns:
            False where it is there already, in this or a later revision.

        Raises:
            StoreError: its content does not fit its receipt, its image is not in the store, or another content is
                stored under its id.
        """
        record = submissions.check_stored(stored)
        return self.database.write(lambda session: outbox.take_in(session, stored, record, shard, by, self.now_us()))

