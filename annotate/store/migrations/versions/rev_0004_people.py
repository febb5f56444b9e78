"""What is known of annotators: experience, what they agreed to, whether they are blocked; how large an import is."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns."""
    for name in ("experience", "agreed"):
        op.add_column("people", sa.Column(name, sa.Text, nullable=False, server_default=""))
    op.add_column("people", sa.Column("blocked", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("imports", sa.Column("total", sa.Integer))
