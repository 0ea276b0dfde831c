"""The ledger: what was counted, per experiment, epoch, step and arm."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
MOMENT = sa.Float(53)


def upgrade() -> None:
    op.create_table(
        "experiment",
        _key("name"),
        sa.Column("route", sa.Text, nullable=False, index=True),
        *map(_number, ("closed", "latest", "units_skipped", "units_kept")),
        _text("crowded"),
        _moment("seen_at"),
    )
    op.create_table(
        "tally",
        _key("experiment"),
        _key("epoch", NUMBER),
        _key("step", sa.Integer),
        *map(_key, ("shares", "arm", "gateway")),
        *map(_text, ("counts", "late")),
        sqlite_with_rowid=False,
    )
    op.create_table("lost", _key("experiment"), _key("epoch", NUMBER), _key("gateway"), _key("why"))
    op.create_table(
        "first_bad",
        *map(_key, ("experiment", "metric")),
        _key("unit", NUMBER),
        *map(_text, ("arm", "event_id")),
        _moment("at"),
        sqlite_with_rowid=False,
    )
    op.create_table("met", _key("experiment"), _key("unit", NUMBER), sqlite_with_rowid=False)
    op.create_table("reporter", _key("gateway"), _number("open_from"), _text("holding"), _moment("seen_at"))
    op.create_table("source", _key("id"), _text("gateway"), _number("seq"), _moment("seen_at"))


def _key(name: str, kind: Any = sa.Text) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=True, autoincrement=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, NUMBER, nullable=False)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _moment(name: str) -> sa.Column[float]:
    return sa.Column(name, MOMENT, nullable=False)
