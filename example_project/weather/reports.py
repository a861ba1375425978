"""Reports: the shape of ``Report.content``, and the report as text.

``years``: list of year, days, mean_temp, precipitation, rainy_days. ``months``: see
``climate.of_months``. ``records`` and ``unusual``: see there as well. ``note``: text.
"""

from __future__ import annotations

from typing import Any

import cloaca_django as cloaca
from example_project.weather import climate, storage
from example_project.weather.models import Report, Upload


def from_context(context: cloaca.Context) -> dict[str, Any]:
    """Return the fields of a report from the context of ``seattle_weather``."""
    years = [{"year": year, **numbers} for year, numbers in sorted(context["years"].items())]
    return {
        "title": f"Weather in Seattle, {years[0]['year']} to {years[-1]['year']}",
        "content": {
            "years": years,
            "ranking": context["ranking"],
            "months": context["months"],
            "records": context["records"],
            "unusual": context["unusual"],
            "accepted": context["accepted"],
            "rejected": context["rejected"],
            "note": context["note"],
        },
    }


def from_upload(upload: Upload) -> dict[str, Any]:
    """Return the fields of a report about an upload."""
    station = storage.station(f"upload-{upload.pk}")
    years = [day.year for day in station.observations.dates("date", "year")]
    return {
        "title": f"Weather in {upload.name}",
        "content": {
            "years": [{"year": str(year), **climate.of_year(station, year)} for year in years],
            "months": climate.of_months(station, years),
            "records": climate.records(station, years),
            "unusual": climate.unusual_days(station, years),
            "accepted": upload.accepted,
            "rejected": len(upload.findings),
            "note": "",
        },
    }


def as_text(report: Report, link: str) -> str:
    """Return a report for a mail."""
    content = report.content
    lines = [report.title, "=" * len(report.title), ""]
    lines += [
        f"{year['year']}: {year['mean_temp']:.1f} °C on average, {year['precipitation']:.0f} mm,"
        f" {year['rainy_days']} rainy days"
        for year in content["years"]
    ]
    lines += [""]
    lines += [
        f"{day['kind'].capitalize()} day: {day['date']} ({day['value']:g} {day['unit']})"
        for day in content["records"]
    ]
    lines += ["", f"{content['accepted']} rows accepted, {content['rejected']} set aside."]
    lines += content["note"].splitlines() if content["rejected"] else []
    return "\n".join([*lines, "", f"The page: {link}", ""])
