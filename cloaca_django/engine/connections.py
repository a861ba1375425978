"""A thread's Django connections around the body of a task: nothing of one is left to the next."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections, reset_queries
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.utils.connection import ConnectionDoesNotExist

from cloaca_django.dialect import aliases
from cloaca_django.errors import TransactionLeftOpen

logger = logging.getLogger("cloaca_django.task")

# How many ``atomic`` blocks are open, by alias.
Depths = Mapping[str, int]
NONE_OPEN: Depths = MappingProxyType({})


class _Here(threading.local):
    """Those of a thread's connections that were opened once: no other has a block or grows old.

    Django knows them too. To ask it takes 10 us an alias, and a task asks five times.
    """

    def __init__(self) -> None:
        self.opened: list[BaseDatabaseWrapper] = []


_here = _Here()


def _remember(connection: BaseDatabaseWrapper, **_: Any) -> None:
    opened = [one for one in _here.opened if _is_known(one)]
    if connection not in opened and _is_of_django(connection):
        # One of the same alias that Django forgot goes.
        opened = [one for one in opened if one.alias != connection.alias] + [connection]
    _here.opened = opened


def _is_known(connection: BaseDatabaseWrapper) -> bool:
    """Say whether its alias is there still, which a runner's is not for ever, or it is in use."""
    return connection.alias in connections.databases or connection.in_atomic_block


def _is_of_django(connection: BaseDatabaseWrapper) -> bool:
    """Say whether a connection is the thread's for its alias, and not a copy of somebody's own."""
    try:
        return connections[connection.alias] is connection
    except ConnectionDoesNotExist:  # the one that creates databases has no alias of the settings
        return False


connection_created.connect(_remember, dispatch_uid="cloaca-connections")


def open_blocks() -> Depths:
    """Return the ``atomic`` blocks that are open on this thread now."""
    return {one.alias: len(one.atomic_blocks) for one in _here.opened}


def check_ended(task: str, before: Depths) -> None:
    """Raise TransactionLeftOpen if blocks are open on this thread that were not ``before``.

    They are rolled back. What was written in them is lost, so the task must not count as completed.
    """
    left = [one for one in _here.opened if _is_deeper(one, before)]
    if left:
        unwind(before)
        raise TransactionLeftOpen(task, left[0].alias)


def unwind(before: Depths) -> None:
    """Roll back the blocks of this thread that were not open ``before``."""
    for connection in _here.opened:
        try:
            _unwind(connection, before)
        except Exception:
            # It broke; ``tidy`` discards it.
            logger.warning("could not roll %r back", connection.alias, exc_info=True)


def tidy(before: Depths = NONE_OPEN) -> None:
    """Close this thread's connections that broke or are too old, as a request would.

    One with a block that was not open ``before`` is rolled back and closed whatever its age.
    """
    aliases.tidy()
    for connection in _here.opened:
        try:
            if connection.queries_logged:
                reset_queries()
            if _is_deeper(connection, before):
                _unwind(connection, before)
                connection.close()
            if not connection.in_atomic_block:
                # Django would close it under the blocks of another async body, too.
                connection.close_if_unusable_or_obsolete()
        except Exception:
            # It broke: the next who asks gets a new one, and hears if the database is away.
            logger.warning("connection %r is discarded", connection.alias, exc_info=True)
            _forget(connection)


async def tidy_before_async() -> Depths:
    """Tidy the thread where Django carries out what async bodies ask of it.

    Returns the blocks open there: they are of other bodies, which share its connections.
    """
    return await sync_to_async(_tidy_shared)()


async def tidy_after_async(before: Depths) -> None:
    """As ``tidy``, on the thread that async bodies share."""
    await sync_to_async(tidy)(before)


async def check_ended_async(task: str, before: Depths) -> None:
    """As ``check_ended``, on the thread that async bodies share."""
    await sync_to_async(check_ended)(task, before)


def _tidy_shared() -> Depths:
    before = open_blocks()
    tidy(before)
    return before


def _is_deeper(connection: BaseDatabaseWrapper, before: Depths) -> bool:
    return len(connection.atomic_blocks) > before.get(connection.alias, 0)


def _forget(connection: BaseDatabaseWrapper) -> None:
    _here.opened = [one for one in _here.opened if one is not connection]
    with suppress(AttributeError):  # whoever broke it may have taken it out
        del connections[connection.alias]


def _unwind(connection: BaseDatabaseWrapper, before: Depths) -> None:
    # As an exception would leave the blocks: the innermost first, each to its savepoint.
    error = RuntimeError("the task ended inside the block")
    for _ in connection.atomic_blocks[before.get(connection.alias, 0) :]:
        connection.atomic_blocks[-1].__exit__(RuntimeError, error, None)
