"""What the observations say: years, months, and days out of the ordinary. Reads only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from statistics import fmean, pstdev
from typing import Any

from django.db.models import Avg, Count, F, Q, Sum
from django.db.models.functions import ExtractMonth

from example_project.weather.models import Observation, Station

RAINY = Q(precipitation__gte=1.0)  # millimetres, as meteorologists count rainy days
UNUSUAL = 2.75  # standard deviations from the mean of the month


def of_year(station: Station, year: int) -> dict[str, Any]:
    """Return one year in numbers; see ``YearSummary`` for the units."""
    found = station.observations.filter(date__year=year).aggregate(
        days=Count("id"),
        mean=Avg((F("temp_max") + F("temp_min")) / 2.0),
        rain=Sum("precipitation"),
        rainy_days=Count("id", filter=RAINY),
    )
    if not found["days"]:
        raise LookupError(f"no observations of {station} in {year}")
    return {
        "days": found["days"],
        "mean_temp": round(found["mean"], 2),
        "precipitation": round(found["rain"], 1),
        "rainy_days": found["rainy_days"],
    }


def of_months(station: Station, years: Iterable[int]) -> list[dict[str, Any]]:
    """Return the twelve months over several years: month, temp_max, temp_min, precipitation.

    Temperatures are means of days, precipitation is the mean of the months' sums.
    """
    years = list(years)
    months = (
        station.observations.filter(date__year__in=years)
        .annotate(month=ExtractMonth("date"))
        .values("month")
        .annotate(highs=Avg("temp_max"), lows=Avg("temp_min"), rain=Sum("precipitation"))
        .order_by("month")
    )
    return [
        {
            "month": month["month"],
            "temp_max": round(month["highs"], 1),
            "temp_min": round(month["lows"], 1),
            "precipitation": round(month["rain"] / len(years), 1),
        }
        for month in months
    ]


def records(station: Station, years: Iterable[int]) -> list[dict[str, Any]]:
    """Return the hottest, coldest, wettest and windiest day: kind, date, value, unit."""
    days = station.observations.filter(date__year__in=list(years))
    wanted = [
        ("hottest", "-temp_max", "temp_max", "°C"),
        ("coldest", "temp_min", "temp_min", "°C"),
        ("wettest", "-precipitation", "precipitation", "mm"),
        ("windiest", "-wind", "wind", "m/s"),
    ]
    return [
        {
            "kind": kind,
            "date": day.date.isoformat(),
            "value": getattr(day, field),
            "unit": unit,
        }
        for kind, order, field, unit in wanted
        if (day := days.order_by(order, "date").first()) is not None
    ]


def unusual_days(station: Station, years: Iterable[int]) -> list[dict[str, Any]]:
    """Return days far too warm or cold for their month: date, temp_max, usual, deviation."""
    days = station.observations.filter(date__year__in=list(years)).order_by("date")
    by_month: defaultdict[int, list[Observation]] = defaultdict(list)
    for day in days:
        by_month[day.date.month].append(day)
    found = [day for month in by_month.values() for day in _outliers(month)]
    return sorted(found, key=lambda day: -abs(day["deviation"]))


def _outliers(days: list[Observation]) -> list[dict[str, Any]]:
    highs = [day.temp_max for day in days]
    usual, spread = fmean(highs), pstdev(highs)
    if not spread:
        return []
    return [
        {
            "date": day.date.isoformat(),
            "temp_max": day.temp_max,
            "usual": round(usual, 1),
            "deviation": round((day.temp_max - usual) / spread, 2),
        }
        for day in days
        if abs(day.temp_max - usual) > UNUSUAL * spread
    ]
