"""Where an operator's act is done: in transactions of its own, never inside the caller's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from django.db import connections

from cloaca_django.conf import settings
from cloaca_django.databases import first_line
from cloaca_django.dialect import (
    DRIVER_ERRORS,
    Session,
    facts,
    is_disconnected,
    is_in_transaction,
    open_session,
    site_session,
)
from cloaca_django.errors import (
    DatabaseUnreachable,
    OperationFailed,
    RunNotFound,
    ScheduleNotFound,
    WouldDeadlock,
)
from cloaca_django.models import CronSchedule, PipelineExecution

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_REMEDY = "call it outside the transaction, or in a function given to transaction.on_commit()"


@contextmanager
def acting(alias: str, *, shown: str) -> Iterator[Session]:
    """Open a session of its own, so that an act commits whatever the caller's does.

    ``shown`` names the database for people. Raises WouldDeadlock for what the caller's open
    transaction keeps from it, DatabaseUnreachable and OperationFailed. EAGER has no other session.
    """
    if settings.EAGER:
        yield site_session(alias)
        return
    caller = connections[alias]
    if is_in_transaction(caller) and facts.has_one_writer(caller):
        raise WouldDeadlock(
            "this act has a transaction of its own, which would wait for the one that is open"
            " here: the database takes one writer at a time",
            _REMEDY,
        )
    try:
        with closing(open_session(alias)) as session:
            yield session
    except (RunNotFound, ScheduleNotFound) as error:
        if _is_seen_here(caller, error):
            raise WouldDeadlock(
                f"{error.what} was written in the transaction that is open here; nobody else can"
                " see it before that commits, and this act has a transaction of its own",
                _REMEDY,
            ) from None
        raise
    except DRIVER_ERRORS as error:
        if is_disconnected(error):
            raise DatabaseUnreachable(shown, first_line(error), doing="act") from error
        raise OperationFailed(first_line(error)) from error


def _is_seen_here(caller: BaseDatabaseWrapper, error: RunNotFound | ScheduleNotFound) -> bool:
    """Say whether the caller's open transaction has what the act did not find."""
    if not is_in_transaction(caller) or caller.needs_rollback:
        return False
    model = PipelineExecution if isinstance(error, RunNotFound) else CronSchedule
    return model.objects.using(caller.alias).filter(pk=str(error.id)).exists()
