"""What a store knows of its annotators: their experience, what they agreed to, whether they may go on."""

from sqlalchemy import Connection, select, update

from annotate.store.base import Store, lock_person, write_audit
from annotate.store.database import reads, writes
from annotate.store.model import Person, StoreError, checked_text
from annotate.store.reviews import LONGEST_REASON
from annotate.store.tables import PEOPLE, PERSON

EXPERIENCES = (
    "radiologist", "radiology resident", "other physician", "radiographer", "medical student", "none of these",
)  # fmt: skip

MOST_AGREED = 100  # licences, the latest


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
        if experience not in EXPERIENCES:
            raise StoreError(f"Experience is one of {', '.join(EXPERIENCES)}.")
        terms = checked_text("What was agreed to", terms, 200)
        person = lock_person(connection, who)
        before = person.agreed.splitlines()
        if terms in before and person.experience == experience:
            return
        agreed = "\n".join([*(one for one in before if one != terms), terms][-MOST_AGREED:])
        connection.execute(update(PEOPLE).where(PEOPLE.c.id == person.id).values(agreed=agreed, experience=experience))
        write_audit(connection, self.now_us(), who, "agreed", who, terms=terms, experience=experience)

    @writes
    def set_blocked(self, connection: Connection, who: str, blocked: bool, reason: str, by: str) -> None:
        """Take no more from an annotator, or let them go on; what they submitted stays as it is."""
        reason = checked_text("The reason", reason, LONGEST_REASON)
        person = lock_person(connection, who)
        if person.blocked == blocked:
            return
        connection.execute(update(PEOPLE).where(PEOPLE.c.id == person.id).values(blocked=blocked))
        action = "annotator blocked" if blocked else "annotator let in again"
        write_audit(connection, self.now_us(), by, action, who, reason=reason)
