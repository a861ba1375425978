"""``manage.py cloaca_status``: what runs, what waits, and who works."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser

from cloaca_django.core.wording import counted, span
from cloaca_django.engine import overview
from cloaca_django.engine.overview import Lane, Overview, Timetable, WorkerView
from cloaca_django.management import command

# A worker fires within a moment; who is this late has none.
LATE_SECONDS = 60.0


class Command(command.Command):
    """Prints an overview."""

    help = (
        "Show how many runs and tasks are in which state, the workers, what is stuck, and how"
        " schedules stand."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--format", choices=command.FORMATS, default="text", help="text")

    def handle(self, *args: Any, **options: Any) -> None:
        alias = self.alias(options)
        command.require_tables(alias)
        found = overview.read(alias)
        if options["format"] == "json":
            self.write_json(_as_data(found))
            return
        for line in self._lines(found):
            self.stdout.write(line)

    def _lines(self, found: Overview) -> Iterator[str]:
        yield f"Runs     {_by_state(found.runs)}"
        yield f"Tasks    {_by_state(found.tasks)}"
        if not any(worker.is_claiming for worker in found.workers):
            yield self.style.WARNING("Workers  none is alive; start one: manage.py cloaca_worker")
        else:
            yield f"Workers  {len(found.workers)}"
        yield from map(_worker_line, found.workers)
        ready = sum(lane.count for lane in found.lanes)
        if ready and found.oldest_ready_seconds is not None:
            waits = span(found.oldest_ready_seconds)
            yield f"Ready    {counted(ready, 'ready task')}, the first since {waits}"
        for lane in found.stuck:
            yield self.style.ERROR(_stuck_line(lane))
        if found.paused:
            yield f"Paused   {', '.join(found.paused)}"
        yield from self._schedule_lines(found.schedules)

    def _schedule_lines(self, found: Timetable) -> Iterator[str]:
        if found.enabled or found.disabled:
            yield _cron_line(found)
        if found.late_seconds is not None and found.late_seconds > LATE_SECONDS:
            yield self.style.ERROR(
                f"Late     {found.next_name!r} since {span(found.late_seconds)}: no worker fires it"
            )
        for name, error in found.first_parked:
            yield self.style.ERROR(f"Parked   {name!r}: {error}")
        if found.parked > len(found.first_parked):
            yield f"         and {found.parked - len(found.first_parked)} more"


def _by_state(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"


def _worker_line(worker: WorkerView) -> str:
    return (
        f"  {worker.host}:{worker.pid}  {worker.kind}, {worker.state.lower()},"
        f" {worker.running} of {worker.concurrency} slots busy,"
        f" heard of {span(worker.heartbeat_age)} ago, queues {', '.join(worker.queues)}"
    )


def _stuck_line(lane: Lane) -> str:
    return (
        f"Stuck    {counted(lane.count, 'ready task')} of {lane.workflow!r}"
        f" in queue {lane.queue!r}, since {span(lane.oldest_seconds)}: no live worker serves it"
    )


def _cron_line(found: Timetable) -> str:
    line = f"Cron     {counted(found.enabled, 'schedule')} enabled, {found.disabled} disabled"
    if found.next_seconds is None:
        return f"{line}; none is to run"
    when = "now" if found.next_seconds <= 0 else f"in {span(found.next_seconds)}"
    return f"{line}; next {found.next_name!r} {when}"


def _as_data(found: Overview) -> dict[str, Any]:
    return {
        "at": found.at.isoformat(),
        "runs": found.runs,
        "tasks": found.tasks,
        "workers": [asdict(worker) for worker in found.workers],
        "ready": [asdict(lane) for lane in found.lanes],
        "oldest_ready_seconds": found.oldest_ready_seconds,
        "stuck": [asdict(lane) for lane in found.stuck],
        "paused": found.paused,
        "schedules": asdict(found.schedules) | {"late_seconds": found.schedules.late_seconds},
    }
