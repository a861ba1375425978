"""The example's two workflows.

``seattle_weather`` goes from files to a report: it fans out over the years, joins again, takes
one of two branches, and one of its tasks fails the first time and is tried again. A schedule
starts it every morning, by the clock of Seattle.
``uploaded_weather`` does the small thing for a file that a visitor uploads.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.core.mail import send_mail
from django.db import connection
from django.urls import reverse

import cloaca_django as cloaca
from example_project.weather import climate, reports, storage
from example_project.weather.models import Report, Upload, YearSummary

DATA = Path(__file__).resolve().parent / "data"
FILES = ("seattle-weather.csv", "broken-rows.csv")
YEARS = (2012, 2013, 2014, 2015)


def site_url() -> str:
    """Return where this site is. As a site with tenants it is at another host for each."""
    return str(settings.SITE_URL).format(schema=getattr(connection, "schema_name", ""))


with cloaca.WorkflowBuilder("seattle_weather") as seattle:
    seattle.description("Four years of weather in Seattle, from files to a report")
    seattle.tag("topic", "weather")
    # Workers write it to the database when they start. Whoever edits it there keeps the edit.
    seattle.schedule(
        "30 5 * * *",
        timezone="America/Los_Angeles",
        name="morning_report",
        catchup_policy="latest",
    )

    @cloaca.task(id="find_files", retry_attempts=3, retry_delay_ms=500, retry_jitter=False)
    def find_files(context: cloaca.Context, handle: cloaca.TaskHandle) -> None:
        """Fail once, as a network would: the engine tries again after half a second."""
        if handle.attempt == 1:
            raise ConnectionError("the archive does not answer (on purpose, to show a retry)")
        context.set("files", [name for name in FILES if (DATA / name).is_file()])

    # Atomic: the rows and the task's completion are one commit, so a crash doubles nothing.
    @cloaca.task(id="ingest", dependencies=[find_files], atomic=True)
    def ingest(context: cloaca.Context) -> None:
        """Store every valid row, and set every other one aside with its reason."""
        station = storage.station("seattle", "Seattle")
        accepted = rejected = 0
        for name in context["files"]:
            good, bad = storage.store_file(station, name, (DATA / name).read_text())
            accepted, rejected = accepted + good, rejected + bad
        context.update_from_dict(
            {"station": station.code, "accepted": accepted, "rejected": rejected}
        )

    def year_task(year: int) -> Callable[[cloaca.Context], None]:
        """Declare the task of one year. The four run side by side."""

        @cloaca.task(id=f"year_{year}", dependencies=[ingest], atomic=True)
        def summarise(context: cloaca.Context) -> None:
            station = storage.station(context["station"])
            numbers = climate.of_year(station, year)
            YearSummary.objects.update_or_create(station=station, year=year, defaults=numbers)
            # Branches may write below one key: the engine merges objects path by path.
            context.set("years", {str(year): numbers})

        return summarise

    years = [year_task(year) for year in YEARS]

    @cloaca.task(id="months", dependencies=[ingest])
    def months(context: cloaca.Context) -> None:
        """Work out what each month is usually like."""
        context.set("months", climate.of_months(storage.station(context["station"]), YEARS))

    @cloaca.task(id="extremes", dependencies=[ingest])
    def extremes(context: cloaca.Context) -> None:
        """Find the records, and the days far from what their month is like."""
        station = storage.station(context["station"])
        context.set("records", climate.records(station, YEARS))
        context.set("unusual", climate.unusual_days(station, YEARS))

    @cloaca.task(
        id="explain_rejects",
        dependencies=[ingest],
        trigger_rules=cloaca.context_value("rejected", "greater_than", 0),
    )
    def explain_rejects(context: cloaca.Context) -> None:
        """Say what was wrong. Skipped when nothing was."""
        context.set("note", storage.explain_rejected(context["files"]))

    @cloaca.task(
        id="praise_data",
        dependencies=[ingest],
        trigger_rules=cloaca.context_value("rejected", "equals", 0),
    )
    def praise_data(context: cloaca.Context) -> None:
        """Say that all was well. Skipped when it was not."""
        context.set("note", "Every row was valid.")

    @cloaca.task(id="compare_years", dependencies=[*years])
    def compare_years(context: cloaca.Context) -> None:
        """Join the years and rank them."""
        numbers = context["years"]
        context.set(
            "ranking",
            {
                "warmest": max(numbers, key=lambda year: numbers[year]["mean_temp"]),
                "coolest": min(numbers, key=lambda year: numbers[year]["mean_temp"]),
                "wettest": max(numbers, key=lambda year: numbers[year]["precipitation"]),
                "driest": min(numbers, key=lambda year: numbers[year]["precipitation"]),
            },
        )

    # One of the two branches is skipped. A task runs when no dependency failed and one completed.
    @cloaca.task(
        id="write_report",
        dependencies=[compare_years, months, extremes, explain_rejects, praise_data],
        atomic=True,
    )
    def write_report(context: cloaca.Context, handle: cloaca.TaskHandle) -> None:
        """Store what the report page is drawn from."""
        report, _ = Report.objects.update_or_create(
            run_id=handle.run_id, defaults=reports.from_context(context)
        )
        context.set("report_id", report.pk)
        # The report has them now; a context is for what the next tasks need.
        for key in ("years", "months", "records", "unusual"):
            context.remove(key)

    @cloaca.task(id="send_report", dependencies=[write_report])
    def send_report(context: cloaca.Context) -> None:
        """Send the report as text. In this example mails are printed.

        No transaction can hold a mail back: if the worker dies right after sending it, it is
        sent again.
        """
        report = Report.objects.get(pk=context["report_id"])
        link = site_url() + reverse("weather:report", args=[report.pk])
        send_mail(report.title, reports.as_text(report, link), None, ["reader@example.com"])


with cloaca.WorkflowBuilder("uploaded_weather") as uploaded:
    uploaded.description("Check a file that a visitor uploaded, and report on it")
    uploaded.tag("topic", "weather")

    @cloaca.workflow_params(upload_id=int)
    @cloaca.task(id="check_rows", atomic=True)
    def check_rows(context: cloaca.Context) -> None:
        """Validate every row; what is wrong is kept with the upload."""
        upload = Upload.objects.get(pk=context["upload_id"])
        context.set("accepted", storage.store_upload(upload))

    @cloaca.task(
        id="report_upload",
        dependencies=[check_rows],
        trigger_rules=cloaca.context_value("accepted", "greater_than", 0),
        atomic=True,
    )
    def report_upload(context: cloaca.Context, handle: cloaca.TaskHandle) -> None:
        """Make a report of the valid rows. Skipped when there are none."""
        upload = Upload.objects.get(pk=context["upload_id"])
        report, _ = Report.objects.update_or_create(
            run_id=handle.run_id, defaults=reports.from_upload(upload)
        )
        context.set("report_id", report.pk)
