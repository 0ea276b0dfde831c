"""How every gateway's arms are run at the moment, for whoever asks what there is."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("member", sa.Column("arms", sa.Text, nullable=False, server_default=""))
