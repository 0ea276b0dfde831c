"""What somebody was told of, so that of several gateways, and of one that is started again, nobody tells it twice."""

from collections.abc import Collection

from sqlalchemy import Engine, delete, insert, select

from gateway.state.database import reading, writing
from gateway.state.schema import told

FORGET_AFTER_S = 400 * 86_400.0


class Told:
    """Keys of what happened. The caller brings the time, in Unix seconds. Raises StateUnavailable."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def claim(self, keys: Collection[str], *, now: float) -> frozenset[str]:
        """Those that nobody has told of yet; from now on they count as told."""
        query = select(told.c.key).where(told.c.key.in_(keys))
        with reading(self._engine) as connection:
            fresh = set(keys) - set(connection.execute(query).scalars())
        if not fresh:
            return frozenset()
        with writing(self._engine) as connection:
            fresh -= set(connection.execute(query).scalars())  # another gateway may have been quicker
            connection.execute(delete(told).where(told.c.at < now - FORGET_AFTER_S))
            if fresh:
                connection.execute(insert(told), [{"key": key, "at": now} for key in sorted(fresh)])
        return frozenset(fresh)
