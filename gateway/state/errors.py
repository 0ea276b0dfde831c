"""What can be wrong with the state. Each says what, where and how to mend it; none is met on the path of a request.

StateError
├── StateUnavailable    the database cannot be reached or written now
├── StateCorrupt        what is stored is not what was written
├── StateTooNew         a later release wrote it
├── UnknownRevision     there is no revision of that number
├── PublishConflict     somebody else published first
└── TokenRefused        a token of that kind cannot be made
"""


class StateError(Exception):
    """The state cannot be used as asked."""


class StateUnavailable(StateError):
    pass


class StateCorrupt(StateError):
    pass


class StateTooNew(StateError):
    pass


class UnknownRevision(StateError):
    pass


class PublishConflict(StateError):
    """`live` is the number of the revision that was live instead, `author` who published it, `at` when (Unix time)."""

    def __init__(self, expected: int, live: int, author: str, at: float) -> None:
        super().__init__(
            f"revision {expected} is not the live one: {author or 'somebody'} has published revision {live}; "
            "look at the difference and apply again"
        )
        self.live = live
        self.author = author
        self.at = at


class TokenRefused(StateError):
    pass
