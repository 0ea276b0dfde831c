"""Texts, revisions, audit, tokens, members."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
MOMENT = sa.Float(53)
APPEND_ONLY = ("text", "revision", "audit")


def upgrade() -> None:
    op.create_table("text", sa.Column("digest", sa.String(64), primary_key=True), _text("content"))
    op.create_table(
        "revision",
        sa.Column("number", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("previous", sa.String(64), nullable=False),
        _moment("at"),
        *map(_text, ("author", "cause", "reason", "documents", "states")),
    )
    op.create_table(
        "audit",
        sa.Column("number", NUMBER, primary_key=True, autoincrement=False),
        _moment("at"),
        *map(_text, ("author", "action", "outcome", "detail")),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
    )
    op.create_table(
        "token",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("name", sa.Text, nullable=False, index=True),
        _text("role"),
        sa.Column("secret_digest", sa.String(64), nullable=False, unique=True),
        _moment("created_at"),
        _moment("expires_at"),
        sa.Column("revoked_at", MOMENT),
    )
    op.create_table(
        "member",
        sa.Column("gateway", sa.Text, primary_key=True),
        sa.Column("revision", NUMBER, nullable=False),
        _text("trouble"),
        _moment("seen_at"),
    )
    _keep_append_only()


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _moment(name: str) -> sa.Column[float]:
    return sa.Column(name, MOMENT, nullable=False)


def _keep_append_only() -> None:
    """Let the database refuse what no code here does: to change or remove a row that was published."""
    if op.get_bind().dialect.name == "sqlite":
        for table in APPEND_ONLY:
            for verb in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
                )
        return
    op.execute(
        "CREATE FUNCTION turnout_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION turnout_refuse()"
        )
