"""Tables of the store: those of the values in `model`, made from their fields, and the store's own. What changes here
needs a migration in `migrations/versions/`.

Times are microseconds since 1970 in UTC: exact, and the same in every database.
"""

import json
from collections.abc import Callable
from dataclasses import MISSING, fields
from datetime import UTC, datetime, timedelta
from functools import cache
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

from annotate.store.model import (
    MAIN_PROJECT,
    NO_COLUMN,
    AuditEntry,
    ColumnOptions,
    Person,
    Skip,
    Stored,
    StoredImage,
)
from annotate.store.project import Project
from gazevlm_core.annotation import Annotation, from_values

EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
NUMBER = BigInteger().with_variant(Integer(), "sqlite")  # SQLite keeps rows in the order of an INTEGER key
IS_OPEN = text("state = 'open'")  # as words: SQLite uses a partial index only where it sees the value
NOT_SYNCED = text("synced = 0"), text("NOT synced")


def to_us(moment: datetime) -> int:
    """Return microseconds since 1970."""
    return (moment - EPOCH) // MICROSECOND


def from_us(microseconds: int) -> datetime:
    """Return the moment, in UTC."""
    return EPOCH + microseconds * MICROSECOND


# ---- from a value's fields to columns --------------------------------------------------------------------------------
class Micros(TypeDecorator[datetime]):
    """A moment as microseconds since 1970."""

    impl, cache_ok = BigInteger, True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else to_us(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else from_us(value)


class Json(TypeDecorator[Any]):
    """A path, a list or a dictionary as JSON.

    Args:
        kind: of the value.
    """

    impl, cache_ok = Text, True

    def __init__(self, kind: Any) -> None:  # noqa: ANN401 - a type with arguments
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: object, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(adapter_of(self.kind).dump_python(value, mode="json"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> object:
        return None if value is None else adapter_of(self.kind).validate_json(value)


class RecordText(TypeDecorator[Any]):
    """A record: an annotation where it is read, its canonical JSON where it is written."""

    impl, cache_ok = Text, True

    def process_result_value(self, value: str | None, dialect: Dialect) -> Annotation | None:
        return None if value is None else from_values(json.loads(value))


adapter_of: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)  # reads and writes values of a type as JSON
TYPES: dict[Any, type[TypeEngine[Any]]] = {
    str: Text, int: Integer, bool: Boolean, float: Double, datetime: Micros, Annotation: RecordText,
}  # fmt: skip


def plain_type(hint: Any) -> tuple[Any, bool, ColumnOptions | None]:  # noqa: ANN401
    """Return the type of a field without its checks, whether it may be None, and the options of its column."""
    kind, *marks = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    kept = next((mark for mark in marks if isinstance(mark, ColumnOptions)), None)
    parts = get_args(kind)
    if NoneType in parts:
        (kind,) = (part for part in parts if part is not NoneType)
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if isinstance(next(iter(get_args(kind)), None), str):  # a Literal
        kind = str
    return kind, NoneType in parts, kept


def columns_of(value: type) -> list[Column[Any]]:
    """Return a column for each field of a value, in its order: name, type and NOT NULL as the field says."""
    hints = get_type_hints(value, include_extras=True)
    columns = []
    for one in fields(value):
        kind, optional, kept = plain_type(hints[one.name])
        if kept is NO_COLUMN:
            continue
        name = f"{one.name}_us" if kind is datetime else one.name
        default = {} if one.default is MISSING else {"default": one.default}
        options: dict[str, Any] = {"name": name, "nullable": optional, **default, **(kept or {})}
        options["type_"] = NUMBER if "primary_key" in options else TYPES[kind]() if kind in TYPES else Json(kind)
        columns.append(Column(key=one.name, **options))
    return columns


def values_of(table: Table, value: Any) -> dict[str, Any]:  # noqa: ANN401 - a dataclass
    """Return those fields of a value that are columns of a table, by name."""
    return {one.name: getattr(value, one.name) for one in fields(value) if one.name in table.c}


# ---- tables ----------------------------------------------------------------------------------------------------------
METADATA = MetaData()


def _some(kind: TypeEngine[Any] | type[TypeEngine[Any]], *names: str, **options: Any) -> list[Column[Any]]:
    """Return columns that are never NULL."""
    return [Column(name, kind, nullable=False, **options) for name in names]


def _key(name: str, to: str, **options: Any) -> Column[Any]:
    return Column(name, Integer, ForeignKey(to), nullable=False, **options)


FACTS = Table("facts", METADATA, Column("name", Text, primary_key=True), *_some(Text, "value"))  # the pseudonyms' key
# The one row from which every number is taken. Its lock is held until the commit, so numbers become visible in their
# order: who reads on from a number misses none.
COUNTERS = Table(
    "counters", METADATA, Column("id", Integer, primary_key=True, autoincrement=False),
    *_some(BigInteger, "submission", "skip", "audit", "position", default=0),
)  # fmt: skip
# `id` counts from 0, without gaps: it is the lane of the queue.
PROJECTS = Table(
    "projects", METADATA, Column("id", Integer, primary_key=True, autoincrement=False), *columns_of(Project)
)
# `given` counts tasks, `done` submissions that were not removed.
PEOPLE = Table(
    "people", METADATA, Column("id", Integer, primary_key=True), *columns_of(Person),
    *_some(Integer, "given", "done", "skipped", default=0),
)  # fmt: skip
# `done` counts annotations toward the quota, `leased` the tasks that hold a place; `offered` whether it ever was a
# task. `band` is NULL where nobody is wanted; see `queue`.
IMAGES = Table(
    "images", METADATA, Column("id", Integer, primary_key=True), *columns_of(StoredImage), *_some(Boolean, "offered"),
    *_some(Integer, "done", "leased", default=0), Column("agreement", Double), Column("band", Integer),
    *_some(BigInteger, "position", default=0), Index("ix_images_queue", "band", "position"),
)  # fmt: skip
# The pixels of each image as PNG, apart, so that rows of images stay small.
PIXELS = Table("pixels", METADATA, _key("image_id", "images.id", primary_key=True), *_some(LargeBinary, "png"))
# `content` is the digest of what the client sent, to tell a second sending from another content; `patches` the path on
# the grid of the agreement, one byte a fixation; `counted` whether it stands for its annotator in quota and agreement.
SUBMISSIONS = Table(
    "submissions", METADATA, *columns_of(Stored), *_some(Text, "submission_id", unique=True),
    _key("image_id", "images.id"), _key("person_id", "people.id"), *_some(Text, "content"),
    *_some(LargeBinary, "patches"), *_some(Boolean, "counted"), Column("shard", Text),
    Index("ix_submissions_image", "image_id", "number"), Index("ix_submissions_pair", "person_id", "image_id"),
    Index("ix_submissions_person", "person_id", "number"), Index("ix_submissions_receipt", "receipt_id"),
    Index("ix_submissions_verdict", "verdict", "removed", "number"),
    Index("ix_submissions_unsynced", "number", sqlite_where=NOT_SYNCED[0], postgresql_where=NOT_SYNCED[1]),
)  # fmt: skip
# Tasks given out. `state` is "open", "submitted", "skipped" or "lapsed"; `holds` whether it keeps a place.
LEASES = Table(
    "leases", METADATA, Column("id", Text, primary_key=True), _key("person_id", "people.id"),
    _key("image_id", "images.id"), *_some(Text, "kind", "state"), *_some(Boolean, "holds"),
    *_some(BigInteger, "expires_us"),
    Index("uq_leases_open", "person_id", "image_id", unique=True, sqlite_where=IS_OPEN, postgresql_where=IS_OPEN),
    Index("ix_leases_holding", "expires_us", sqlite_where=text("holds = 1"), postgresql_where=text("holds")),
    Index("ix_leases_given", "person_id", "image_id", "kind"),
)  # fmt: skip
# Who has been given, or has done, which image.
SEEN = Table(
    "seen", METADATA, _key("person_id", "people.id", primary_key=True), _key("image_id", "images.id", primary_key=True)
)
# Up to which position of a band a person has seen everything.
CURSORS = Table(
    "cursors", METADATA, _key("person_id", "people.id", primary_key=True),
    Column("band", Integer, primary_key=True, autoincrement=False), *_some(BigInteger, "position"),
)  # fmt: skip
SKIPS = Table(
    "skips", METADATA, *columns_of(Skip), _key("image_id", "images.id"), _key("person_id", "people.id"),
    Index("ix_skips_pair", "person_id", "image_id"),
)  # fmt: skip
AUDIT = Table("audit", METADATA, *columns_of(AuditEntry), Index("ix_audit_at", "at"))  # a trigger refuses every change
# Batch imports. A worker that runs one keeps its claim alive; a claim that lapsed is taken over.
IMPORTS = Table(
    "imports", METADATA, Column("id", Integer, primary_key=True), *_some(Text, "kind", "place", "who", "question"),
    *(Column(name, Integer) for name in ("quota", "total")), *_some(Text, "state"), *_some(Text, "error", default=""),
    Column("claim", Text),
    *_some(BigInteger, "claimed_until_us", default=0), *_some(BigInteger, "at_us"),
    *_some(Text, "project", default=MAIN_PROJECT), Index("ix_imports_state", "state", "id"),
)  # fmt: skip
# Files of an import that are dealt with: `outcome` is "added", "known" or "refused".
IMPORT_ENTRIES = Table(
    "import_entries", METADATA, _key("import_id", "imports.id", primary_key=True),
    Column("entry", Text, primary_key=True), *_some(Text, "outcome"), *_some(Text, "reason", default=""),
    Index("ix_import_entries_counts", "import_id", "outcome", "reason"),
)  # fmt: skip
IMAGE = IMAGES.c[*(one.name for one in fields(StoredImage))]
"""The columns of a `StoredImage`, in the order of its fields."""
PROJECT = PROJECTS.c[*(one.name for one in fields(Project))]
PERSON = PEOPLE.c[*(one.name for one in fields(Person))]
STORED = SUBMISSIONS.c[*(one.name for one in fields(Stored))]
ENTRY = AUDIT.c[*(one.name for one in fields(AuditEntry))]
