"""``manage.py cloaca_health``: an exit code for probes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser

from cloaca_django import health, tenancy
from cloaca_django.health import Finding
from cloaca_django.management import command


class Command(command.Command):
    """Runs the probes and exits 0 when all of them are content."""

    help = (
        "Check that the database answers, its tables are up to date, a worker is alive, no ready"
        " task waits too long, and no schedule is parked or late."
    )
    needs_tenant = False
    exit_codes = {
        command.DONE: "healthy",
        command.FAILED: "at least one probe failed, also when the database cannot be reached or"
        " lacks migrations",
        command.NOT_MIGRATED: "not used here",
        command.TRY_AGAIN: "not used here",
    }

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--format", choices=command.FORMATS, default="text", help="text")
        parser.add_argument(
            "--probe",
            action="append",
            choices=list(health.PROBES),
            help="run this probe only; may be repeated; all if not given",
        )
        parser.add_argument(
            "--max-late",
            type=float,
            default=health.MAX_LATE_SECONDS,
            metavar="SECONDS",
            help="how late a schedule may be (%(default)g)",
        )
        parser.add_argument(
            "--max-ready-age",
            type=float,
            default=health.MAX_READY_SECONDS,
            metavar="SECONDS",
            help="how long a ready task may wait for a worker (%(default)g)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        alias = self.alias(options)
        for name in ("max_ready_age", "max_late"):
            if not options[name] > 0:
                raise command.refused(f"--{name.replace('_', '-')} must be above 0")
        limits = {
            "probes": options["probe"] or list(health.PROBES),
            "max_ready_seconds": options["max_ready_age"],
            "max_late_seconds": options["max_late"],
        }
        if self.is_in_no_tenant(alias):
            findings = health.check_tenants(alias, tenancy.tenant_schemas(alias), **limits)
        else:
            findings = health.check(alias, **limits)
        is_healthy = all(found.is_healthy for found in findings)
        if options["format"] == "json":
            self.write_json({"healthy": is_healthy, "probes": [asdict(f) for f in findings]})
        else:
            for found in findings:
                self.stdout.write(self._line(found))
        if not is_healthy:
            raise SystemExit(command.FAILED)

    def _line(self, found: Finding) -> str:
        if found.is_healthy:
            return f"{self.style.SUCCESS('ok')}      {found.probe}: {found.says}"
        if found.is_healthy is None:
            return f"--      {found.probe}: {found.says}"
        return f"{self.style.ERROR('FAILED')}  {found.probe}: {found.says}"
