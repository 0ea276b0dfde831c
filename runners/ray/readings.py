"""How a replica looks from one process that asks it; what the control process adds up for people."""

from msgspec import Struct

LIVE, RESTING, LOST = "live", "resting", "lost"


class PeerReading(Struct, frozen=True):
    """One replica as one endpoint sees it. `state` is live, resting, lost, or the membership's word; `why` says what
    keeps it from being live. `mean_s` is what calls took of late, `lost_n` how many connections have ended.

    `provider` and `degraded` are what the replica said of itself when it was greeted, "" before that. `pending_n` are
    this endpoint's own calls under way, `open_n` those of everybody and `waiting_n` those of them that wait for the
    model, as the replica said with its last sign of life. `rested_n` is how often it was told to rest.
    """

    replica: str
    node: str
    state: str
    why: str
    pending_n: int
    mean_s: float
    lost_n: int
    provider: str = ""
    degraded: str = ""
    open_n: int = 0
    waiting_n: int = 0
    rested_n: int = 0
