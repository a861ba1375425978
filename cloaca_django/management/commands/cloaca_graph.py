"""``manage.py cloaca_graph``: draw a workflow, or a run with its states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandParser

from cloaca_django.core import drawing, registry
from cloaca_django.core.drawing import Picture
from cloaca_django.engine import pictures
from cloaca_django.errors import CloacaError
from cloaca_django.management import command

FORMATS: dict[str, Callable[[Picture], str]] = {
    "text": drawing.to_text,
    "dot": drawing.to_dot,
    "mermaid": drawing.to_mermaid,
    "svg": drawing.to_svg,
}


class Command(command.Command):
    """Prints a graph. Without --version and --run it needs no database."""

    help = (
        "Draw a workflow's graph on standard output. With --run it is the graph of that run, as"
        " it was when the run began, with the state of each task."
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        # Django gives every command a --version that prints Django's own; ours means the graph's.
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("workflow", nargs="?", help="the workflow's name")
        parser.add_argument("--format", choices=list(FORMATS), default="text", help="text")
        parser.add_argument(
            "--version",
            metavar="VERSION",
            help="a stored version, or the start of one, instead of the code of now",
        )
        parser.add_argument("--run", metavar="ID", help="draw this run")

    def handle(self, *args: Any, **options: Any) -> None:
        picture = self._picture(options)
        self.stdout.write(FORMATS[options["format"]](picture), ending="")

    def _picture(self, options: dict[str, Any]) -> Picture:
        name, version, run = options["workflow"], options["version"], options["run"]
        if bool(name) == bool(run):
            raise command.refused("give the name of a workflow, or --run and a run's id")
        if run and version:
            raise command.refused("a run has its own version: --run goes without --version")
        try:
            if not run and not version:
                found = registry.find(name)
                return drawing.of_definition(found.name, found.version, found.graph_text())
            alias = self.alias(options)
            command.require_tables(alias)
            if run:
                return pictures.of_run(alias, run)
            return pictures.of_version(alias, name, version)
        except CloacaError as error:
            raise command.refused(error) from error
