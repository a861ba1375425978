"""Following a run on a command line until its end, for the commands that start one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from cloaca_django.core import redaction
from cloaca_django.core.result import PipelineResult
from cloaca_django.core.states import RunStatus
from cloaca_django.core.wording import span
from cloaca_django.engine import overview
from cloaca_django.errors import RunNotFound
from cloaca_django.handles import RunHandle
from cloaca_django.management import command
from cloaca_django.management.progress import PlainView, SilentView, View, live_view
from cloaca_django.management.waiting import Interrupted, TimeIsUp, Wait

MAX_LINES = 40
# What a command that follows runs may end with, besides USAGE.
EXIT_CODES = {
    command.FAILED: "the run failed or was cancelled",
    command.TIMED_OUT: "the run had not ended after --timeout; it goes on",
    command.INTERRUPTED: "interrupted while waiting; the run goes on",
}


@dataclass(frozen=True, slots=True)
class Started:
    """A run that a command has just submitted."""

    alias: str
    handle: RunHandle
    workflow: str
    queue: str

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        return {
            "id": str(self.handle.id),
            "workflow": self.workflow,
            "status": self.handle.status,
        }


class Command(command.Command):
    """A command whose options are ``wait``, ``timeout``, ``format`` and Django's."""

    def check_timeout(self, options: dict[str, Any]) -> None:
        """Refuse a --timeout that means nothing."""
        timeout = options["timeout"]
        if timeout is not None and not options["wait"]:
            raise command.refused("--timeout goes with --wait")
        if timeout is not None and not timeout > 0:
            raise command.refused("--timeout must be above 0")

    def report(self, started: Started, options: dict[str, Any]) -> None:
        """Say that a run is submitted, or follow it if that is asked."""
        if options["wait"]:
            self._follow(started, options)
            return
        name, queue = started.workflow, started.queue
        if options["format"] == "json":
            self.write_json(started.as_data())
        else:
            self.stdout.write(f"Run {started.handle.id} of {name!r} is submitted")
        if not overview.has_claimer(started.alias, queue=queue, workflow=name):
            self.stderr.write(
                self.style.WARNING(
                    f"No live worker serves {name!r} in queue {queue!r}; the run waits for one:"
                    " manage.py cloaca_worker"
                )
            )

    def _follow(self, started: Started, options: dict[str, Any]) -> None:
        view = self._view(started, options)
        handle = started.handle
        wait = Wait(started.alias, handle.id, workflow=started.workflow, queue=started.queue)
        try:
            with command.signals_to(wait.interrupt), view:
                wait.until_end(view, timeout=options["timeout"])
        except TimeIsUp:
            self._report_open(started, options, f"has not ended after {options['timeout']:g} s")
            raise SystemExit(command.TIMED_OUT) from None
        except Interrupted:
            self._report_open(started, options, "is not waited for any longer")
            raise SystemExit(command.INTERRUPTED) from None
        except RunNotFound as error:
            raise command.refused(error, command.FAILED) from error
        result = handle.result()
        self._report_result(result, options)
        if result.status != RunStatus.COMPLETED:
            raise SystemExit(command.FAILED)

    def _view(self, started: Started, options: dict[str, Any]) -> View:
        if options["format"] == "json":
            return SilentView(self.stderr)
        title = f"Run {started.handle.id} of {started.workflow!r}"
        if self.stdout.isatty():
            view = live_view(self.stdout, title=title, no_color=options["no_color"])
            if view is not None:
                return view
        self.stdout.write(title)
        return PlainView(self.stdout)

    def _report_open(self, started: Started, options: dict[str, Any], problem: str) -> None:
        if options["format"] == "json":
            self.write_json(started.as_data())
        self.stderr.write(self.style.WARNING(f"Run {started.handle.id} {problem}; it goes on"))

    def _report_result(self, result: PipelineResult, options: dict[str, Any]) -> None:
        if options["format"] == "json":
            self.write_json(_as_data(result))
            return
        ended = f"{result.status} in {span(result.duration or 0.0)}"
        if result.status == RunStatus.COMPLETED:
            self.stdout.write(self.style.SUCCESS(ended))
        else:
            self.stdout.write(self.style.ERROR(f"{ended}: {result.error_message}"))
        shown = json.dumps(
            redaction.redacted(result.final_context.to_dict()), indent=2, ensure_ascii=False
        )
        lines = shown.splitlines()
        for line in lines[:MAX_LINES]:
            self.stdout.write(line)
        if len(lines) > MAX_LINES:
            self.stdout.write(f"... {len(lines) - MAX_LINES} more lines; --format json has all")


def _as_data(result: PipelineResult) -> dict[str, Any]:
    return {
        "id": result.execution_id,
        "workflow": result.workflow_name,
        "status": result.status,
        "error_message": result.error_message,
        "start_time": result.start_time,
        "end_time": result.end_time,
        "duration": result.duration,
        "tasks": [
            {"name": t.name, "status": t.status, "attempts": t.attempts, "error": t.error}
            for t in result.task_results
        ],
        "final_context": result.final_context.to_dict(),
    }
