"""``manage.py cloaca_status``: what runs, what waits, and who works."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser

from cloaca_django.core.wording import counted, span
from cloaca_django.engine import overview
from cloaca_django.engine.overview import Lane, Overview, WorkerView
from cloaca_django.management import command


class Command(command.Command):
    """Prints an overview."""

    help = "Show how many runs and tasks are in which state, the workers, and what is stuck."

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
    }
