"""What our commands have in common: the database option, exit codes, and refusals before work."""

from __future__ import annotations

import json
import signal
import threading
from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core import checks
from django.core.management.base import (
    BaseCommand,
    CommandError,
    CommandParser,
    DjangoHelpFormatter,
)
from django.db import DatabaseError, connections

from cloaca_django import databases
from cloaca_django.conf import settings
from cloaca_django.errors import NotMigrated

DONE = 0
FAILED = 1
USAGE = 2
NOT_MIGRATED = 3
# sysexits' EX_TEMPFAIL: nothing is wrong with the command, try again.
TRY_AGAIN = 75
TIMED_OUT = 124
INTERRUPTED = 130

FORMATS = ("text", "json")

_MEANINGS = {
    USAGE: "bad arguments or settings; nothing was connected to",
    NOT_MIGRATED: "migrations are not applied",
    TRY_AGAIN: "the database cannot be reached",
}


class _HelpFormatter(RawDescriptionHelpFormatter, DjangoHelpFormatter):
    """Keeps the lines of the exit codes apart."""


class Command(BaseCommand):
    """The ground of our commands. ``exit_codes`` says what each code means here."""

    # Ours run below, before anything connects; the site's others are not this command's business.
    requires_system_checks = ()
    exit_codes: dict[int, str] = {DONE: "done"}

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        codes = sorted({**_MEANINGS, **self.exit_codes}.items())
        lines = "\n".join(f"  {code:<4}{meaning}" for code, meaning in codes)
        kwargs.setdefault("epilog", f"exit codes:\n{lines}")
        kwargs.setdefault("formatter_class", _HelpFormatter)
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--database",
            metavar="ALIAS",
            help='the alias of the database; CLOACA["DATABASE"] if not given',
        )

    def alias(self, options: dict[str, Any], *, warns: bool = False) -> str:
        """Return the alias to work on. Refuses bad settings and unknown aliases."""
        found = checks.run_checks(tags=["cloaca"])
        loud = [message for message in found if not message.is_silenced()]
        serious = [str(message) for message in loud if message.is_serious()]
        if serious:
            raise refused("the settings are wrong:\n" + "\n".join(serious))
        for message in loud if warns else ():
            self.stderr.write(self.style.WARNING(str(message)))
        alias = options["database"] or settings.DATABASE
        if alias not in connections:
            known = ", ".join(sorted(connections))
            raise refused(f"--database {alias!r} is not in DATABASES, which has: {known}")
        return str(alias)

    def write_json(self, data: object) -> None:
        """Print one JSON document."""
        self.stdout.write(json.dumps(data, indent=2, ensure_ascii=False, default=str))


def refused(problem: object, code: int = USAGE) -> CommandError:
    """Return the refusal to do what was asked."""
    return CommandError(str(problem), returncode=code)


def require_tables(alias: str) -> None:
    """Refuse a database that cannot be reached or lacks migrations, each with its exit code."""
    try:
        databases.require_tables(alias)
    except NotMigrated as error:
        raise refused(error, NOT_MIGRATED) from error
    except DatabaseError as error:
        raise unreachable(alias, error) from error


def unreachable(alias: str, error: BaseException) -> CommandError:
    """Return the refusal of a database that does not answer."""
    return refused(
        f"database {alias!r} cannot be reached: {databases.first_line(error)}", TRY_AGAIN
    )


@contextmanager
def signals_to(interrupt: Callable[[], None]) -> Iterator[None]:
    """Let SIGTERM and SIGINT call ``interrupt`` while the block runs."""
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may; whoever calls the command elsewhere has signals of its own.
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: interrupt()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
