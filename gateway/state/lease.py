"""Leases: of several gateways that share a state, one does what one is enough for. Two at once would do no harm."""

from sqlalchemy import Engine, insert, select, update

from gateway.state.database import reading, writing
from gateway.state.schema import lease


class Leases:
    """Who holds which lease until when. The caller brings the time, in Unix seconds. Raises StateUnavailable."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def hold(self, name: str, holder: str, *, now: float, for_s: float) -> bool:
        """Take the lease, or keep it, if nobody else has it now. It is written anew once a third of it is over."""
        with reading(self._engine) as connection:
            found = connection.execute(select(lease).where(lease.c.name == name)).one_or_none()
        if found and now < found.until_at and (found.holder != holder or now < found.until_at - for_s * 2 / 3):
            return bool(found.holder == holder)
        with writing(self._engine) as connection:
            values = {"holder": holder, "until_at": now + for_s}
            free = (lease.c.name == name) & ((lease.c.holder == holder) | (lease.c.until_at <= now))
            if connection.execute(update(lease).where(free).values(**values)).rowcount:
                return True
            if connection.execute(select(lease.c.name).where(lease.c.name == name)).one_or_none():
                return False
            connection.execute(insert(lease).values(name=name, **values))
            return True

    def leave(self, name: str, holder: str) -> None:
        """Let somebody else take it at once."""
        with writing(self._engine) as connection:
            mine = (lease.c.name == name) & (lease.c.holder == holder)
            connection.execute(update(lease).where(mine).values(until_at=0.0))
