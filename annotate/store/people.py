"""Annotators: names for admins, pseudonyms for everybody else."""

import hashlib
import hmac

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotate.store.schema import Fact, PersonRow
from annotate.store.types import Person
from annotate.store.values import checked_text

PSEUDONYM_DIGITS = 12
LONGEST_NAME = 200


def pseudonym_of(name: str, secret: str) -> str:
    """What everybody sees instead of a name: it cannot be computed without the secret."""
    return "reader-" + hmac.new(secret.encode(), name.encode(), hashlib.sha256).hexdigest()[:PSEUDONYM_DIGITS]


def tag_of(text: str, secret: str) -> str:
    """Proof that whoever knows the secret said this; no name has that sign in front, so no pseudonym is one."""
    return hmac.new(secret.encode(), b"\0" + text.encode(), hashlib.sha256).hexdigest()


def stored_secret(session: Session) -> str:
    """The key that the database made for itself."""
    return session.get_one(Fact, "secret").value


def find_name(session: Session, name: str) -> str | None:
    """The pseudonym of a name that is known; it stays, whatever becomes of the secret."""
    return session.scalar(select(PersonRow.pseudonym).where(PersonRow.name == name))


def find_or_add(session: Session, name: str, secret: str) -> str:
    """The pseudonym of a name; the person is known from then on."""
    known = find_name(session, name)
    if known is not None:
        return known
    pseudonym = pseudonym_of(name, secret)
    row = session.scalar(select(PersonRow).where(PersonRow.pseudonym == pseudonym))
    if row is None:
        session.add(PersonRow(pseudonym=pseudonym, name=name, given=0, done=0, skipped=0))
    else:  # known from an import so far
        row.name = name
    return pseudonym


def known_by_pseudonym(session: Session, pseudonym: str) -> PersonRow:
    """The person that an export names, added where the store does not know them."""
    query = select(PersonRow).where(PersonRow.pseudonym == pseudonym).with_for_update()
    row = session.scalar(query)
    if row is None:
        pseudonym = checked_text("The annotator", pseudonym, LONGEST_NAME)
        row = PersonRow(pseudonym=pseudonym, name=None, given=0, done=0, skipped=0)
        session.add(row)
        session.flush()
    return row


def list_people(session: Session) -> list[Person]:
    """Everybody, in the order in which they came."""
    rows = session.scalars(select(PersonRow).order_by(PersonRow.id))
    return [Person(row.name, row.pseudonym) for row in rows]
