"""Statements of ours on a Django connection, past Django's own cursor: who may, and what it does.

The rest of what Django does for a statement of its own is done here as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


def is_watched(wrapper: BaseDatabaseWrapper) -> bool:
    """Say whether somebody watches the queries of a connection, and so must see ours.

    Who replaces its ``cursor`` does, too: Django's tests refuse queries in that way.
    """
    return bool(wrapper.execute_wrappers or wrapper.queries_logged or "cursor" in vars(wrapper))


def is_by_hand(wrapper: BaseDatabaseWrapper) -> bool:
    """Say whether the caller commits by hand on a connection, outside of Django's blocks."""
    is_open = wrapper.connection is not None
    return is_open and not (wrapper.in_atomic_block or wrapper.autocommit)


def is_in_transaction(wrapper: BaseDatabaseWrapper) -> bool:
    """Say whether what is written on a connection now is committed later, by somebody else."""
    return wrapper.in_atomic_block or is_by_hand(wrapper)


def make_ready(wrapper: BaseDatabaseWrapper) -> None:
    """Connect, or replace a connection that broke since the last request (CONN_HEALTH_CHECKS).

    Raises what Django raises where its own queries are refused: in a broken transaction, or on
    another thread's connection.
    """
    wrapper.validate_thread_sharing()
    wrapper.close_if_health_check_failed()
    wrapper.ensure_connection()
    wrapper.validate_no_broken_transaction()
