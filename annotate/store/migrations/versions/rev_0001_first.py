"""The first form: people, images, submissions, the queue, the audit log."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables, and the key of the pseudonyms."""
    _people_and_images()
    _submissions()
    _queue()
    op.create_table(
        "audit",
        sa.Column("number", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("who", "action", "subject", "details")),
    )
    facts = op.create_table(
        "facts",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    counters = op.create_table(
        "counters",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("submission", "skip", "audit", "position")),
    )
    op.bulk_insert(facts, [{"name": "secret", "value": secrets.token_hex(32)}])
    op.bulk_insert(counters, [{"id": 1, "submission": 0, "skip": 0, "audit": 0, "position": 0}])


def _people_and_images() -> None:
    op.create_table(
        "people",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("pseudonym", sa.Text, nullable=False, unique=True),
        sa.Column("name", sa.Text, unique=True),
        *(sa.Column(name, sa.Integer, nullable=False) for name in ("given", "done", "skipped")),
    )
    op.create_table(
        "images",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("sha256", sa.Text, nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("width_px", sa.Integer, nullable=False),
        sa.Column("height_px", sa.Integer, nullable=False),
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("offered", sa.Boolean, nullable=False),
        sa.Column("open", sa.Boolean, nullable=False),
        sa.Column("gold", sa.Text),
        sa.Column("source", sa.Text, nullable=False),
        *(sa.Column(name, sa.Integer, nullable=False) for name in ("quota", "done", "leased")),
        sa.Column("agreement", sa.Double),
        sa.Column("band", sa.Integer),
        sa.Column("position", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_images_queue", "images", ["band", "position"])
    op.create_table(
        "pixels",
        sa.Column("image_id", sa.Integer, sa.ForeignKey("images.id"), primary_key=True),
        sa.Column("png", sa.LargeBinary, nullable=False),
    )


def _submissions() -> None:
    op.create_table(
        "submissions",
        sa.Column("number", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("submission_id", sa.Text, nullable=False, unique=True),
        sa.Column("image_id", sa.Integer, sa.ForeignKey("images.id"), nullable=False),
        sa.Column("person_id", sa.Integer, sa.ForeignKey("people.id"), nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("kind", "record", "digest", "receipt_id", "content")),
        sa.Column("patches", sa.LargeBinary, nullable=False),
        sa.Column("counted", sa.Boolean, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("removed", sa.Boolean, nullable=False),
        sa.Column("synced", sa.Boolean, nullable=False),
        sa.Column("shard", sa.Text),
    )
    op.create_index("ix_submissions_image", "submissions", ["image_id", "number"])
    op.create_index("ix_submissions_pair", "submissions", ["person_id", "image_id"])
    op.create_index("ix_submissions_person", "submissions", ["person_id", "number"])
    op.create_index("ix_submissions_receipt", "submissions", ["receipt_id"])
    op.create_index("ix_submissions_verdict", "submissions", ["verdict", "removed", "number"])
    op.create_index(
        "ix_submissions_unsynced", "submissions", ["number"],
        sqlite_where=sa.text("synced = 0"), postgresql_where=sa.text("NOT synced"),
    )  # fmt: skip


def _queue() -> None:
    people, images = (sa.ForeignKey(f"{table}.id") for table in ("people", "images"))
    op.create_table(
        "leases",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("person_id", sa.Integer, people, nullable=False),
        sa.Column("image_id", sa.Integer, images, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("holds", sa.Boolean, nullable=False),
        sa.Column("expires_us", sa.BigInteger, nullable=False),
    )
    is_open = sa.text("state = 'open'")
    op.create_index(
        "uq_leases_open", "leases", ["person_id"], unique=True, sqlite_where=is_open, postgresql_where=is_open
    )
    op.create_index(
        "ix_leases_holding", "leases", ["expires_us"],
        sqlite_where=sa.text("holds = 1"), postgresql_where=sa.text("holds"),
    )  # fmt: skip
    op.create_index("ix_leases_given", "leases", ["person_id", "image_id", "kind"])
    op.create_table(
        "seen",
        sa.Column("person_id", sa.Integer, sa.ForeignKey("people.id"), primary_key=True),
        sa.Column("image_id", sa.Integer, sa.ForeignKey("images.id"), primary_key=True),
    )
    op.create_table(
        "cursors",
        sa.Column("person_id", sa.Integer, sa.ForeignKey("people.id"), primary_key=True),
        sa.Column("band", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("position", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "skips",
        sa.Column("number", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("image_id", sa.Integer, sa.ForeignKey("images.id"), nullable=False),
        sa.Column("person_id", sa.Integer, sa.ForeignKey("people.id"), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
    )
