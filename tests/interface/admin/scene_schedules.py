"""Schedules as a busy site would have them: every state, long names, names from right to left."""

from __future__ import annotations

from cloaca_django.core.states import RunStatus
from cloaca_django.engine import timetable
from cloaca_django.models import CronSchedule
from tests.interface.admin import scenes

LONG = "the_one_that_collects_every_invoice_of_every_branch_and_sends_it_to_the_tax_office_nightly"
ARABIC = "تقرير المبيعات الليلي"


def schedules() -> CronSchedule:
    """Insert one of each, with a history; returns one whose workflow declares inputs."""
    hourly = _made("orders-eu", "0 * * * *", "Europe/Berlin", name_of="invoice_pipeline")
    for at in range(24):
        status = RunStatus.FAILED if at in {5, 6, 17} else RunStatus.COMPLETED
        error = "Task 'charge_card' failed: CardDeclined: insufficient funds"
        scenes.run("invoice_pipeline", status, age=3600 * at + 60, took=20 + at * 7 % 40,
                   schedule=hourly, error_message=error if status == RunStatus.FAILED else "",
                   )  # fmt: skip
    CronSchedule.objects.filter(pk=hourly.pk).update(last_run_at=scenes.moment(60))
    _made(LONG, "0 3 * * MON-FRI", "America/Argentina/ComodRivadavia")
    _made(ARABIC, "*/15 9-17 * * 1-5", "Asia/Riyadh")
    stuck = _made("legacy", "5 4 * * SUN", "UTC", name_of="invoice_pipeline")
    CronSchedule.objects.filter(pk=stuck.pk).update(
        parked_at=scenes.moment(90),
        error_message="no living worker has had code for 'invoice_pipeline' for a minute",
    )
    off = _made("monthly-close", "0 4 1 * *", "Asia/Tokyo")
    timetable.set_enabled(
        "default", off.pk, enabled=False, by="ana", reason="the books of March are still open"
    )
    return _made("erp-import", "30 2 * * *", "America/New_York", name_of="with_inputs",
                 context={"source_id": "erp", "batch_size": 250, "region": "eu"})  # fmt: skip


def _made(name: str, expression: str, zone: str, *, name_of: str = "customer_etl", **facts: object):
    given = {"name": name, "cron_expression": expression, "timezone": zone, **facts}
    return timetable.register("default", name_of, given)
