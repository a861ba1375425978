"""Run the example workflow and say where to look next: the second half of ``make demo``."""

from __future__ import annotations

import sys
from io import StringIO
from typing import Any

from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand

from example_project.weather.models import Observation, RejectedRow, Report

NEXT = """
Look next:
  {python} manage.py runserver           then http://127.0.0.1:8000/
  {python} manage.py cloaca_worker       and upload a CSV file on that page
  {python} manage.py createsuperuser     for runs, graphs and logs at http://127.0.0.1:8000/admin/
  {python} manage.py cloaca_status       runs and workers
  {python} manage.py cloaca_graph seattle_weather
  {python} manage.py cloaca_schedules list
  {python} manage.py cloaca_schedules preview morning_report
"""


class Command(BaseCommand):
    """No options: it does one thing."""

    help = "Run the workflow seattle_weather and print what came out."

    def handle(self, *args: Any, **options: Any) -> None:
        known = set(Report.objects.values_list("pk", flat=True))
        call_command("cloaca_run", "seattle_weather", wait=True)
        report = Report.objects.exclude(pk__in=known).first()
        if report is None:
            raise CommandError("the run made no report; `manage.py cloaca_status` says why")
        # A worker does it when it starts.
        call_command("cloaca_schedules", "sync", stdout=StringIO())
        self.stdout.write(self._result(report))
        self.stdout.write(NEXT.format(python=self._python()))

    def _result(self, report: Report) -> str:
        ranking = report.content["ranking"]
        return (
            f"\n{report.title}\n"
            f"  {Observation.objects.count()} days stored,"
            f" {RejectedRow.objects.count()} rows set aside with their reasons\n"
            f"  warmest year {ranking['warmest']}, wettest {ranking['wettest']},"
            f" {len(report.content['unusual'])} days out of the ordinary\n"
            f"  the page: http://127.0.0.1:8000/reports/{report.pk}/"
        )

    def _python(self) -> str:
        """Return how to call this Python again: short when it is the one ``make`` installed."""
        return ".venv/bin/python" if "/.venv/bin/" in sys.executable else "python"
