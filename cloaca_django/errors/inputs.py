"""Errors about what a caller gave: addresses, names, times, contexts, configuration, ids."""

# ruff: noqa: N818 - each name says what is wrong; "Error" at its end would not say more

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from cloaca_django.errors.tree import CloacaError, InvalidInput, closest, listed, nearest, shown


class InvalidDatabaseURL(InvalidInput, RuntimeError):
    """A database URL we cannot use. ``url`` must come without its password."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(f"Invalid database URL {shown(url)}: {problem}")


class InvalidSchemaName(InvalidInput):
    """A schema name PostgreSQL or tenancy does not allow."""

    def __init__(self, name: object, rule: str) -> None:
        super().__init__(f"Invalid schema name {shown(name)}: {rule}")


class InvalidSchemaNameType(InvalidSchemaName, TypeError):
    """A schema name that is not text."""


class InvalidCronExpression(InvalidInput):
    """A cron expression outside our dialect. ``problem`` is what is wrong with it."""

    def __init__(self, expression: object, problem: str) -> None:
        self.problem = problem
        super().__init__(
            f"Invalid cron expression or timezone: expression {shown(expression)}: {problem}"
        )


class InvalidTimezone(InvalidInput):
    """A time zone that the zone database does not have. ``is_offset``: it looks like ``+03:00``.

    ``similar``: the one name that must be meant, or the ones to look for the nearest in.
    ``suggestion``: what that came to; empty for nothing.
    """

    def __init__(self, name: str, similar: Sequence[str] = (), *, is_offset: bool = False) -> None:
        self.suggestion = "" if is_offset else _meant(name, similar)
        if is_offset:
            hint = "; offsets are not supported, but Etc/GMT-3 is a zone: three hours AHEAD of UTC"
        else:
            hint = f"; did you mean {shown(self.suggestion)}?" if self.suggestion else ""
        super().__init__(
            f"Invalid cron expression or timezone: Invalid timezone: {shown(name)} is not a zone "
            f"such as 'UTC' or 'Europe/Berlin'{hint}"
        )


def _meant(name: str, similar: Sequence[str]) -> str:
    return similar[0] if len(similar) == 1 else closest(name, similar)


class InvalidTimestamp(InvalidInput):
    """Text that is not an ISO 8601 moment."""

    def __init__(self, value: object) -> None:
        super().__init__(
            f"Invalid datetime format: {shown(value)}; "
            "give ISO 8601 such as '2026-01-31T12:00:00+00:00'"
        )


class InvalidIdentifier(InvalidInput):
    """Text that is not the id of a ``kind`` of thing, such as ``schedule``."""

    def __init__(self, kind: str, value: object) -> None:
        super().__init__(
            f"Configuration error: Invalid {kind} ID: {shown(value)}; give the UUID as text"
        )


class InvalidIdentifierType(InvalidIdentifier, TypeError):
    """An id that is neither a UUID nor text."""


class InvalidPage(InvalidInput):
    """A limit or an offset out of range."""

    def __init__(self, name: str, value: object, rule: str) -> None:
        super().__init__(f"Invalid {name} {shown(value)}: {rule}")


class InvalidPageType(InvalidPage, TypeError):
    """A limit or an offset of the wrong Python type."""


class InvalidConfig(InvalidInput):
    """A configuration value out of its range."""

    def __init__(self, field: str, value: object, rule: str) -> None:
        super().__init__(f"Invalid configuration: {field} {rule}, not {shown(value)}")
        self.field = field


class InvalidConfigType(InvalidConfig, TypeError):
    """A configuration value of the wrong Python type."""


class ConfigOutOfRange(InvalidConfig, OverflowError):
    """A configuration number below zero or above its bound."""


class InvalidContext(InvalidInput):
    """Something a context cannot hold. ``path`` is where, ``$`` being the context."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"Invalid context: {path}: {problem}")
        self.path, self.problem = path, problem


class InvalidContextType(InvalidContext, TypeError):
    """A Python type that JSON does not have."""


class ContextTooLarge(InvalidContext):
    """A context, or a task's changes to it, over the size limit. Both in bytes.

    ``is_repeated``: the same values are in it many times, and ``size`` is the least it would take.
    """

    def __init__(self, size: int, limit: int, *, is_repeated: bool = False) -> None:
        given, advice = f"context is {size} bytes", ""
        if is_repeated:
            given = f"context is at least {size} bytes"
            advice = "it has the same values many times: store each once, or "
        super().__init__(
            "$",
            f"{given}, limit {limit}; {advice}store the data elsewhere and pass a reference",
        )
        self.size, self.limit, self.is_repeated = size, limit, is_repeated


class ContextKeyExists(InvalidContext):
    """``insert`` met a key that is there."""

    def __init__(self, key: str) -> None:
        super().__init__("$", f"Key already exists: {shown(key)}; use set() to replace its value")


class MalformedContext(InvalidContext):
    """Text given to ``from_json`` that is not a JSON object."""

    def __init__(self, problem: str, *, of: InvalidContext | None = None) -> None:
        super().__init__("$", f"Failed to deserialize from JSON: {problem}")
        self.problem = problem
        if of is not None:
            self.path, self.problem = of.path, of.problem


class UnreadableContext(InvalidContext):
    """Stored text that is not ours: somebody edited the row by hand."""

    def __init__(self, what: str, problem: str) -> None:
        super().__init__("$", f"stored {what} is not valid: {problem}")


class ContextKeyNotFound(CloacaError, KeyError):
    """A key that the context does not hold."""

    def __init__(self, key: str, known: Iterable[str]) -> None:
        super().__init__(f"Key not found: {shown(key)}{nearest(key, known)}")
        self.key = key


def _plain(name: object) -> str:
    """Return a name as it is where that is short and harmless, else as ``shown``."""
    quoted = shown(name)
    return str(name) if quoted == f"'{name}'" else quoted


class InvalidParams(InvalidInput):
    """Inputs that do not fit what the workflow declares. ``problems`` maps input to problem."""

    def __init__(self, workflow: str, problems: dict[str, str]) -> None:
        said = (
            f"{name if name.isidentifier() else shown(name)}: {problem}"
            for name, problem in islice(problems.items(), 10)
        )
        text = "; ".join(said)
        if len(problems) > 10:
            text += f"; and {len(problems) - 10} more"
        super().__init__(f"Invalid inputs of workflow {shown(workflow)}: {text}")
        self.problems = problems


class WorkflowNotFound(InvalidInput):
    """A workflow that no code of this process registered."""

    def __init__(self, workflow: object, known: Iterable[str] = ()) -> None:
        known = sorted(known)
        is_name = isinstance(workflow, str) and workflow
        name = _plain(workflow) if is_name else shown(workflow)
        hint = nearest(workflow, known) if isinstance(workflow, str) else ""
        super().__init__(
            f"Workflow not found in registry: {name}; import the module that defines it."
            f" Registered: {listed(known)}{hint}"
        )


class VersionNotFound(InvalidInput):
    """A version of a workflow's graph that is not stored, or the start of several."""

    def __init__(self, workflow: str, version: str, known: Iterable[str]) -> None:
        super().__init__(
            f"No single version of workflow {shown(workflow)} starts with {shown(version)}. "
            f"Stored: {listed(known)}"
        )


class TenantNotFound(InvalidInput):
    """A name that is no tenant's schema."""

    def __init__(self, schema: object) -> None:
        super().__init__(
            f"There is no tenant with the schema {shown(schema)}; make one with your site's model"
            " of tenants first"
        )


class ScheduleNotFound(InvalidInput):
    """A schedule id that no row has. ``doing`` is what was asked, such as ``get cron schedule``."""

    def __init__(
        self,
        schedule_id: object,
        doing: str = "get cron schedule",
        *,
        known: Iterable[str] = (),
    ) -> None:
        word = str(schedule_id)
        hint = nearest(word, known)
        self.id = schedule_id
        self.what = f"schedule {_plain(word)}"
        super().__init__(f"Failed to {doing}: Record not found: {self.what}{hint}")


class ScheduleExists(InvalidInput):
    """A name that another schedule has."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"A schedule named {shown(name)} exists (unique constraint on the name); "
            "update it, delete it or choose another name"
        )


class NothingToImport(InvalidInput):
    """A database without the tables that schedules were to be imported from."""

    def __init__(self, alias: str, table: str) -> None:
        super().__init__(
            f"Database {shown(alias)} has no table {table}; name another alias if it is elsewhere"
        )


class IdempotencyConflict(InvalidInput):
    """An idempotency key that an earlier submission used for something else."""

    def __init__(self, key: str, first: str, second: str) -> None:
        super().__init__(
            f"Idempotency key {shown(key)} belongs to a run of workflow {shown(first)} with other "
            f"content than this one of {shown(second)}; use a new key for a new request"
        )
