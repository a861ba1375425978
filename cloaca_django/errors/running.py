"""Errors about the moment: a wait, a database, a state that does not allow the call."""

# ruff: noqa: N818 - each name says what is wrong; "Error" at its end would not say more

from __future__ import annotations

from cloaca_django.errors.tree import CloacaError, InvalidState, shown


class DatabaseUnreachable(CloacaError, ValueError, RuntimeError):
    """A server that did not let us in. ``url`` must come without its password."""

    def __init__(self, url: str, problem: str, *, doing: str = "connect") -> None:
        super().__init__(f"Failed to {doing}: cannot reach {shown(url)}: {problem}")


class SchemaUnusable(DatabaseUnreachable):
    """A schema that could not be made, migrated or entered. ``url`` is without its password."""

    def __init__(self, url: str, schema: str, problem: str) -> None:
        CloacaError.__init__(
            self,
            "Failed to create DefaultRunner with schema: "
            f"Failed to set up schema {shown(schema)} of {shown(url)}: {problem}",
        )


class ProvisioningFailed(InvalidState):
    """A tenant that could not be made or removed. ``doing`` is which: ``create tenant``."""

    def __init__(self, doing: str, problem: str) -> None:
        super().__init__(f"Failed to {doing}: {problem}")


class InvalidTenant(ProvisioningFailed, ValueError):
    """A tenant's name or password that is not allowed. Nothing was sent to the server."""


class NoDatabase(InvalidState, ValueError):
    """A runner asked for on a site's database where no settings name one."""

    def __init__(self) -> None:
        super().__init__(
            "DefaultRunner() works on a Django site's database, and no settings name one: give a"
            " URL, DefaultRunner(url), or set DJANGO_SETTINGS_MODULE to settings with DATABASES"
        )


class MissingExtra(CloacaError, ImportError):
    """Something was asked for that needs a package which an extra of ours brings."""

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(
            f"The package {package} is not installed: pip install 'cloaca_django[{extra}]'"
        )


class WaitTimeout(CloacaError, TimeoutError, ValueError):
    """A wait that ended before the run did. The run goes on."""

    def __init__(self, run: object, seconds: float) -> None:
        super().__init__(f"Run {run} has not ended: timeout after {seconds:g}s; it goes on")


class RunnerClosed(InvalidState, ValueError):
    """A runner used after ``shutdown()``."""

    def __init__(self) -> None:
        super().__init__("This runner was shut down; make a new DefaultRunner")


class CronDisabled(InvalidState, ValueError):
    """A schedule asked of a runner that was told to have none."""

    def __init__(self) -> None:
        super().__init__(
            "Cron scheduling not enabled in this runner; make one whose configuration has"
            " enable_cron_scheduling=True"
        )


class WouldDeadlock(InvalidState):
    """A wait for something that the waiting itself prevents."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")


class OperationFailed(InvalidState):
    """An operator's act that the database refused or broke off; a part of it may be done."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"The database did not carry this out, or not all of it: {problem}; another"
            " transaction may hold what it needs, so try again when that has ended"
        )


class NotInTenant(InvalidState):
    """A connection that is not in the schema its runner is bound to, or a schema without tables."""

    def __init__(self, schema: str, problem: str) -> None:
        super().__init__(f"This runner is bound to schema {shown(schema)}, but {problem}")
        self.problem = problem


class InvalidTransition(InvalidState):
    """A move that the table of states does not have."""

    def __init__(self, what: str, seen: str, target: str) -> None:
        super().__init__(f"{what} is {seen} and cannot become {target}")
