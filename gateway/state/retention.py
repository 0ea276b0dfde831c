"""How long the ledger keeps what it has: an experiment's evidence for a month after it was last counted."""

from sqlalchemy import Engine, delete, select

from gateway.state.database import writing
from gateway.state.schema import experiment, first_bad, lost, met, source, tally
from strategies.evidence.epochs import EPOCH_S

KEPT_S = 30 * 86_400.0  # after an experiment was last counted: feedback may come late
WHOLE_KEPT_S = 7_200.0  # of epochs in which one arm had everything: they give thresholds, and nothing else
WHOLE = "%:1000000%"


def prune(engine: Engine, now: float) -> int:
    """Forget what is over for long enough; returns how many experiments are gone. Raises StateUnavailable."""
    with writing(engine) as connection:
        over = select(experiment.c.name).where(experiment.c.seen_at < now - KEPT_S)
        names = list(connection.execute(over).scalars())
        for name in names:
            for table in (tally, lost, first_bad, met):
                connection.execute(delete(table).where(table.c.experiment == name))
            connection.execute(delete(experiment).where(experiment.c.name == name))
        old = int(now - WHOLE_KEPT_S) // EPOCH_S
        connection.execute(delete(tally).where(tally.c.epoch < old, tally.c.shares.like(WHOLE)))
        connection.execute(delete(source).where(source.c.seen_at < now - KEPT_S))
    return len(names)
