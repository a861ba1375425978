"""``manage.py cloaca_schedules ACTION``: look at schedules, and act on them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from django.core.management.base import CommandParser

from cloaca_django import clock
from cloaca_django.core import moments
from cloaca_django.core.wording import counted
from cloaca_django.dialect import site_session
from cloaca_django.engine import backfill, declarations, forecast, takeover, timetable
from cloaca_django.engine.takeover import Entry, Fate
from cloaca_django.errors import CloacaError, shown
from cloaca_django.management import command, following, schedule_lines
from cloaca_django.management.following import Started
from cloaca_django.models import CronSchedule
from cloaca_django.runner import DefaultRunner

SOURCES = ("django_celery_beat",)
MAX_COUNT = 1000
# How many times a backfill's plan shows at each end.
SHOWN = 5


class Command(following.Command):
    """Arguments and output; ``engine`` does the work."""

    help = "Show schedules, say when they run, change them, run them now or for past times."
    exit_codes = {
        command.DONE: "done; with --wait: the run completed",
        command.USAGE: "bad arguments or settings, or no such schedule; nothing was changed",
        **following.EXIT_CODES,
    }

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

        def action(name: str, help: str, *, takes_schedule: bool = True) -> CommandParser:
            made: CommandParser = actions.add_parser(name, help=help, description=help)
            # As before the action; without a default, so that it does not undo that one.
            made.add_argument("--database", metavar="ALIAS", default=argparse.SUPPRESS)
            if takes_schedule:
                made.add_argument("schedule", help="the schedule's name or id")
            return made

        _add_reading(action)
        _add_changing(action)
        _add_running(action)

    def handle(self, *args: Any, **options: Any) -> None:
        alias = self.alias(options)
        acts: dict[str, Callable[[str, dict[str, Any]], None]] = {
            "list": self._list,
            "preview": self._preview,
            "enable": self._enable,
            "disable": self._disable,
            "delete": self._delete,
            "sync": self._sync,
            "trigger": self._trigger,
            "backfill": self._backfill,
            "import": self._import,
        }
        try:
            acts[options["action"]](alias, options)
        except (CloacaError, TypeError) as error:
            raise command.refused(error) from error

    def _list(self, alias: str, options: dict[str, Any]) -> None:
        command.require_tables(alias)
        found = forecast.read_all(alias)
        if options["format"] == "json":
            self.write_json([forecast.data_of(view) for view in found])
        elif found:
            self._say(schedule_lines.table(found))
        else:
            self.stdout.write("There is no schedule")

    def _preview(self, alias: str, options: dict[str, Any]) -> None:
        count, word, zone = options["count"], options["schedule"], options["timezone"]
        if not 1 <= count <= MAX_COUNT:
            raise command.refused(f"--count must be from 1 to {MAX_COUNT}")
        if zone is not None or _is_expression(word):
            now = clock.utc_now()
            found = forecast.of_expression(word, zone or "UTC", now=now, count=count)
        else:
            command.require_tables(alias)
            row, now = forecast.find(alias, word), site_session(alias).clock()
            found = forecast.of_schedule(row, now=now, count=count)
        if options["format"] == "json":
            self.write_json(schedule_lines.preview_data(found))
        else:
            self._say(schedule_lines.preview(found))

    def _enable(self, alias: str, options: dict[str, Any]) -> None:
        row = timetable.set_enabled(
            alias, self._found(alias, options).pk, enabled=True, by=command.user()
        )
        self.stdout.write(f"{row} is enabled{self._next(alias, row)}")

    def _disable(self, alias: str, options: dict[str, Any]) -> None:
        row = timetable.set_enabled(
            alias,
            self._found(alias, options).pk,
            enabled=False,
            by=command.user(),
            reason=options["reason"],
        )
        self.stdout.write(f"{row} is disabled; what it misses is not made up for")

    def _delete(self, alias: str, options: dict[str, Any]) -> None:
        row = self._found(alias, options)
        timetable.delete(alias, row.pk)
        self.stdout.write(f"{row} is deleted, with its history; its runs stay")
        if row.name in declarations.declared_schedules():
            self._warn("Code declares it: the next sync makes it again. Disable it instead.")

    def _sync(self, alias: str, options: dict[str, Any]) -> None:
        command.require_tables(alias)
        done = declarations.sync(alias, reset=options["reset"], prune=options["prune"])
        for one in done:
            self.stdout.write(f"{one.name} ({one.workflow_name}): {one.action.value}")
        if not done:
            self.stdout.write("No code declares a schedule")

    def _trigger(self, alias: str, options: dict[str, Any]) -> None:
        self.check_timeout(options)
        row = self._found(alias, options)
        with DefaultRunner(using=alias) as runner:
            by, reason = command.user(), options["reason"]
            handle = runner.trigger_cron_schedule(row.pk, by=by, reason=reason)
            self.report(Started(alias, handle, row.workflow_name, row.queue), options)

    def _backfill(self, alias: str, options: dict[str, Any]) -> None:
        start = moments.read_moment(options["start"], "--from")
        end = moments.read_moment(options["end"], "--to")
        row = self._found(alias, options)
        if options["dry_run"]:
            times = backfill.open_times(alias, site_session(alias), row, start=start, end=end)
            self._say(_plan_lines(row, times))
            return
        with DefaultRunner(using=alias) as runner:
            made = runner.backfill(row.pk, start, end, by=command.user())
        self.stdout.write(f"Submitted {counted(len(made), 'run')} of {row}")

    def _import(self, alias: str, options: dict[str, Any]) -> None:
        workflows = _mapping(options["map"] or ())
        command.require_tables(alias)
        found = takeover.plan(alias, workflows=workflows)
        if not options["dry_run"]:
            takeover.carry_out(alias, found)
        if options["format"] == "json":
            self.write_json([schedule_lines.entry_data(one) for one in found])
        else:
            for one in found:
                self._say(schedule_lines.entry(one))
            self.stdout.write(_summary(found, is_done=not options["dry_run"]))
        both = [one.name for one in found if one.is_enabled and one.fate is not Fate.REFUSED]
        if both and not options["dry_run"]:
            self._warn("They run twice while beat runs them too. Disable there: " + ", ".join(both))

    def _found(self, alias: str, options: dict[str, Any]) -> CronSchedule:
        command.require_tables(alias)
        return forecast.find(alias, options["schedule"])

    def _next(self, alias: str, row: CronSchedule) -> str:
        view = forecast.view_of(forecast.find(alias, str(row.pk)))
        if view.next_run_at is None:
            return "; it has no further time"
        return f"; it runs next at {schedule_lines.moment(view.next_run_at, view.zone)}"

    def _say(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.stdout.write(line)

    def _warn(self, text: str) -> None:
        self.stderr.write(self.style.WARNING(text))


def _add_reading(action: Callable[..., CommandParser]) -> None:
    made = action("list", "show all schedules", takes_schedule=False)
    made.add_argument("--format", choices=command.FORMATS, default="text")
    made = action("preview", "say when a schedule or an expression runs next", takes_schedule=False)
    made.add_argument("schedule", metavar="expression", help="an expression, a name or an id")
    made.add_argument(
        "--timezone", metavar="ZONE", help="the zone of an expression; UTC if not given"
    )
    made.add_argument(
        "--count", type=int, default=5, metavar="N", help="how many times (%(default)s)"
    )
    made.add_argument("--format", choices=command.FORMATS, default="text")


def _add_changing(action: Callable[..., CommandParser]) -> None:
    action("enable", "let a schedule run again, from now on")
    made = action("disable", "let a schedule run no more")
    made.add_argument("--reason", default="", metavar="TEXT", help="why; kept with it")
    action("delete", "delete a schedule and its history")
    made = action("sync", "bring declared schedules into the database", takes_schedule=False)
    made.add_argument(
        "--reset", action="store_true", help="undo what was edited by hand in declared schedules"
    )
    made.add_argument(
        "--prune", action="store_true", help="disable those that no code declares any more"
    )
    made = action("import", "take over the schedules of another package", takes_schedule=False)
    made.add_argument("--from", dest="source", choices=SOURCES, required=True)
    made.add_argument("--dry-run", action="store_true", help="show the plan, and write nothing")
    made.add_argument(
        "--map",
        action="append",
        metavar="TASK=WORKFLOW",
        help="the workflow that stands for a task; may be repeated",
    )
    made.add_argument("--format", choices=command.FORMATS, default="text")


def _add_running(action: Callable[..., CommandParser]) -> None:
    made = action("trigger", "run a schedule's workflow now")
    made.add_argument("--reason", default="", metavar="TEXT", help="why; kept with the run")
    made.add_argument("--wait", action="store_true", help="wait for the end of the run")
    made.add_argument("--timeout", type=float, metavar="SECONDS", help="wait no longer than this")
    made.add_argument("--format", choices=command.FORMATS, default="text")
    made = action("backfill", "run a schedule's workflow for past times that have no run")
    moment = "ISO 8601, included; the site's local time without an offset"
    made.add_argument("--from", dest="start", required=True, metavar="TIME", help=moment)
    made.add_argument("--to", dest="end", required=True, metavar="TIME", help=moment)
    made.add_argument("--dry-run", action="store_true", help="show the times, and start nothing")


def _is_expression(word: str) -> bool:
    """Whether somebody means an expression and no name, be it a wrong one."""
    return word.startswith("@") or "*" in word or len(word.split()) >= 5


def _plan_lines(row: CronSchedule, times: Sequence[datetime]) -> Iterable[str]:
    yield f"Would submit {counted(len(times), 'run')} of {row}"
    zone = forecast.view_of(row).zone
    hidden = len(times) - 2 * SHOWN
    for at, time in enumerate(times):
        if hidden <= 0 or at < SHOWN or at >= SHOWN + hidden:
            yield f"  {schedule_lines.moment(time, zone)}"
        elif at == SHOWN:
            yield f"  ... {hidden} more ..."


def _mapping(pairs: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        task, _, workflow = pair.partition("=")
        if not task or not workflow:
            raise command.refused(f"--map {shown(pair)} must be TASK=WORKFLOW")
        if task in found:
            raise command.refused(f"--map names {shown(task)} twice")
        found[task] = workflow
    return found


def _summary(entries: Sequence[Entry], *, is_done: bool) -> str:
    taken, there, refused = (
        sum(one.fate is fate for one in entries) for fate in (Fate.TAKEN, Fate.THERE, Fate.REFUSED)
    )
    first = "Took over" if is_done else "Would take over"
    return f"{first} {counted(taken, 'schedule')}; {there} there already, {refused} not taken over"
