"""How many runs ended in each of the last hours, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Count
from django.db.models.functions import TruncHour
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from cloaca_django.core.states import RunStatus
from cloaca_django.dialect.history import Glance
from cloaca_django.models import PipelineExecution

HOURS = 24
HEIGHT = 48


@dataclass(frozen=True, slots=True)
class Hour:
    """One bar: runs that ended in an hour. Heights are of ``HEIGHT``."""

    x: int
    good: int
    bad: int
    title: str


@dataclass(frozen=True, slots=True)
class Throughput:
    """The last hours. ``is_cut`` says that the oldest of them were not counted.

    ``median`` is the usual duration in seconds, of the newest runs that completed.
    """

    hours: Sequence[Hour]
    counts: Mapping[str, int]
    is_cut: bool
    median: float | None

    @property
    def total(self) -> int:
        """How many runs ended."""
        return sum(self.counts.values())

    @property
    def label(self) -> str:
        """How many runs ended, in words."""
        if self.is_cut:
            return _("The newest %d runs that ended") % self.total
        return ngettext(
            "%d run ended in the last 24 hours",
            "%d runs ended in the last 24 hours",
            self.total,
        ) % self.total  # fmt: skip


def read(alias: str, glance: Glance) -> Throughput:
    """Count the runs that ended in the last hours, as many as are counted at most."""
    at, counted_since = glance.at, glance.counted_since
    start = at - timedelta(hours=HOURS)
    is_cut = counted_since is not None and counted_since > start
    since = counted_since if counted_since is not None and is_cut else start
    runs = PipelineExecution.objects.using(alias).order_by().filter(finished_at__gt=since)
    # In UTC: the hours of a zone may begin at half past.
    grouped = runs.annotate(hour=TruncHour("finished_at", tzinfo=UTC)).values("hour", "status")
    rows = list(grouped.annotate(count=Count("pk")))
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["status"]] = counts.get(row["status"], 0) + row["count"]
    return Throughput(_hours(rows, at), counts, is_cut, glance.median)


def _hours(rows: Sequence[Mapping[str, Any]], at: datetime) -> Sequence[Hour]:
    """Return a bar for each of the last hours, oldest first."""
    this = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    counts: dict[tuple[datetime, bool], int] = {}
    for row in rows:
        key = (row["hour"], row["status"] == RunStatus.COMPLETED)
        counts[key] = counts.get(key, 0) + row["count"]
    starts = [this - timedelta(hours=back) for back in range(HOURS - 1, -1, -1)]
    pairs = [(counts.get((hour, True), 0), counts.get((hour, False), 0)) for hour in starts]
    most = max(1, *(good + bad for good, bad in pairs))
    return [
        Hour(
            x=place * 20, good=_height(good, most), bad=_height(bad, most),
            title=_("%(hour)s: %(good)d completed, %(bad)d not") % {
                "hour": f"{localtime(hour):%H:%M}", "good": good, "bad": bad,
            },
        )
        for place, (hour, (good, bad)) in enumerate(zip(starts, pairs, strict=True))
    ]  # fmt: skip


def _height(count: int, most: int) -> int:
    return max(2, round(HEIGHT * count / most)) if count else 0
