"""The tables, as SQLAlchemy Core sees them; migrations/ makes them, and a test holds the two together.

Texts are stored once, under their digest: of a thousand revisions that differ in one line each, what is not that
document takes no further room. `revision`, `text` and `audit` are append-only, kept so by triggers.
"""

from sqlalchemy import BigInteger, Column, Float, Integer, MetaData, String, Table, Text

METADATA = MetaData()
APPEND_ONLY = ("text", "revision", "audit")
MOMENT = Float(53)  # Unix time in seconds; 53 bits hold microseconds for the next 285 years

text = Table("text", METADATA, Column("digest", String(64), primary_key=True), Column("content", Text, nullable=False))

revision = Table(
    "revision",
    METADATA,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("previous", String(64), nullable=False),
    Column("at", MOMENT, nullable=False),
    Column("author", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("documents", Text, nullable=False),  # JSON: path -> digest of its text
    Column("states", Text, nullable=False),  # JSON: route -> digest of its state
)

audit = Table(
    "audit",
    METADATA,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at", MOMENT, nullable=False),
    Column("author", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
)

token = Table(
    "token",
    METADATA,
    Column("id", String(16), primary_key=True),
    Column("name", Text, nullable=False, index=True),
    Column("role", Text, nullable=False),
    Column("secret_digest", String(64), nullable=False, unique=True),
    Column("created_at", MOMENT, nullable=False),
    Column("expires_at", MOMENT, nullable=False),
    Column("revoked_at", MOMENT),
)

member = Table(
    "member",
    METADATA,
    Column("gateway", Text, primary_key=True),
    Column("revision", BigInteger().with_variant(Integer, "sqlite"), nullable=False),
    Column("trouble", Text, nullable=False),
    Column("seen_at", MOMENT, nullable=False),
    Column("hosted", Text, nullable=False, server_default=""),  # names of applications, with blanks between them
    Column("arms", Text, nullable=False, server_default=""),  # gateway/arms.py, as JSON
)

feedback = Table(  # what all gateways of a state share about clicks, by name
    "feedback", METADATA, Column("name", String(32), primary_key=True), Column("value", Text, nullable=False)
)

impression = Table(  # clicked lists whose window is still open
    "impression",
    METADATA,
    Column("event_id", String(64), primary_key=True),
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("experiment", Text, nullable=False),
    Column("unit", String(16), nullable=False),
    Column("shown_at", MOMENT, nullable=False, index=True),
    Column("rankers", Text, nullable=False),  # JSON: names, the baseline first
    Column("places", Text, nullable=False),  # JSON: places clicked, in the order in which they were
    Column("credits", Text, nullable=False),  # JSON: millionths for each ranker
)

preference = Table(  # what settled lists say of one ranker and the baseline
    "preference",
    METADATA,
    Column("experiment", Text, primary_key=True),
    Column("ranker", Text, primary_key=True),
    Column("baseline", Text, nullable=False),
    *(
        Column(name, BigInteger().with_variant(Integer, "sqlite"), nullable=False)
        for name in (
            *("wins", "losses", "ties"),
            *("unit_wins", "unit_losses", "unit_ties"),
            *("first_wins", "first_losses", "units_beyond"),
        )
    ),
    Column("peak", MOMENT, nullable=False),
    Column("unit_peak", MOMENT, nullable=False),
    Column("settled_at", MOMENT, nullable=False),
)

unit_preference = Table(  # wins less losses of every unit, so that a busy one has one voice
    "unit_preference",
    METADATA,
    Column("experiment", Text, primary_key=True),
    Column("ranker", Text, primary_key=True),
    Column("unit", String(16), primary_key=True),
    Column("ahead", Integer, nullable=False),
    Column("first", Integer, nullable=False),  # 1 or -1: its first decided list; 0 while there is none
    Column("seen_at", MOMENT, nullable=False),
)

NUMBER = BigInteger().with_variant(Integer, "sqlite")

experiment = Table(
    "experiment",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("route", Text, nullable=False, index=True),
    Column("closed", NUMBER, nullable=False),  # the last epoch that nobody adds to any more
    Column("latest", NUMBER, nullable=False),  # the last epoch of which anything is known
    Column("units_skipped", NUMBER, nullable=False),  # bits that no unit has that is met
    Column("units_kept", NUMBER, nullable=False),
    Column("crowded", Text, nullable=False),  # JSON: metric -> the first epoch in which every bad event is counted
    Column("seen_at", MOMENT, nullable=False),
)

tally = Table(
    "tally",
    METADATA,
    Column("experiment", Text, primary_key=True),
    Column("epoch", NUMBER, primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("shares", Text, primary_key=True),  # JSON: arm -> share in ppm, in order of name
    Column("arm", Text, primary_key=True),
    Column("gateway", Text, primary_key=True),
    Column("counts", Text, nullable=False),  # JSON
    Column("late", Text, nullable=False),  # JSON: what came when the epoch was closed
    sqlite_with_rowid=False,
)

lost = Table(
    "lost",
    METADATA,
    Column("experiment", Text, primary_key=True),
    Column("epoch", NUMBER, primary_key=True),
    Column("gateway", Text, primary_key=True),
    Column("why", Text, primary_key=True),
)

first_bad = Table(
    "first_bad",
    METADATA,
    Column("experiment", Text, primary_key=True),
    Column("metric", Text, primary_key=True),
    Column("unit", NUMBER, primary_key=True),
    Column("arm", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("at", MOMENT, nullable=False),
    sqlite_with_rowid=False,
)

met = Table(
    "met",
    METADATA,
    Column("experiment", Text, primary_key=True),
    Column("unit", NUMBER, primary_key=True),
    sqlite_with_rowid=False,
)

reporter = Table(
    "reporter",
    METADATA,
    Column("gateway", Text, primary_key=True),
    Column("open_from", NUMBER, nullable=False),
    Column("holding", Text, nullable=False),  # JSON: experiment -> the first epoch that waits for answers
    Column("seen_at", MOMENT, nullable=False),
)

source = Table(
    "source",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("gateway", Text, nullable=False),
    Column("seq", NUMBER, nullable=False),
    Column("seen_at", MOMENT, nullable=False),
)

lease = Table(
    "lease",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until_at", MOMENT, nullable=False),
)

told = Table(
    "told",
    METADATA,
    Column("key", Text, primary_key=True),
    Column("at", MOMENT, nullable=False),
)
