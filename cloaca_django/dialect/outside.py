"""Tables that are not ours, read as they stand. Nothing here writes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db import connections


def read_table(alias: str, table: str) -> list[dict[str, Any]] | None:
    """Return the rows of a table by column, whichever columns it has; None: there is no table.

    Moments are aware.
    """
    wrapper = connections[alias]
    if table not in wrapper.introspection.table_names():
        return None
    with wrapper.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {wrapper.ops.quote_name(table)}")
        columns = [column[0] for column in cursor.description]
        found = cursor.fetchall()
    return [dict(zip(columns, map(_aware, row), strict=True)) for row in found]


def _aware(value: Any) -> Any:
    # SQLite keeps no offset; Django stores UTC.
    is_naive = isinstance(value, datetime) and value.tzinfo is None
    return value.replace(tzinfo=UTC) if is_naive else value
