"""Tables of the store. What changes here needs a migration in `migrations/versions/`."""

from typing import ClassVar

from sqlalchemy import BigInteger, Double, ForeignKey, Index, Integer, LargeBinary, Table, Text, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

IS_OPEN = text("state = 'open'")  # as words: SQLite uses a partial index only where it sees the value
Number = BigInteger().with_variant(Integer(), "sqlite")  # SQLite keeps rows in the order of an INTEGER key
NOT_SYNCED = text("synced = 0"), text("NOT synced")


class Base(DeclarativeBase):
    """All tables. Times are microseconds since 1970 in UTC: exact, and the same in every database."""

    type_annotation_map: ClassVar = {str: Text()}


def table_of(row: type[Base]) -> Table:
    """The table itself, for statements without the session: its objects take several times as long."""
    table = row.__table__
    assert isinstance(table, Table)
    return table


class Fact(Base):
    """Single values: the key of the pseudonyms."""

    __tablename__ = "facts"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class Counter(Base):
    """The one row from which every number is taken.

    Its lock is held until the commit, so numbers become visible in their order: who reads on from a number misses none.
    """

    __tablename__ = "counters"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    submission: Mapped[int] = mapped_column(BigInteger, default=0)
    skip: Mapped[int] = mapped_column(BigInteger, default=0)
    audit: Mapped[int] = mapped_column(BigInteger, default=0)
    position: Mapped[int] = mapped_column(BigInteger, default=0)


class PersonRow(Base):
    """Annotators. `given` counts tasks, `done` submissions that were not removed."""

    __tablename__ = "people"

    id: Mapped[int] = mapped_column(primary_key=True)
    pseudonym: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str | None] = mapped_column(unique=True)
    given: Mapped[int] = mapped_column(default=0)
    done: Mapped[int] = mapped_column(default=0)
    skipped: Mapped[int] = mapped_column(default=0)


class ImageRow(Base):
    """Images, and their place in the queue.

    `done` counts annotations toward the quota, `leased` the tasks that hold a place. `band` is NULL where nobody is
    wanted; see `wanted.py`.
    """

    __tablename__ = "images"
    __table_args__ = (Index("ix_images_queue", "band", "position"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    width_px: Mapped[int]
    height_px: Mapped[int]
    question: Mapped[str]
    offered: Mapped[bool]
    open: Mapped[bool]
    gold: Mapped[str | None]
    gold_from: Mapped[str] = mapped_column(default="[]", server_default="[]")  # JSON: pseudonyms
    source: Mapped[str]
    quota: Mapped[int]
    done: Mapped[int] = mapped_column(default=0)
    leased: Mapped[int] = mapped_column(default=0)
    agreement: Mapped[float | None] = mapped_column(Double)
    band: Mapped[int | None]
    position: Mapped[int] = mapped_column(BigInteger, default=0)


class PixelRow(Base):
    """The pixels of each image as PNG, apart, so that rows of images stay small."""

    __tablename__ = "pixels"

    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"), primary_key=True)
    png: Mapped[bytes] = mapped_column(LargeBinary)


class SubmissionRow(Base):
    """Submissions. `record` is the canonical JSON, `digest` its SHA-256; the other columns are indexes, or change."""

    __tablename__ = "submissions"
    __table_args__ = (
        Index("ix_submissions_image", "image_id", "number"),
        Index("ix_submissions_pair", "person_id", "image_id"),
        Index("ix_submissions_person", "person_id", "number"),
        Index("ix_submissions_receipt", "receipt_id"),
        Index("ix_submissions_verdict", "verdict", "removed", "number"),
        Index("ix_submissions_unsynced", "number", sqlite_where=NOT_SYNCED[0], postgresql_where=NOT_SYNCED[1]),
    )

    number: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=False)
    submission_id: Mapped[str] = mapped_column(unique=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"))
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    kind: Mapped[str]
    record: Mapped[str]
    digest: Mapped[str]
    receipt_id: Mapped[str]
    content: Mapped[str]  # digest of what the client sent, to tell a second sending from another content
    patches: Mapped[bytes] = mapped_column(LargeBinary)  # the path on the grid of the agreement, one byte a fixation
    counted: Mapped[bool]  # toward the quota and the agreement: one per annotator and image, not rejected or removed
    verdict: Mapped[str] = mapped_column(default="pending")
    reason: Mapped[str] = mapped_column(default="")
    removed: Mapped[bool] = mapped_column(default=False)
    revision: Mapped[int] = mapped_column(default=0, server_default="0")
    synced: Mapped[bool] = mapped_column(default=False)
    shard: Mapped[str | None]


class LeaseRow(Base):
    """Tasks given out. `state` is "open", "submitted", "skipped" or "lapsed"; `holds` whether it keeps a place."""

    __tablename__ = "leases"
    __table_args__ = (
        Index("uq_leases_open", "person_id", unique=True, sqlite_where=IS_OPEN, postgresql_where=IS_OPEN),
        Index("ix_leases_holding", "expires_us", sqlite_where=text("holds = 1"), postgresql_where=text("holds")),
        Index("ix_leases_given", "person_id", "image_id", "kind"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"))
    kind: Mapped[str]
    state: Mapped[str]
    holds: Mapped[bool]
    expires_us: Mapped[int] = mapped_column(BigInteger)


class SeenRow(Base):
    """Who has been given, or has done, which image."""

    __tablename__ = "seen"

    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"), primary_key=True)


class CursorRow(Base):
    """Up to which position of a band a person has seen everything."""

    __tablename__ = "cursors"

    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), primary_key=True)
    band: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(BigInteger)


class SkipRow(Base):
    """Tasks that were not wanted."""

    __tablename__ = "skips"
    __table_args__ = (Index("ix_skips_pair", "person_id", "image_id"),)

    number: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=False)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"))
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    reason: Mapped[str]
    at_us: Mapped[int] = mapped_column(BigInteger)


class AuditRow(Base):
    """Who did what; a trigger refuses every change."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_at", "at_us"),)

    number: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=False)
    at_us: Mapped[int] = mapped_column(BigInteger)
    who: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    details: Mapped[str]


class ImportRow(Base):
    """Batch imports. A worker that runs one keeps its claim alive; a claim that lapsed is taken over."""

    __tablename__ = "imports"
    __table_args__ = (Index("ix_imports_state", "state", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    place: Mapped[str]
    who: Mapped[str]
    question: Mapped[str]
    quota: Mapped[int | None]
    state: Mapped[str]
    error: Mapped[str] = mapped_column(default="")
    claim: Mapped[str | None]
    claimed_until_us: Mapped[int] = mapped_column(BigInteger, default=0)
    at_us: Mapped[int] = mapped_column(BigInteger)


class ImportEntryRow(Base):
    """Files of an import that are dealt with: `outcome` is "added", "known" or "refused"."""

    __tablename__ = "import_entries"
    __table_args__ = (Index("ix_import_entries_counts", "import_id", "outcome", "reason"),)

    import_id: Mapped[int] = mapped_column(ForeignKey("imports.id"), primary_key=True)
    entry: Mapped[str] = mapped_column(primary_key=True)
    outcome: Mapped[str]
    reason: Mapped[str] = mapped_column(default="")
