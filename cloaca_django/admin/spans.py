"""Lengths of time and distances to now, in words."""

from __future__ import annotations

from datetime import datetime

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def units() -> str:
    """Return the signs for days, hours, minutes and seconds, for the script's own counters."""
    return " ".join((_("d"), _("h"), _("m"), _("s")))


def span(seconds: float) -> str:
    """Return a length of time in its two largest units. A clock that was set back gives none."""
    seconds = max(0.0, seconds)
    day, hour, minute, second = units().split(" ")
    if seconds < 1:
        return f"{seconds * 1000:.0f} m{second}"
    if seconds < 10:
        return f"{seconds:.1f} {second}"
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} {second}"
    if whole < HOUR:
        return f"{whole // MINUTE} {minute} {whole % MINUTE:02d} {second}"
    if whole < DAY:
        return f"{whole // HOUR} {hour} {whole % HOUR // MINUTE:02d} {minute}"
    return f"{whole // DAY} {day} {whole % DAY // HOUR} {hour}"


def distance(moment: datetime, at: datetime) -> str:
    """Return ``in 3 m 20 s``, ``12 m 01 s ago`` or ``just now``."""
    seconds = (moment - at).total_seconds()
    if abs(seconds) < 1:
        return _("just now")
    length = _coarse(abs(seconds))
    return (_("in %s") if seconds > 0 else _("%s ago")) % length


def _coarse(seconds: float) -> str:
    day, hour, minute, second = units().split(" ")
    for size, unit in ((DAY, day), (HOUR, hour), (MINUTE, minute)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} {second}"


def between(start: datetime | None, end: datetime | None) -> float | None:
    """Return seconds from one moment to another; None when one is missing."""
    return None if start is None or end is None else max(0.0, (end - start).total_seconds())


def exact(moment: datetime) -> str:
    """Return a moment to the second, in the reader's zone, with the zone's name."""
    return f"{localtime(moment):%Y-%m-%d %H:%M:%S %Z}"


def shown(moment: datetime, at: datetime) -> SafeString:
    """Show how far a moment is from now, and the moment itself when pointed at."""
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        moment.isoformat(), exact(moment), distance(moment, at),
    )  # fmt: skip
