"""How rows come into the database. Doing it twice changes nothing: tasks may run again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from example_project.weather.models import Observation, RejectedRow, Station, Upload
from example_project.weather.rows import Day, read_rows

FIELDS = ["precipitation", "temp_max", "temp_min", "wind", "weather"]


def station(code: str, name: str = "") -> Station:
    """Return the station of that code, made on first use if it has a name."""
    if name:
        return Station.objects.get_or_create(code=code, defaults={"name": name})[0]
    return Station.objects.get(code=code)


def store_file(station: Station, name: str, text: str) -> tuple[int, int]:
    """Store the rows of a file; return how many were accepted and how many rejected."""
    days, rejected = read_rows(text)
    store_days(station, days)
    RejectedRow.objects.bulk_create(
        [RejectedRow(source=name, **asdict(row)) for row in rejected],
        update_conflicts=True,
        unique_fields=["source", "line"],
        update_fields=["text", "reason"],
    )
    return len(days), len(rejected)


def store_days(station: Station, days: Iterable[Day]) -> None:
    """Store days; one that is there already takes the new values."""
    Observation.objects.bulk_create(
        [Observation(station=station, **asdict(day)) for day in days],
        update_conflicts=True,
        unique_fields=["station", "date"],
        update_fields=FIELDS,
        batch_size=500,
    )


def explain_rejected(names: list[str]) -> str:
    """Return the rejected rows of some files, a line each."""
    rows = RejectedRow.objects.filter(source__in=names).order_by("source", "line")
    return "\n".join(str(row) for row in rows)


def store_upload(upload: Upload) -> int:
    """Check the rows of an upload and store them under a station of its own."""
    days, rejected = read_rows(upload.content)
    if days:
        store_days(station(f"upload-{upload.pk}", upload.name), days)
    upload.accepted = len(days)
    upload.findings = [asdict(row) for row in rejected]
    upload.save(update_fields=["accepted", "findings"])
    return len(days)
