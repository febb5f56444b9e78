"""Batch imports; revisions of submissions; what is written stays written."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

KEPT = "number, submission_id, image_id, person_id, kind, record, digest, receipt_id, content, patches"


def upgrade() -> None:
    """Add the tables of imports, the column, and the triggers."""
    op.create_table(
        "imports",
        sa.Column("id", sa.Integer, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("kind", "place", "who", "question")),
        sa.Column("quota", sa.Integer),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("claim", sa.Text),
        sa.Column("claimed_until_us", sa.BigInteger, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_imports_state", "imports", ["state", "id"])
    op.create_table(
        "import_entries",
        sa.Column("import_id", sa.Integer, sa.ForeignKey("imports.id"), primary_key=True),
        sa.Column("entry", sa.Text, primary_key=True),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_index("ix_import_entries_counts", "import_entries", ["import_id", "outcome", "reason"])
    op.add_column("submissions", sa.Column("revision", sa.Integer, nullable=False, server_default="0"))
    if op.get_bind().dialect.name == "sqlite":
        _sqlite_triggers()
    else:
        _postgres_triggers()


def _sqlite_triggers() -> None:
    for table, what in (("audit", "DELETE"), ("audit", "UPDATE"), ("submissions", "DELETE"),
                        ("submissions", f"UPDATE OF {KEPT}")):  # fmt: skip
        op.execute(
            f"CREATE TRIGGER {table}_keeps_{what.split()[0].lower()} BEFORE {what} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )


def _postgres_triggers() -> None:
    op.execute(
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
    )
    for table, what in (("audit", "DELETE OR UPDATE"), ("submissions", f"DELETE OR UPDATE OF {KEPT}")):
        op.execute(
            f"CREATE TRIGGER {table}_keeps BEFORE {what} ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
