"""The base of all parts of the store: database, settings and clock, people, numbers and the audit log."""

import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from annotate.store.database import Database, reads, writes
from annotate.store.model import LONGEST_NAME, AuditEntry, Person, StoreError, StoreSettings, checked_text
from annotate.store.tables import AUDIT, COUNTERS, FACTS, PEOPLE, PERSON, from_us, to_us, values_of

PSEUDONYM_DIGITS = 12
NO_PERSON = "The store does not know this annotator; sign in again."
# What runs out later than it can, by more than this, was written before the clock was set back. Less is only the time
# that a transaction waited for its turn, or two replicas' clocks that differ.
CLOCK_SLACK_US = 600_000_000


class Store:
    """The part of `AnnotationStore` that the others need; `by` and `who` are pseudonyms.

    Args:
        database: up to date.
        settings: how tasks are given out.
        clock: tells the time, with a zone.
    """

    def __init__(self, database: Database, settings: StoreSettings, clock: Callable[[], datetime]) -> None:
        self.database, self.settings, self.clock = database, settings, clock
        key = select(FACTS.c.value).where(FACTS.c.name == "secret")  # that the database made for itself
        self._secret = settings.secret or database.read(lambda connection: str(connection.scalar(key)))

    def now_us(self) -> int:
        """Return the time of the store's clock, in microseconds since 1970."""
        return to_us(self.clock())

    def tag(self, text: str) -> str:
        """Return the proof that a text was given out by this store, 64 hex digits; nobody makes one without its secret.

        No name has that sign in front, so no pseudonym is a tag.
        """
        return hmac.new(self._secret.encode(), b"\0" + text.encode(), hashlib.sha256).hexdigest()

    def pseudonym(self, name: str) -> str:
        """Return what everybody sees instead of a name; the person is known from then on, and keeps it."""
        name = checked_text("The name", name, LONGEST_NAME)
        known = self.database.read(lambda connection: _pseudonym_of(connection, name))
        return known or self._add_person(name)

    @writes
    def _add_person(self, connection: Connection, name: str) -> str:
        known = _pseudonym_of(connection, name)
        if known is not None:
            return known
        digits = hmac.new(self._secret.encode(), name.encode(), hashlib.sha256).hexdigest()[:PSEUDONYM_DIGITS]
        pseudonym = f"reader-{digits}"
        named = update(PEOPLE).where(PEOPLE.c.pseudonym == pseudonym).values(name=name)  # known from an import so far
        if not connection.execute(named).rowcount:
            connection.execute(PEOPLE.insert().values(pseudonym=pseudonym, name=name))
        return pseudonym

    @reads
    def people(self, connection: Connection) -> list[Person]:
        """Return everybody with their names, in the order in which they came; for admins only."""
        return [Person(*row) for row in connection.execute(select(*PERSON).order_by(PEOPLE.c.id))]

    @writes
    def write_audit(self, connection: Connection, by: str, action: str, subject: str, **details: object) -> None:
        """Add an entry to the audit log."""
        write_audit(connection, self.now_us(), by, action, subject, **details)


def _pseudonym_of(connection: Connection, name: str) -> str | None:
    return connection.scalar(select(PEOPLE.c.pseudonym).where(PEOPLE.c.name == name))


def find_or_add_person(connection: Connection, pseudonym: str) -> int:
    """Return key of the person that an export names, added where the store does not know them; locked."""
    key = connection.scalar(select(PEOPLE.c.id).where(PEOPLE.c.pseudonym == pseudonym).with_for_update())
    if key is not None:
        return int(key)
    added = PEOPLE.insert().values(pseudonym=checked_text("The annotator", pseudonym, LONGEST_NAME))
    return int(connection.execute(added.returning(PEOPLE.c.id)).scalar_one())


# ---- locks are taken in this order, so that no two transactions wait for each other: person, images, counter ---------
def lock_person(connection: Connection, pseudonym: str) -> Row[Any]:
    """Return the annotator's row, until the end of the transaction nobody else's.

    Raises:
        StoreError: nobody has that pseudonym.
    """
    found = connection.execute(select(PEOPLE).where(PEOPLE.c.pseudonym == pseudonym).with_for_update()).first()
    if found is None:
        raise StoreError(NO_PERSON)
    return found


def add_to_person(connection: Connection, person_id: int, **by: int) -> None:
    """Raise some counts of a person: `given`, `done` or `skipped`."""
    raised = {name: PEOPLE.c[name] + number for name, number in by.items()}
    connection.execute(update(PEOPLE).where(PEOPLE.c.id == person_id).values(raised))


def next_number(connection: Connection, counter: str) -> int:
    """Return one more than ever before; call it last, since the counter stays locked until the commit."""
    column = COUNTERS.c[counter]
    raised = update(COUNTERS).where(COUNTERS.c.id == 1).values({column: column + 1})
    return int(connection.execute(raised.returning(column)).scalar_one())


def raise_counter(connection: Connection, counter: str, at_least: int) -> None:
    """Give out no number of a kind up to `at_least` from now on."""
    column = COUNTERS.c[counter]
    connection.execute(
        update(COUNTERS).where(COUNTERS.c.id == 1, column < at_least).values({column: at_least})
    )


def write_audit(connection: Connection, now_us: int, who: str, action: str, subject: str, **details: object) -> None:
    """Add an entry to the audit log."""
    number = next_number(connection, "audit")
    insert_audit(connection, AuditEntry(number, from_us(now_us), who, action, subject, details))


def insert_audit(connection: Connection, entry: AuditEntry) -> None:
    """Add an entry with its number."""
    connection.execute(AUDIT.insert().values(values_of(AUDIT, entry)))
