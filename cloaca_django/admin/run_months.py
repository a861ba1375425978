"""The list of runs by the month: found by their ids, which begin with the time of submission."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils import dateformat
from django.utils.timezone import get_current_timezone, localtime

MONTH = "month"
FIRST, LAST = (1970, 2), (2999, 12)
_ASKED = re.compile(r"(\d{4})-(\d{2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Month:
    """One month on the reader's clock."""

    year: int
    number: int

    def __str__(self) -> str:
        return f"{self.year:04}-{self.number:02}"

    @property
    def label(self) -> str:
        """Its name and year, as people write it."""
        return dateformat.format(date(self.year, self.number, 1), "F Y")

    def moved(self, months: int) -> Month:
        """Return a month that is so many later."""
        years, number = divmod(self.number - 1 + months, 12)
        return Month(self.year + years, number + 1)

    def starts(self) -> datetime:
        """Return its first moment."""
        return datetime(self.year, self.number, 1, tzinfo=get_current_timezone())


@dataclass(frozen=True, slots=True)
class Months:
    """Where the list leads to: the months around, and all of them. An empty one leads nowhere."""

    label: str
    before: str
    after: str
    every: str


def asked(text: str) -> Month | None:
    """Return the month that stands in a URL; None for anything else."""
    found = _ASKED.fullmatch(text)
    if found is None:
        return None
    month = (int(found[1]), int(found[2]))
    return Month(*month) if FIRST <= month <= LAST and 1 <= month[1] <= 12 else None


def only(runs: QuerySet[Any], month: Month) -> QuerySet[Any]:
    """Leave the runs that were submitted in a month."""
    first, end = (_lowest(one.starts()) for one in (month, month.moved(1)))
    return runs.filter(pk__gte=first, pk__lt=end)


def _lowest(moment: datetime) -> UUID:
    """Return the lowest id that a run of a moment may have."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def around(month: Month | None, at: datetime, query: Callable[[str], str]) -> Months:
    """Return what stands above the list. ``query`` makes the URL of a month; empty: of all."""
    now = localtime(at)
    this = Month(now.year, now.month)
    if month is None:
        return Months("", query(str(this)), "", "")
    after = month.moved(1)
    is_past = (month.year, month.number) < (this.year, this.number)
    return Months(
        month.label, query(str(month.moved(-1))), query(str(after)) if is_past else "", query("")
    )
