"""What our commands have in common: the database option, exit codes, and refusals before work."""

from __future__ import annotations

import getpass
import json
import signal
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.core import checks
from django.core.management.base import (
    BaseCommand,
    CommandError,
    CommandParser,
    DjangoHelpFormatter,
)
from django.db import connections

from cloaca_django import databases, tenancy
from cloaca_django.conf import settings
from cloaca_django.dialect import is_transient
from cloaca_django.errors import (
    DatabaseUnreachable,
    NotInTenant,
    NotMigrated,
    TenantNotFound,
    listed,
    shown,
)

DONE = 0
FAILED = 1
USAGE = 2
NOT_MIGRATED = 3
# sysexits' EX_TEMPFAIL: nothing is wrong with the command, try again.
TRY_AGAIN = 75
TIMED_OUT = 124
INTERRUPTED = 130

FORMATS = ("text", "json")

_CODES = "exit codes:"

_MEANINGS = {
    USAGE: "bad arguments or settings; nothing was connected to",
    NOT_MIGRATED: "migrations are not applied",
    TRY_AGAIN: "the database cannot be reached",
}


class _HelpFormatter(DjangoHelpFormatter):
    """Keeps the lines of the exit codes apart."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if not text.startswith(_CODES):
            return super()._fill_text(text, width, indent)
        return "\n".join(
            textwrap.fill(line, width, subsequent_indent=" " * 6) for line in text.splitlines()
        )


class Command(BaseCommand):
    """The ground of our commands. ``exit_codes`` says what each code means here."""

    # Ours run below, before anything connects; the site's others are not this command's business.
    requires_system_checks = ()
    # Whether it works in one tenant of a site that has some.
    is_of_one_tenant = True
    # Whether it must be told in which; one that need not works in all of them.
    needs_tenant = True
    exit_codes: dict[int, str] = {DONE: "done"}

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        codes = sorted({**_MEANINGS, **self.exit_codes}.items())
        lines = "\n".join(f"  {code:<5}{meaning}" for code, meaning in codes)
        kwargs.setdefault("epilog", f"{_CODES}\n{lines}")
        kwargs.setdefault("formatter_class", _HelpFormatter)
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--database",
            metavar="ALIAS",
            help='the alias of the database; CLOACA["DATABASE"] if not given',
        )
        if self.is_of_one_tenant:
            parser.add_argument(
                "--schema",
                metavar="NAME",
                help="the schema of the tenant, in a site that has tenants (django-tenants)",
            )

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            with ExitStack() as self._tenant:
                return super().execute(*args, **options)
        except Exception as error:
            # The engine's own connections raise the driver's errors, the site's Django's.
            if not is_transient(error) and not isinstance(error, DatabaseUnreachable):
                raise
            alias = options["database"] or settings.DATABASE
            raise refused(
                f"database {alias!r} cannot be reached: {databases.first_line(error)}", TRY_AGAIN
            ) from error

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
            known = ", ".join(databases.site_aliases())
            raise refused(f"--database {shown(alias)} is not in DATABASES, which has: {known}")
        if self.is_of_one_tenant:
            self._enter(alias, options["schema"])
        return str(alias)

    def _enter(self, alias: str, schema: str | None) -> None:
        """Be in the tenant that was asked for, or that another command is in, until the end."""
        if not tenancy.has_tenants(alias):
            if schema is not None:
                raise refused("--schema needs a site with tenants (django-tenants)")
            return
        try:
            if schema is not None:
                require_tenant(alias, schema)
                self._tenant.enter_context(tenancy.entered(alias, schema))
            if self.needs_tenant:
                tenancy.schema_here(alias)
        except NotInTenant as error:
            if schema is not None:
                raise refused(error, NOT_MIGRATED) from error
            known = listed(tenancy.tenant_schemas(alias), limit=8)
            raise refused(f"--schema is needed: this site has tenants ({known})") from error

    def is_in_no_tenant(self, alias: str) -> bool:
        """Say whether the site has tenants and this command is in none of them."""
        return tenancy.has_tenants(alias) and tenancy.is_public(alias)

    def write_json(self, data: object) -> None:
        """Print one JSON document."""
        self.stdout.write(json.dumps(data, indent=2, ensure_ascii=False, default=str))


def refused(problem: object, code: int = USAGE) -> CommandError:
    """Return the refusal to do what was asked."""
    return CommandError(str(problem), returncode=code)


def require_tables(alias: str) -> None:
    """Refuse a database that lacks migrations."""
    try:
        databases.require_tables(alias, schema=tenancy.schema_here(alias))
    except NotMigrated as error:
        raise refused(error, NOT_MIGRATED) from error


def require_tenant(alias: str, schema: str, option: str = "schema") -> None:
    """Refuse a name that is no tenant's schema."""
    try:
        tenancy.require(alias, schema)
    except TenantNotFound as error:
        raise refused(f"--{option}: {error}") from error


def user() -> str:
    """Return who gives the command; empty if the system has no name for them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # A container's user id need not have a name.
        return ""


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
