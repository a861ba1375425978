"""What the tests of reliability went through: printed at the end of a test run."""

from __future__ import annotations

from dataclasses import dataclass

from tests.crash.faults import COMMIT


@dataclass
class Points:
    """The account of one operation."""

    points: list[str]
    existing: int = 0
    covered: int = 0

    def __str__(self) -> str:
        commits = self.points.count(COMMIT)
        statements = len(self.points) - commits
        return (
            f"{statements} statements and {commits} COMMITs,"
            f" {self.covered} of {self.existing} crashes"
        )


ACCOUNT: dict[str, Points] = {}

# What else is told, by the name of who tells it.
NOTES: dict[str, str] = {}
