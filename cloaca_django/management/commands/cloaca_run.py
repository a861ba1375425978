"""``manage.py cloaca_run WORKFLOW``: submit a run, and wait for it if asked to."""

from __future__ import annotations

import getpass
import json
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from cloaca_django.core import redaction, registry
from cloaca_django.core.context import Context
from cloaca_django.core.result import PipelineResult
from cloaca_django.core.states import Origin, RunStatus
from cloaca_django.core.wording import span
from cloaca_django.engine import inputs, overview
from cloaca_django.errors import CloacaError, RunNotFound
from cloaca_django.handles import RunHandle
from cloaca_django.management import command
from cloaca_django.management.progress import PlainView, SilentView, View, live_view
from cloaca_django.management.waiting import Interrupted, TimeIsUp, Wait
from cloaca_django.runner import DefaultRunner

MAX_LINES = 40


class Command(command.Command):
    """Submits a run. With --wait it shows what happens and ends as the run does."""

    help = (
        "Submit a run of a workflow. With --wait, wait for its end; if no live worker serves the"
        " workflow, this process runs it itself."
    )
    exit_codes = {
        command.DONE: "submitted; with --wait: the run completed",
        command.FAILED: "the run failed or was cancelled",
        command.USAGE: "bad arguments, settings or inputs; nothing was submitted",
        command.TIMED_OUT: "the run had not ended after --timeout; it goes on",
        command.INTERRUPTED: "interrupted while waiting; the run goes on",
    }

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add = parser.add_argument
        add("workflow", help="the workflow's name")
        add("--context", metavar="JSON", help="the inputs, a JSON object; {} if not given")
        add(
            "--context-file",
            metavar="PATH",
            help="read the inputs from a file; - is standard input",
        )
        add("--priority", type=int, default=0, help="higher runs go first (%(default)s)")
        add("--queue", "-q", default="default", metavar="NAME", help="the queue (%(default)s)")
        add(
            "--idempotency-key", metavar="KEY",
            help="a run that holds this key is taken instead of a new one",
        )  # fmt: skip
        add("--wait", action="store_true", help="wait for the end of the run")
        add("--timeout", type=float, metavar="SECONDS", help="wait no longer than this")
        add("--format", choices=command.FORMATS, default="text", help="text")

    def handle(self, *args: Any, **options: Any) -> None:
        alias = self.alias(options)
        context = _checked_inputs(options)
        command.require_tables(alias)
        with DefaultRunner(using=alias) as runner:
            handle = _submitted(runner, context, options)
            if options["wait"]:
                self._wait(alias, handle, options)
            else:
                self._report_submitted(alias, handle, options)

    def _report_submitted(self, alias: str, handle: RunHandle, options: dict[str, Any]) -> None:
        name, queue = options["workflow"], options["queue"]
        if options["format"] == "json":
            self.write_json({"id": str(handle.id), "workflow": name, "status": handle.status})
        else:
            self.stdout.write(f"Run {handle.id} of {name!r} is submitted")
        if not overview.has_claimer(alias, queue=queue, workflow=name):
            self.stderr.write(
                self.style.WARNING(
                    f"No live worker serves {name!r} in queue {queue!r}; the run waits for one:"
                    " manage.py cloaca_worker"
                )
            )

    def _wait(self, alias: str, handle: RunHandle, options: dict[str, Any]) -> None:
        view = self._view(handle, options)
        wait = Wait(alias, handle.id, workflow=options["workflow"], queue=options["queue"])
        try:
            with command.signals_to(wait.interrupt), view:
                wait.until_end(view, timeout=options["timeout"])
        except TimeIsUp:
            self._report_open(handle, options, f"has not ended after {options['timeout']:g} s")
            raise SystemExit(command.TIMED_OUT) from None
        except Interrupted:
            self._report_open(handle, options, "is not waited for any longer")
            raise SystemExit(command.INTERRUPTED) from None
        except RunNotFound as error:
            raise command.refused(error, command.FAILED) from error
        result = handle.result()
        self._report_result(result, options)
        if result.status != RunStatus.COMPLETED:
            raise SystemExit(command.FAILED)

    def _view(self, handle: RunHandle, options: dict[str, Any]) -> View:
        if options["format"] == "json":
            return SilentView(self.stderr)
        title = f"Run {handle.id} of {options['workflow']!r}"
        if self.stdout.isatty():
            view = live_view(self.stdout, title=title, no_color=options["no_color"])
            if view is not None:
                return view
        self.stdout.write(title)
        return PlainView(self.stdout)

    def _report_open(self, handle: RunHandle, options: dict[str, Any], problem: str) -> None:
        if options["format"] == "json":
            self.write_json(
                {"id": str(handle.id), "workflow": options["workflow"], "status": handle.status}
            )
        self.stderr.write(self.style.WARNING(f"Run {handle.id} {problem}; it goes on"))

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


def _checked_inputs(options: dict[str, Any]) -> Context:
    """Return the run's context, after checking everything that needs no database."""
    timeout = options["timeout"]
    if timeout is not None and not options["wait"]:
        raise command.refused("--timeout goes with --wait")
    if timeout is not None and not timeout > 0:
        raise command.refused("--timeout must be above 0")
    try:
        registry.find(options["workflow"])
        inputs.run_options("cloaca_run", _facts(options))
        return _context(options["context"], options["context_file"])
    except (CloacaError, TypeError) as error:
        raise command.refused(error) from error


def _context(text: str | None, path: str | None) -> Context:
    if text is not None and path is not None:
        raise command.refused("--context and --context-file exclude each other")
    if path is not None:
        try:
            text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise command.refused(f"--context-file {path}: {error}") from error
    return Context.from_json("{}" if text is None else text)


def _facts(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("priority", "queue", "idempotency_key")}


def _submitted(runner: DefaultRunner, context: Context, options: dict[str, Any]) -> RunHandle:
    try:
        # Not enqueue(): who asks is not for callers to say.
        facts = runner._options(origin=Origin.COMMAND, created_by=_user(), **_facts(options))
        return runner._enqueued(options["workflow"], [context], facts)[0]
    except CloacaError as error:
        raise command.refused(error) from error


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # A container's user id need not have a name.
        return ""


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
