"""What the tests of reliability went through: printed at the end of a test run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

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


def packed() -> str:
    """Return everything as one text."""
    return json.dumps({"account": {k: asdict(v) for k, v in ACCOUNT.items()}, "notes": NOTES})


def unpack(text: str) -> None:
    """Add what another process packed."""
    found = json.loads(text)
    ACCOUNT.update({k: Points(**v) for k, v in found.get("account", {}).items()})
    NOTES.update(found.get("notes", {}))


def lines() -> Iterator[str]:
    """Say it all, a line each."""
    for name, note in NOTES.items():
        yield f"{name}: {note}"
    for name, points in sorted(ACCOUNT.items()):
        yield f"{name}: {points}"
    if ACCOUNT:
        covered = sum(points.covered for points in ACCOUNT.values())
        existing = sum(points.existing for points in ACCOUNT.values())
        yield f"crash points: {covered} of {existing} ({covered / existing:.0%})"
