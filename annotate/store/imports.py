"""Batch imports: a queue in the database, worked off file by file, and gone on with after a crash.

What was done with each file is written in the same transaction as its image, so nothing is done or counted twice.
"""

import hashlib
import logging
import secrets
import time
from pathlib import PurePath
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotate.store.archives import SourceError
from annotate.store.import_sources import SOURCES, Found
from annotate.store.pictures import Offer, Picture, check_quota, encode_picture, put_picture
from annotate.store.schema import ImportEntryRow, ImportRow
from annotate.store.types import IMPORT_KINDS, ImportKind, ImportStatus, StoreError
from annotate.store.values import CLOCK_SLACK_US, checked_text, from_us, write_audit
from gazevlm_core.images import ImageError, open_image
from gazevlm_core.images.decode_limit import BusyError

if TYPE_CHECKING:
    from annotate.store.store import AnnotationStore

BROKEN_FILE = "The file breaks what reads it; convert it, or leave it out."
CLAIM_US = 120_000_000  # a worker that says nothing for so long has died
log = logging.getLogger(__name__)
BUSY_PAUSE_S = 5.0
LONGEST_ENTRY = 200
REASONS_SHOWN = 20


class _TakenOver(Exception):
    """Another worker goes on with this import."""


def queue_import(
    session: Session, kind: ImportKind, where: str, by: str, question: str, quota: int | None, now_us: int
) -> int:
    """See `AnnotationStore.queue_import`."""
    if kind not in IMPORT_KINDS:
        raise StoreError(f"An import is of a {', a '.join(IMPORT_KINDS)}; {str(kind)[:40]!r} is none of these.")
    if quota is not None:
        check_quota(quota)
    row = ImportRow(
        kind=kind, place=checked_text("The source", where, 4_000), who=by,
        question=checked_text("The question", question, 2_000), quota=quota, state="queued", error="", claim=None,
        claimed_until_us=0, at_us=now_us,
    )  # fmt: skip
    session.add(row)
    session.flush()
    write_audit(session, now_us, by, "import queued", f"import {row.id}", kind=kind, where=row.place)
    return row.id


def list_imports(session: Session) -> list[ImportStatus]:
    """All imports, the latest first."""
    return [_status(session, row) for row in session.scalars(select(ImportRow).order_by(ImportRow.id.desc()))]


def _status(session: Session, row: ImportRow) -> ImportStatus:
    entries = ImportEntryRow
    of_import = entries.import_id == row.id
    outcomes = select(entries.outcome, func.count()).where(of_import).group_by(entries.outcome)
    counts = {row[0]: row[1] for row in session.execute(outcomes)}
    query = select(entries.reason, func.count()).where(of_import, entries.outcome == "refused")
    query = query.group_by(entries.reason).order_by(func.count().desc(), entries.reason).limit(REASONS_SHOWN)
    return ImportStatus(
        row.id, row.kind, row.place, row.who, row.state,  # type: ignore[arg-type]
        counts.get("added", 0), counts.get("known", 0), counts.get("refused", 0),
        {found[0]: found[1] for found in session.execute(query)}, row.error, from_us(row.at_us),
    )  # fmt: skip


def run_next_import(store: "AnnotationStore") -> ImportStatus | None:
    """Do the next import that is queued, or whose worker died, to its end; None where there is none.

    Call it again and again from one thread or process, or from several.

    Raises:
        StoreError: the database failed, for instance the disk is full; a later call goes on with the import.
    """
    token = secrets.token_hex(8)
    row = store.database.write(lambda session: _claim(session, token, store.now_us()))
    if row is None:
        return None
    error = ""
    try:
        count = 0
        for found in SOURCES[row.kind](row.place):
            _do_entry(store, row, token, found)
            count += 1
        if not count:
            error = "There is no image in it; check what it holds."
    except _TakenOver:
        return store.database.read(lambda session: _status(session, session.get_one(ImportRow, row.id)))
    except SourceError as trouble:
        error = str(trouble)
    return store.database.write(lambda session: _end(session, row.id, token, error, store.now_us()))


def _claim(session: Session, token: str, now_us: int) -> ImportRow | None:
    until = ImportRow.claimed_until_us
    lapsed = (until <= now_us) | (until > now_us + CLAIM_US + CLOCK_SLACK_US)  # the latter: the clock was set back
    waiting = (ImportRow.state == "queued") | ((ImportRow.state == "running") & lapsed)
    query = select(ImportRow).where(waiting).order_by(ImportRow.id).limit(1)
    row = session.scalar(query.with_for_update(skip_locked=True))
    if row is not None:
        row.state, row.claim, row.claimed_until_us = "running", token, now_us + CLAIM_US
    return row


def _end(session: Session, import_id: int, token: str, error: str, now_us: int) -> ImportStatus:
    row = session.scalars(select(ImportRow).where(ImportRow.id == import_id).with_for_update()).one()
    if row.claim == token and row.state == "running":
        row.state, row.error = "failed" if error else "done", error
        status = _status(session, row)
        counts = {"added": status.added, "known": status.known, "refused": status.refused}
        write_audit(session, now_us, row.who, f"import {row.state}", f"import {row.id}", error=error, **counts)
    return _status(session, row)


def _do_entry(store: "AnnotationStore", row: ImportRow, token: str, found: Found) -> None:
    entry = _key(found.entry)
    key = (row.id, entry)
    if store.database.read(lambda session: session.get(ImportEntryRow, key)) is not None:
        return
    picture, reason = _picture(found)
    quota = store.settings.quota if row.quota is None else row.quota
    offer = Offer(found.name, row.question, None, quota, f"{row.kind} {shown_place(row.kind, row.place)}", True)

    def put(session: Session) -> None:
        now_us = store.now_us()
        claimed = session.scalars(select(ImportRow).where(ImportRow.id == row.id).with_for_update()).one()
        if claimed.claim != token:
            raise _TakenOver
        claimed.claimed_until_us = now_us + CLAIM_US
        if session.get(ImportEntryRow, key) is not None:
            return
        outcome = "refused"
        if picture is not None:
            outcome = "added" if put_picture(session, picture, offer, row.who, now_us)[1] else "known"
        session.add(ImportEntryRow(import_id=row.id, entry=entry, outcome=outcome, reason=reason))

    store.database.write(put)


def _picture(found: Found) -> tuple[Picture | None, str]:
    """The image, or None and why not."""
    try:
        return _encode_in_turn(found), ""
    except ImageError as error:
        return None, str(error)
    except Exception:  # else this import would be taken up again and again, and end at this file each time
        log.exception("A file of an import broke what reads it: %s", found.name)
        return None, BROKEN_FILE


def _encode_in_turn(found: Found) -> Picture:
    while True:
        try:
            with open_image(found.read(), name=found.name) as loaded:
                return encode_picture(loaded.image)
        except BusyError:  # an import has time, and a file that is fine is not refused
            time.sleep(BUSY_PAUSE_S)


def shown_place(kind: str, place: str) -> str:
    """Where an import came from, for people and for what is published: no path of the server, but its last name."""
    return place if kind == "hub" else PurePath(place).name


def _key(entry: str) -> str:
    """A file's name as a key: short, and text that every database takes."""
    if len(entry) <= LONGEST_ENTRY and entry.isprintable():
        return entry
    return hashlib.sha256(entry.encode(errors="surrogatepass")).hexdigest()
