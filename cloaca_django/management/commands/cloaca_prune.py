"""``manage.py cloaca_prune``: delete runs that ended long ago."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandParser

from cloaca_django.conf import settings
from cloaca_django.core.states import RUN_FINAL
from cloaca_django.core.wording import counted
from cloaca_django.dialect import open_session
from cloaca_django.engine.retention import BATCH, Pruner
from cloaca_django.management import command

STATUSES = {status.lower(): status for status in sorted(RUN_FINAL)}


class Command(command.Command):
    """Deletes old runs in batches."""

    help = (
        "Delete runs that ended a while ago, with their tasks, attempts and logs. Open runs are"
        " never touched. Workers do the same by themselves, as CLOACA['RETENTION_DAYS'] says."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--older-than",
            type=float,
            metavar="DAYS",
            help="delete what ended more than DAYS ago; CLOACA['RETENTION_DAYS'] if not given",
        )
        parser.add_argument(
            "--status",
            action="append",
            choices=list(STATUSES),
            help="only runs that ended so; may be repeated; all if not given",
        )
        parser.add_argument(
            "--batch-size",
            type=int,
            default=BATCH,
            metavar="RUNS",
            help="how many runs go in one transaction (%(default)s)",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="count what would go, and delete nothing"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        alias = self.alias(options)
        pruner = Pruner(
            days=_days(options["older_than"]),
            statuses=_statuses(options["status"]),
            batch_size=_batch_size(options["batch_size"]),
        )
        command.require_tables(alias)
        session = open_session(alias)
        try:
            if options["dry_run"]:
                counts = pruner.count(session)
                parts = [f"{n} {status}" for status, n in sorted(counts.items())]
                parts += _without_run(pruner.count_fires(session))
                self.stdout.write(f"Would delete {', '.join(parts) or 'nothing'}")
                return
            runs = tasks = fires = 0
            while (step := pruner.step(session)) is not None:
                runs, tasks, fires = runs + step.runs, tasks + step.tasks, fires + step.fires
                if options["verbosity"] > 1:
                    self.stdout.write(f"... {counted(runs, 'run')}")
            parts = [f"{counted(runs, 'run')} with {counted(tasks, 'task')}", *_without_run(fires)]
            self.stdout.write(f"Deleted {', '.join(parts)}")
        finally:
            session.close()


def _without_run(fires: int) -> list[str]:
    """Return what is said of times that schedules passed over: nothing if there are none."""
    return [f"{counted(fires, 'fire')} without a run"] if fires else []


def _days(given: float | None) -> float:
    days = settings.RETENTION_DAYS if given is None else given
    if days is None:
        raise command.refused("--older-than is needed: CLOACA['RETENTION_DAYS'] is None")
    if not 0 <= days <= 36_500:
        raise command.refused("--older-than must be a number of days from 0 to 36500")
    return days


def _statuses(given: Sequence[str] | None) -> list[str]:
    unknown = [status for status in given or () if status not in STATUSES]
    if unknown:
        raise command.refused(f"--status must be one of {', '.join(STATUSES)}, not {unknown[0]!r}")
    return [STATUSES[status] for status in given or STATUSES]


def _batch_size(given: int) -> int:
    if not 1 <= given <= 10_000:
        raise command.refused("--batch-size must be from 1 to 10000")
    return given
