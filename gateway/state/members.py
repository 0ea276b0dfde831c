"""Members: which gateways share this state, and which revision each of them serves."""

from msgspec import Struct
from sqlalchemy import Engine, delete, insert, select, update

from gateway.arms import ArmSeen, read_arms, write_arms
from gateway.state.database import reading, writing
from gateway.state.schema import member

FRESH_S = 6.0  # a gateway whose heartbeat is younger is there
FORGET_AFTER_S = 86_400.0  # a gateway not seen for a day is no longer one of us


class Member(Struct, frozen=True):
    """One gateway's latest heartbeat. `trouble` says why it does not serve the live revision, "" when it does.

    `hosted` are the applications that it needs on a cluster: nobody deletes what somebody here names.
    `arms` is how its arms are run, as it saw it then.
    """

    gateway: str
    revision: int
    trouble: str
    seen_at: float
    hosted: tuple[str, ...] = ()
    arms: tuple[ArmSeen, ...] = ()


class Members:
    """Heartbeats. The caller brings the time, in Unix seconds. Raises StateUnavailable."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def beat(self, beat: Member) -> None:
        """Replace this gateway's heartbeat, and forget those that nobody has seen for a day."""
        values = {
            "revision": beat.revision,
            "trouble": beat.trouble,
            "seen_at": beat.seen_at,
            "hosted": " ".join(beat.hosted),
            "arms": write_arms(beat.arms),
        }
        with writing(self._engine) as connection:
            mine = member.c.gateway == beat.gateway
            if connection.execute(update(member).where(mine).values(**values)).rowcount == 0:
                connection.execute(insert(member).values(gateway=beat.gateway, **values))
            connection.execute(delete(member).where(member.c.seen_at < beat.seen_at - FORGET_AFTER_S))

    def leave(self, gateway: str) -> None:
        """Forget one that ends in order."""
        with writing(self._engine) as connection:
            connection.execute(delete(member).where(member.c.gateway == gateway))

    def present(self, now: float) -> tuple[Member, ...]:
        """Those whose heartbeat is fresh."""
        return tuple(each for each in self.all() if now - each.seen_at < FRESH_S)

    def all(self) -> tuple[Member, ...]:
        """Everyone, by name."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(member).order_by(member.c.gateway))
            return tuple(
                Member(
                    row.gateway, row.revision, row.trouble, row.seen_at, tuple(row.hosted.split()), read_arms(row.arms)
                )
                for row in rows
            )
