"""Two tenants at work, and where to look next: the second half of ``make demo-tenants``."""

from __future__ import annotations

import sys
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand
from django.utils.timezone import localtime
from django_tenants.utils import tenant_context

import cloaca_django as cloaca
from example_project.tenants.models import Domain, Tenant
from example_project.weather.models import Observation, Report, Upload
from example_project.weather.views import take_upload
from example_project.weather.workflows import DATA, FILES

# Each has a file of its own beside what all run: the days of one year.
TENANTS = (("acme", "Acme Outdoor", 2012), ("globex", "Globex Shipping", 2015))
LOGIN = "demo"

NEXT = """
Look next, with DJANGO_SETTINGS_MODULE=example_project.tenant_settings in the environment:
  {python} manage.py runserver        then http://localhost:8000/ and each tenant's host;
                                         the admin of each: user {login}, password {login}
  {python} manage.py cloaca_worker    one worker for all of them; upload a file on a tenant's page
  {python} manage.py cloaca_status --schema acme
  {python} manage.py cloaca_schedules list --schema globex
"""


class Command(BaseCommand):
    """No options: it does one thing."""

    help = "Make two tenants, run workflows in each by one worker, and print what each has then."

    def handle(self, *args: Any, **options: Any) -> None:
        tenants = [_tenant(schema, name) for schema, name, _ in TENANTS]
        cloaca.for_each_tenant("seattle_weather", cloaca.Context())
        for tenant, (schema, _, year) in zip(tenants, TENANTS, strict=True):
            with tenant_context(tenant):
                take_upload(f"{schema}-{year}.csv", _days_of(year))
        call_command("cloaca_worker", burst=True, reload=False)
        for tenant in tenants:
            with tenant_context(tenant):
                self.stdout.write(_what_it_has(tenant))
        self.stdout.write(NEXT.format(python=_python(), login=LOGIN))


def _tenant(schema: str, name: str) -> Tenant:
    """Return a tenant with a host and somebody who may log in; made on first use."""
    tenant = Tenant.objects.filter(schema_name=schema).first()
    if tenant is None:
        tenant = Tenant(schema_name=schema, name=name)
        tenant.save(verbosity=0)
    Domain.objects.get_or_create(domain=f"{schema}.localhost", tenant=tenant)
    with tenant_context(tenant):
        users = get_user_model().objects
        if not users.filter(username=LOGIN).exists():
            users.create_superuser(LOGIN, password=LOGIN)
    return tenant


def _days_of(year: int) -> str:
    head, *days = (DATA / FILES[0]).read_text().splitlines()
    return "\n".join([head, *(day for day in days if day.startswith(f"{year}/"))])


def _what_it_has(tenant: Tenant) -> str:
    report = Report.objects.filter(title__startswith="Weather in Seattle").first()
    upload = Upload.objects.order_by("-pk").first()
    if report is None or upload is None or upload.accepted is None:
        call_command("cloaca_status", schema=tenant.schema_name)
        raise CommandError(f"a run of {tenant} came to nothing; what it has is above")
    runner = cloaca.DefaultRunner()
    own = Observation.objects.filter(station__code=f"upload-{upload.pk}").count()
    due = [
        f"{schedule['name']} at {localtime(schedule['next_run_at']):%H:%M %Z, %d %B}"
        for schedule in runner.list_cron_schedules()
    ]
    return (
        f"\n{tenant}, http://{tenant.get_primary_domain()}:8000/\n"
        f"  {Observation.objects.count()} days stored, {own} of them from its own {upload.name}\n"
        f"  {Report.objects.count()} reports, the latest: {report.title}\n"
        f"  next: {', '.join(due)}"
    )


def _python() -> str:
    """Return how to call this Python again: short when it is the one ``make`` installed."""
    return ".venv/bin/python" if "/.venv/bin/" in sys.executable else "python"
