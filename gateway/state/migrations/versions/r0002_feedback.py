"""Feedback: clicked lists and what they say."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

COUNT = sa.BigInteger().with_variant(sa.Integer, "sqlite")
MOMENT = sa.Float(53)
COUNTS = (
    *("wins", "losses", "ties"),
    *("unit_wins", "unit_losses", "unit_ties"),
    *("first_wins", "first_losses", "units_beyond"),
)


def upgrade() -> None:
    op.create_table("feedback", sa.Column("name", sa.String(32), primary_key=True), _text("value"))
    op.create_table(
        "impression",
        sa.Column("event_id", sa.String(64), primary_key=True),
        sa.Column("row", sa.Integer, primary_key=True, autoincrement=False),
        _text("experiment"),
        sa.Column("unit", sa.String(16), nullable=False),
        sa.Column("shown_at", MOMENT, nullable=False, index=True),
        *map(_text, ("rankers", "places", "credits")),
    )
    op.create_table(
        "preference",
        sa.Column("experiment", sa.Text, primary_key=True),
        sa.Column("ranker", sa.Text, primary_key=True),
        _text("baseline"),
        *(sa.Column(name, COUNT, nullable=False) for name in COUNTS),
        *(sa.Column(name, MOMENT, nullable=False) for name in ("peak", "unit_peak", "settled_at")),
    )
    op.create_table(
        "unit_preference",
        sa.Column("experiment", sa.Text, primary_key=True),
        sa.Column("ranker", sa.Text, primary_key=True),
        sa.Column("unit", sa.String(16), primary_key=True),
        sa.Column("ahead", sa.Integer, nullable=False),
        sa.Column("first", sa.Integer, nullable=False),
        sa.Column("seen_at", MOMENT, nullable=False),
    )


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)
