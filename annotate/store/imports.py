"""Batch imports: a queue in the database, worked off file by file, and gone on with after a crash.

What was done with each file is written in the same transaction as its image, so nothing is done or counted twice.
"""

import hashlib
import logging
import secrets
import time
from pathlib import PurePath
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from annotate.store.archives import SourceError
from annotate.store.base import CLOCK_SLACK_US, Store, write_audit
from annotate.store.database import reads, writes
from annotate.store.images import check_quota, new_image, put_image, shown_name
from annotate.store.import_sources import SOURCES, Found, count_images
from annotate.store.model import (
    FOUND_AT,
    IMPORT_KINDS,
    LONGEST_VALUE,
    MAIN_PROJECT,
    ImportKind,
    ImportStatus,
    StoredImage,
    StoreError,
    checked_text,
)
from annotate.store.project import LONGEST_QUESTION
from annotate.store.projects import find_project
from annotate.store.tables import IMPORT_ENTRIES, IMPORTS, from_us
from gazevlm_core.images import ImageError, open_image
from gazevlm_core.images.decode_limit import BusyError

BROKEN_FILE = "The file breaks what reads it; convert it, or leave it out."
CLAIM_US = 120_000_000  # a worker that says nothing for so long has died
log = logging.getLogger(__name__)
BUSY_PAUSE_S = 5.0
LONGEST_ENTRY = 200
REASONS_SHOWN = 20
ENTRY_DIGITS = 32  # of a digest, where the name alone is no key
FILES_SHOWN = 200
OVER = "This import has ended already."


class _TakenOver(Exception):
    """Another worker goes on with this import."""


class Imports(Store):
    """Batch imports of a store."""

    @writes
    def queue_import(
        self, connection: Connection, kind: ImportKind, where: str, by: str, question: str | None = None,
        quota: int | None = None, project: str = MAIN_PROJECT,
    ) -> int:  # fmt: skip
        """Ask for a batch import; `run_next_import` does it.

        Args:
            connection: given by the store.
            kind: "folder", "zip" or "hub".
            where: path on the server, or owner/name[:split] of a hub data set.
            by: who asks.
            question: what annotators are asked about these images; None for the project's question.
            quota: how many annotators each wants; None for the store's.
            project: that they come into; what is in another one already stays there.

        Returns:
            The import's number.
        """
        if kind not in IMPORT_KINDS:
            raise StoreError(f"An import is of a {', a '.join(IMPORT_KINDS)}; {str(kind)[:40]!r} is none of these.")
        if quota is not None:
            check_quota(quota)
        usual = find_project(connection, project).question
        place, now_us = checked_text("The source", where, 4_000), self.now_us()
        row = {
            "kind": kind, "place": place, "who": by, "quota": quota, "state": "queued", "at_us": now_us,
            "question": checked_text("The question", usual if question is None else question, LONGEST_QUESTION),
            "project": project,
        }  # fmt: skip
        number = int(connection.execute(IMPORTS.insert().values(row).returning(IMPORTS.c.id)).scalar_one())
        write_audit(connection, now_us, by, "import queued", f"import {number}", kind=kind, where=place)
        return number

    @writes
    def cancel_import(self, connection: Connection, number: int, by: str) -> None:
        """End an import that waits or goes on; what it has added stays.

        Raises:
            StoreError: there is none of that number, or it has ended.
        """
        row = connection.execute(select(IMPORTS).where(IMPORTS.c.id == number).with_for_update()).first()
        if row is None:
            raise StoreError("There is no such import; check its number.")
        if row.state not in ("queued", "running"):
            raise StoreError(OVER)
        _change_import(connection, number, state="cancelled", claim=None)
        write_audit(connection, self.now_us(), by, "import cancelled", f"import {number}")

    @reads
    def imports(self, connection: Connection) -> list[ImportStatus]:
        """Return all imports and how far they are, the latest first; for admins."""
        rows = connection.execute(select(IMPORTS).order_by(IMPORTS.c.id.desc()))
        return [_status(connection, row) for row in rows.all()]


def _status(connection: Connection, row: Row[Any]) -> ImportStatus:
    entries = IMPORT_ENTRIES.c
    of_import = entries.import_id == row.id
    outcomes = select(entries.outcome, func.count()).where(of_import).group_by(entries.outcome)
    counts = {row[0]: row[1] for row in connection.execute(outcomes)}
    query = select(entries.reason, func.count()).where(of_import, entries.outcome == "refused")
    query = query.group_by(entries.reason).order_by(func.count().desc(), entries.reason).limit(REASONS_SHOWN)
    files = select(entries.entry, entries.reason).where(of_import, entries.outcome == "refused")
    files = files.order_by(entries.entry).limit(FILES_SHOWN)
    return ImportStatus(
        row.id, row.kind, row.place, row.who, row.state, counts.get("added", 0), counts.get("known", 0),
        counts.get("refused", 0), {row[0]: row[1] for row in connection.execute(query)}, row.error,
        from_us(row.at_us), row.project, row.total, tuple((file, reason) for file, reason in connection.execute(files)),
    )  # fmt: skip


def run_next_import(store: Store) -> ImportStatus | None:
    """Do the next import that is queued, or whose worker died, to its end; return None where there is none.

    Call it again and again from one thread or process, or from several.

    Raises:
        StoreError: the database failed, for instance the disk is full; a later call goes on with the import.
    """
    token = secrets.token_hex(8)
    row = store.database.write(lambda connection: _claim(connection, token, store.now_us()))
    if row is None:
        return None
    error = ""
    try:
        total = count_images(row.kind, row.place)
        store.database.write(lambda connection: _change_import(connection, row.id, total=total))
        count = 0
        for found in SOURCES[row.kind](row.place):
            _do_entry(store, row, token, found)
            count += 1
        if not count:
            error = "There is no image in it; check what it holds."
    except _TakenOver:
        this = select(IMPORTS).where(IMPORTS.c.id == row.id)
        return store.database.read(lambda connection: _status(connection, connection.execute(this).one()))
    except SourceError as trouble:
        error = str(trouble)
    return store.database.write(lambda connection: _end(connection, row.id, token, error, store.now_us()))


def _change_import(connection: Connection, key: int, **values: object) -> None:
    connection.execute(update(IMPORTS).where(IMPORTS.c.id == key).values(values))


def _locked_import(connection: Connection, key: int) -> Row[Any]:
    return connection.execute(select(IMPORTS).where(IMPORTS.c.id == key).with_for_update()).one()


def _claim(connection: Connection, token: str, now_us: int) -> Row[Any] | None:
    until = IMPORTS.c.claimed_until_us
    lapsed = (until <= now_us) | (until > now_us + CLAIM_US + CLOCK_SLACK_US)  # the latter: the clock was set back
    waiting = (IMPORTS.c.state == "queued") | ((IMPORTS.c.state == "running") & lapsed)
    query = select(IMPORTS).where(waiting).order_by(IMPORTS.c.id).limit(1)
    row = connection.execute(query.with_for_update(skip_locked=True)).first()
    if row is not None:
        _change_import(connection, row.id, state="running", claim=token, claimed_until_us=now_us + CLAIM_US)
    return row


def _end(connection: Connection, key: int, token: str, error: str, now_us: int) -> ImportStatus:
    row = _locked_import(connection, key)
    if row.claim == token and row.state == "running":
        _change_import(connection, key, state="failed" if error else "done", error=error)
        row = _locked_import(connection, key)
        status = _status(connection, row)
        counts = {"added": status.added, "known": status.known, "refused": status.refused}
        write_audit(connection, now_us, row.who, f"import {row.state}", f"import {key}", error=error, **counts)
    return _status(connection, row)


def _do_entry(store: Store, row: Row[Any], token: str, found: Found) -> None:
    entry = _key(found.entry)
    done = select(IMPORT_ENTRIES.c.outcome).where(IMPORT_ENTRIES.c.import_id == row.id, IMPORT_ENTRIES.c.entry == entry)
    if store.database.read(lambda connection: connection.scalar(done)) is not None:
        return
    image, png, reason = _read_image(store, row, found)

    def put(connection: Connection) -> None:
        now_us = store.now_us()
        if _locked_import(connection, row.id).claim != token:
            raise _TakenOver
        _change_import(connection, row.id, claimed_until_us=now_us + CLAIM_US)
        if connection.scalar(done) is not None:
            return
        outcome = "refused"
        if image is not None:
            outcome = "added" if put_image(connection, image, png, row.who, now_us) else "known"
        connection.execute(
            IMPORT_ENTRIES.insert().values(import_id=row.id, entry=entry, outcome=outcome, reason=reason)
        )

    store.database.write(put)


def _read_image(store: Store, row: Row[Any], found: Found) -> tuple[StoredImage | None, bytes, str]:
    """Return the image and its PNG, or None and why not."""
    quota = store.settings.quota if row.quota is None else row.quota
    source = f"{row.kind} {shown_place(row.kind, row.place)}"
    # a table of patients may name files by their folders, which annotators must not see: they may tell the finding
    about = {FOUND_AT: shown_name(found.path, LONGEST_VALUE)} if "/" in found.path else {}
    while True:
        try:
            with open_image(found.read(), name=found.name) as loaded:
                image = new_image(
                    loaded.image, found.name, row.question, True, None, source, quota, metadata=about,
                    project=row.project,
                )  # fmt: skip
                return *image, ""
        except BusyError:  # an import has time, and a file that is fine is not refused
            time.sleep(BUSY_PAUSE_S)
        except ImageError as error:
            return None, b"", str(error)
        except Exception:  # else this import would be taken up again and again, and end at this file each time
            log.exception("A file of an import broke what reads it: %s", found.name)
            return None, b"", BROKEN_FILE


def shown_place(kind: str, place: str) -> str:
    """Return where an import came from, for people and for what is published: of a path of the server its last name."""
    return place if kind == "hub" else PurePath(place).name


def _key(entry: str) -> str:
    """Return a file's name as a key: short, text that every database takes, and still a name for people."""
    if len(entry) <= LONGEST_ENTRY and entry.isprintable():
        return entry
    digest = hashlib.sha256(entry.encode(errors="surrogatepass")).hexdigest()[:ENTRY_DIGITS]
    return f"{shown_name(entry, LONGEST_ENTRY - ENTRY_DIGITS - 1)} {digest}"
