"""Leases, and what somebody was told of."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

MOMENT = sa.Float(53)


def upgrade() -> None:
    op.create_table(
        "lease",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("until_at", MOMENT, nullable=False),
    )
    op.create_table(
        "told",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("at", MOMENT, nullable=False),
    )
