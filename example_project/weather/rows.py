"""Rows of a weather file: read, validated one by one, and never lost. No database."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime

COLUMNS = ("date", "precipitation", "temp_max", "temp_min", "wind", "weather")
KINDS = ("drizzle", "fog", "rain", "snow", "sun")
BOUNDS = {
    "precipitation": (0.0, 500.0),
    "temp_max": (-60.0, 60.0),
    "temp_min": (-60.0, 60.0),
    "wind": (0.0, 100.0),
}


@dataclass(frozen=True, slots=True)
class Day:
    """A valid row."""

    date: date
    precipitation: float
    temp_max: float
    temp_min: float
    wind: float
    weather: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that is none, and why. ``line`` counts from 1, the header."""

    line: int
    text: str
    reason: str


def read_rows(text: str) -> tuple[list[Day], list[Rejected]]:
    """Return the days of a file and its rejected rows. Raises ValueError without the columns."""
    lines = csv.reader(io.StringIO(text))
    header = tuple(next(lines, ()))
    if header != COLUMNS:
        raise ValueError(f"the first line must be {','.join(COLUMNS)}")
    days: dict[date, Day] = {}
    rejected = []
    for number, cells in _numbered(lines):
        try:
            day = _read_new_day(cells, days)
        except ValueError as problem:
            rejected.append(Rejected(number, ",".join(cells)[:200], str(problem)))
        else:
            days[day.date] = day
    return list(days.values()), rejected


def _numbered(lines: Iterable[list[str]]) -> Iterator[tuple[int, list[str]]]:
    return ((number, cells) for number, cells in enumerate(lines, start=2) if cells)


def _read_new_day(cells: list[str], days: Container[date]) -> Day:
    day = _read_day(cells)
    if day.date in days:
        raise ValueError(f"{day.date} is there already")
    return day


def _read_day(cells: list[str]) -> Day:
    if len(cells) != len(COLUMNS):
        raise ValueError(f"{len(cells)} columns instead of {len(COLUMNS)}")
    row = dict(zip(COLUMNS, cells, strict=True))
    numbers = {name: _read_number(name, row[name]) for name in BOUNDS}
    if numbers["temp_min"] > numbers["temp_max"]:
        raise ValueError("temp_min is above temp_max")
    if row["weather"] not in KINDS:
        raise ValueError(f"weather is none of {', '.join(KINDS)}")
    return Day(date=_read_date(row["date"]), weather=row["weather"], **numbers)


def _read_date(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y/%m/%d").date()  # noqa: DTZ007 - a date has no zone
    except ValueError:
        raise ValueError("date is none of the calendar, as YYYY/MM/DD") from None


def _read_number(name: str, text: str) -> float:
    low, high = BOUNDS[name]
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{name} is not a number") from None
    if not math.isfinite(number) or not low <= number <= high:
        raise ValueError(f"{name} is not between {low:g} and {high:g}")
    return number
