"""Whose submissions a gold path comes from; what an import looks up. Records may be of schema version 3 from here."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column and the indexes."""
    op.add_column("images", sa.Column("gold_from", sa.Text, nullable=False, server_default="[]"))
    op.create_index("ix_audit_at", "audit", ["at_us"])
    op.create_index("ix_skips_pair", "skips", ["person_id", "image_id"])
