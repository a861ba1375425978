"""Errors about runs and their tasks."""

# ruff: noqa: N818 - each name says what is wrong; "Error" at its end would not say more

from __future__ import annotations

from cloaca_django.errors.tree import CloacaError, InvalidInput, InvalidState


class RunNotFound(InvalidInput):
    """An id that no run has, or not any more: retention deletes old runs."""

    def __init__(self, run_id: object) -> None:
        super().__init__(f"There is no run {run_id}; it may have been deleted by retention")
        self.id = run_id
        self.what = f"run {run_id}"


class RunNotFinished(InvalidState):
    """A result asked for before there is one."""

    def __init__(self, run_id: object) -> None:
        super().__init__(f"Run {run_id} has not ended; wait(timeout) waits for it")


class UnexpectedResult(CloacaError, TypeError):
    """A task returned what is neither a Context, nor a dict, nor None."""

    def __init__(self, task: str, value: object) -> None:
        super().__init__(
            f"Task {task!r} returned a value of type {type(value).__name__};"
            " return a Context, a dict of changes, or None to keep the context as it is"
        )


class HandleConsumed(InvalidState, ValueError):
    """A handle used after its task had ended."""

    def __init__(self) -> None:
        super().__init__("TaskHandle has already been consumed; it is valid until its task returns")


class TaskCancelled(CloacaError):
    """Raised inside a task whose outcome no longer counts."""

    def __init__(self, task: str) -> None:
        super().__init__(f"Task {task!r} was cancelled, timed out or taken over meanwhile")


class TaskFenced(CloacaError):
    """A completion refused because the claim it names no longer holds."""

    def __init__(self, task: str) -> None:
        super().__init__(
            f"Task {task!r} belongs to another worker by now; its writes were rolled back"
        )


class TransactionLeftOpen(CloacaError):
    """A task that ended inside a transaction it began; what it wrote there was rolled back."""

    def __init__(self, task: str, alias: str) -> None:
        super().__init__(
            f"Task {task!r} ended inside a transaction on database {alias!r} that it did not end,"
            " so its writes were rolled back; use `with transaction.atomic():`"
        )


class NotMigrated(InvalidState, ValueError):
    """A configured database without our tables, or with old ones."""

    def __init__(self, alias: str, missing: list[str], *, schema: str = "") -> None:
        where = f"Schema {schema!r} of database" if schema else "Database"
        what = f"migrate_schemas --schema={schema}" if schema else "migrate cloaca_django"
        super().__init__(
            f"{where} {alias!r} lacks the migrations {', '.join(missing)} of cloaca_django;"
            f" run: python manage.py {what}{'' if schema else f' --database {alias}'}"
        )


class WorkflowsNotImported(CloacaError, ImportError):
    """An app's ``workflows.py`` that raised. The site does not start without it."""

    def __init__(self, app: str, error: BaseException) -> None:
        super().__init__(
            f"The workflows of app {app!r} cannot be imported ({app}.workflows):"
            f" {type(error).__name__}: {error}"
        )
