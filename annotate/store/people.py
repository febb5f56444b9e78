"""What a store knows of its annotators: their experience, what they agreed to, whether they may go on."""

from collections.abc import Sequence

from sqlalchemy import Connection, select, update

from annotate.store.base import Store, find_or_add_person, lock_person, write_audit
from annotate.store.database import reads, writes
from annotate.store.model import AuditEntry, Person, StoreError, checked_text
from annotate.store.reviews import LONGEST_REASON
from annotate.store.tables import AUDIT, PEOPLE, PERSON

EXPERIENCES = (
    "radiologist", "radiology resident", "other physician", "radiographer", "medical student", "none of these",
)  # fmt: skip

MOST_AGREED, LONGEST_TERMS = 100, 200  # licences, the latest; signs of one
AGREED, BLOCKED, LET_IN = "agreed", "annotator blocked", "annotator let in again"  # in the audit log


class People(Store):
    """The annotators of a store."""

    @reads
    def person(self, connection: Connection, who: str) -> Person:
        """Return somebody.

        Raises:
            StoreError: nobody has that pseudonym.
        """
        found = connection.execute(select(*PERSON).where(PEOPLE.c.pseudonym == who)).first()
        if found is None:
            raise StoreError("The store does not know this annotator; check the pseudonym.")
        return Person(*found)

    @writes
    def agree(self, connection: Connection, who: str, terms: str, experience: str) -> None:
        """Keep that somebody agreed, beside what they agreed to before, and how experienced they are."""
        terms = _checked_agreement(terms, experience)
        person = lock_person(connection, who)
        before = person.agreed.splitlines()
        if terms in before and person.experience == experience:
            return
        _write(connection, who, agreed=_with_terms(before, terms), experience=experience)
        write_audit(connection, self.now_us(), who, AGREED, who, terms=terms, experience=experience)

    @writes
    def set_blocked(self, connection: Connection, who: str, blocked: bool, reason: str, by: str) -> None:
        """Take no more from an annotator, or let them go on; what they submitted stays as it is."""
        reason = checked_text("The reason", reason, LONGEST_REASON)
        person = lock_person(connection, who)
        if person.blocked == blocked:
            return
        _write(connection, who, blocked=blocked)
        write_audit(connection, self.now_us(), by, BLOCKED if blocked else LET_IN, who, reason=reason)


def follow_log(connection: Connection, entry: AuditEntry) -> None:
    """Let somebody be what an entry of the log that comes back says of them, unless a later one says otherwise.

    So a block, experience and what was agreed to come back by the log, as people do not lie beside it. Whoever agreed
    to something has done so, whatever they agreed to later.
    """
    who, kinds = entry.subject, (AGREED,) if entry.action == AGREED else (BLOCKED, LET_IN)
    if entry.action not in kinds:
        return
    terms, experience = (str(entry.details.get(name, "")) for name in ("terms", "experience"))
    try:
        terms = _checked_agreement(terms, experience) if entry.action == AGREED else ""
        find_or_add_person(connection, who)
    except StoreError:
        return  # an entry is kept whatever it says
    later = select(AUDIT.c.number).where(AUDIT.c.subject == who, AUDIT.c.action.in_(kinds), AUDIT.c.at > entry.at)
    is_latest = connection.scalar(later.limit(1)) is None
    if entry.action == AGREED:
        before = lock_person(connection, who).agreed.splitlines()
        known = _with_terms(before, terms) if is_latest or terms not in before else "\n".join(before)
        _write(connection, who, agreed=known, **({"experience": experience} if is_latest else {}))
    elif is_latest:
        _write(connection, who, blocked=entry.action == BLOCKED)


def _checked_agreement(terms: str, experience: str) -> str:
    """Return the terms, checked.

    Raises:
        StoreError: none, too long ones, or an unknown experience.
    """
    if experience not in EXPERIENCES:
        raise StoreError(f"Experience is one of {', '.join(EXPERIENCES)}.")
    return checked_text("What was agreed to", terms, LONGEST_TERMS)


def _with_terms(before: Sequence[str], terms: str) -> str:
    """Return what somebody agreed to, a line each, the latest last."""
    return "\n".join([*(one for one in before if one != terms), terms][-MOST_AGREED:])


def _write(connection: Connection, who: str, **values: object) -> None:
    connection.execute(update(PEOPLE).where(PEOPLE.c.pseudonym == who).values(values))
