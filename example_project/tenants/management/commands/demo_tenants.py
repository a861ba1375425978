"""Two tenants at work, and where to look next: the second half of ``make demo-tenants``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import CommandError
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
PATIENCE = 60.0

NEXT = """
Look next, with DJANGO_SETTINGS_MODULE=example_project.tenant_settings in the environment:
  {python} manage.py runserver           then http://localhost:8000/ and from there to a tenant;
                                         each has an admin of its own: {login}, password {login}
  {python} manage.py cloaca_worker       one worker for all; upload a CSV file on a tenant's page
  {python} manage.py cloaca_status --schema acme
  {python} manage.py cloaca_schedules --schema globex list
"""


class Command(BaseCommand):
    """No options: it does one thing."""

    help = "Make two tenants, run workflows in each by one worker, and print what each has then."

    def handle(self, *args: Any, **options: Any) -> None:
        tenants = {_tenant(schema, name): year for schema, name, year in TENANTS}
        runs = list(cloaca.for_each_tenant("seattle_weather", cloaca.Context()).values())
        uploads = {}
        for tenant, year in tenants.items():
            with tenant_context(tenant):
                upload = take_upload(f"{tenant.schema_name}-{year}.csv", _days_of(year))
                runs.append(cloaca.DefaultRunner().handle(str(upload.run_id)))
            uploads[tenant] = upload
        with _one_worker():
            results = [run.wait(PATIENCE) for run in runs]
        if failed := [result for result in results if result.status != "Completed"]:
            raise CommandError(f"a run did not complete: {failed[0].error_message}")
        for tenant, upload in uploads.items():
            with tenant_context(tenant):
                self.stdout.write(_what_it_has(tenant, upload))
        self.stdout.write(NEXT.format(python=_python(), login=LOGIN))


@contextmanager
def _one_worker() -> Iterator[None]:
    """Run a worker beside this process, as a site does, and stop it as systemd would."""
    command = [sys.executable, sys.argv[0], "cloaca_worker", "--no-reload"]
    worker = subprocess.Popen(command)  # noqa: S603 - no word of it comes from outside
    try:
        yield
    finally:
        worker.terminate()
        worker.wait(PATIENCE)


def _tenant(schema: str, name: str) -> Tenant:
    """Return a tenant with a host and somebody who may log in; made on first use."""
    tenant: Tenant | None = Tenant.objects.filter(schema_name=schema).first()
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


def _what_it_has(tenant: Tenant, upload: Upload) -> str:
    own = Observation.objects.filter(station__code=f"upload-{upload.pk}").count()
    schedules = cloaca.DefaultRunner().list_cron_schedules()
    return (
        f"\n{tenant}, http://{tenant.get_primary_domain()}:8000/\n"
        f"  {Observation.objects.count()} days stored, {own} of them from its own {upload.name}\n"
        f"  {Report.objects.count()} reports, the latest: {Report.objects.first()}\n"
        f"  next: {', '.join(map(_due, schedules))}"
    )


def _due(schedule: dict[str, Any]) -> str:
    moment = datetime.fromisoformat(schedule["next_run_at"])
    return f"{schedule['name']} on {localtime(moment):%d %B at %H:%M %Z}"


def _python() -> str:
    """Return how to call this Python again: short when it is the one ``make`` installed."""
    return ".venv/bin/python" if "/.venv/bin/" in sys.executable else "python"
