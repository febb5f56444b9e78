"""Several projects: the one that there was becomes the first of them, and has all images and submissions."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
MAIN = {
    "id": 0, "instruction": "", "licence": "CC BY 4.0", "mode": "", "sigma_px": 40.0, "radius_px": 32.0,
    "least_clicks": 1, "checklist": (),
    "question": "Describe the findings on this chest radiograph.", "name": "Main", "slug": "main", "closed": False,
}  # fmt: skip


def upgrade() -> None:
    """Add the table and the columns; move what was decided out of the facts; let a task be open in each project."""
    texts = {name: sa.Column(name, sa.Text, nullable=False) for name in ("instruction", "licence", "mode")}
    projects = op.create_table(
        "projects",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        *texts.values(),
        *(sa.Column(name, sa.Double, nullable=False) for name in ("sigma_px", "radius_px")),
        sa.Column("least_clicks", sa.Integer, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("checklist", "question", "name")),
        sa.Column("slug", sa.Text, nullable=False, unique=True),
        sa.Column("closed", sa.Boolean, nullable=False),
    )
    kept = op.get_bind().execute(sa.text("SELECT value FROM facts WHERE name = 'project'")).scalar()
    decided = {} if kept is None else json.loads(kept)
    main = MAIN | {name: value for name, value in decided.items() if name in MAIN}
    op.bulk_insert(projects, [{**main, "checklist": json.dumps(list(main["checklist"]))}])
    op.execute(sa.text("DELETE FROM facts WHERE name = 'project'"))
    for table in ("images", "submissions", "imports"):
        op.add_column(table, sa.Column("project", sa.Text, nullable=False, server_default="main"))
    is_open = sa.text("state = 'open'")
    op.drop_index("uq_leases_open", "leases")
    op.create_index(
        "uq_leases_open", "leases", ["person_id", "image_id"], unique=True, sqlite_where=is_open,
        postgresql_where=is_open,
    )  # fmt: skip
