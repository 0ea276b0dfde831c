"""What every gateway needs on a cluster, so that others leave it there."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("member", sa.Column("hosted", sa.Text, nullable=False, server_default=""))
