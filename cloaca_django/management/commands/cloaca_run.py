"""``manage.py cloaca_run WORKFLOW``: submit a run, and wait for it if asked to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from cloaca_django.core import registry
from cloaca_django.core.context import Context
from cloaca_django.core.states import Origin
from cloaca_django.engine import inputs
from cloaca_django.errors import CloacaError
from cloaca_django.handles import RunHandle
from cloaca_django.management import command, following
from cloaca_django.management.following import Started
from cloaca_django.runner import DefaultRunner


class Command(following.Command):
    """Submits a run. With --wait it shows what happens and ends as the run does."""

    help = (
        "Submit a run of a workflow. With --wait, wait for its end; if no live worker serves the"
        " workflow, this process runs it itself."
    )
    exit_codes = {
        command.DONE: "submitted; with --wait: the run completed",
        command.USAGE: "bad arguments, settings or inputs; nothing was submitted",
        **following.EXIT_CODES,
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
        self.check_timeout(options)
        context = _checked_inputs(options)
        command.require_tables(alias)
        with DefaultRunner(using=alias) as runner:
            handle = _submitted(runner, context, options)
            self.report(Started(alias, handle, options["workflow"], options["queue"]), options)


def _checked_inputs(options: dict[str, Any]) -> Context:
    """Return the run's context, after checking everything that needs no database."""
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
        facts = runner._options(origin=Origin.COMMAND, created_by=command.user(), **_facts(options))
        return runner._enqueued(options["workflow"], [context], facts)[0]
    except CloacaError as error:
        raise command.refused(error) from error
