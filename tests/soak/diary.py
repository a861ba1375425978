"""What a driver did, a line each, written before and after every deed: it may be killed between.

The checker compares it with the rows: what was answered must be there, what was taken back not.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

# A submission was begun; it was answered; it was rolled back by the caller.
ASKED, ANSWERED, TAKEN_BACK = "asked", "answered", "taken back"
# A cancellation was answered: the run is Cancelled and stays so.
CANCELLED = "cancelled"
# Some other act of an operator was answered, or refused as it may be.
ACTED, REFUSED = "acted", "refused"
# A call to the database failed and was tried again.
TROUBLE = "trouble"


class Diary:
    """One driver's file. Opened for each line: a kill leaves at most half of one."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}.diary"

    def note(self, what: str, schema: str = "", about: str = "") -> None:
        """Write a line."""
        with self._path.open("a") as file:
            file.write(json.dumps([what, schema, about]) + "\n")


def read(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Return what all drivers noted: by what it was, pairs of schema and key."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for file in sorted(folder.glob("*.diary")):
        for what, schema, about in _lines(file):
            found[what].append((schema, about))
    return found


def _lines(file: Path) -> Iterator[tuple[str, str, str]]:
    for line in file.read_text().splitlines():
        try:
            what, schema, about = json.loads(line)
        except ValueError:
            continue  # cut off by a kill
        yield what, schema, about
