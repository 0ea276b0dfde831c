"""Claims: nothing is printed as true that was not compared with what happened."""

import sys


class Claims:
    """Counts what was checked and keeps what turned out untrue."""

    def __init__(self) -> None:
        self.checked_n = 0
        self.untrue: list[str] = []

    def equal(self, what: str, expected: object, actual: object) -> None:
        """Claim that two values are the same."""
        self.true(f"{what}: expected {expected!r}, saw {actual!r}", expected == actual)

    def true(self, what: str, truth: object) -> None:
        """Claim that something holds."""
        self.checked_n += 1
        if not truth:
            self.untrue.append(what)

    def conclude(self) -> None:
        """Say how it went; leave with status 1 if anything was untrue."""
        if self.untrue:
            sys.stdout.write("\nUntrue:\n" + "".join(f"  {what}\n" for what in self.untrue))
            raise SystemExit(1)
