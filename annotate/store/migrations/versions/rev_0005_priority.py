"""Priority, patient and metadata of images; what was queued so far has the usual priority, the second of three."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
BANDS = 33  # of one priority


def upgrade() -> None:
    """Add the columns, and move images and everybody's cursors to the usual priority's bands."""
    op.add_column("images", sa.Column("priority", sa.Integer, nullable=False, server_default="0"))
    op.add_column("images", sa.Column("patient_id", sa.Text, nullable=False, server_default=""))
    op.add_column("images", sa.Column("metadata", sa.Text, nullable=False, server_default="{}"))
    for table in ("images", "cursors"):
        op.execute(sa.text(f"UPDATE {table} SET band = band + {BANDS} WHERE band >= 0"))
