"""The store is asked through the same hand-driven worker as the stages are."""

from collections.abc import Iterator

import pytest
from django.db import connection

from tests.engine.conftest import _own_registry, make_world, time, world

__all__ = ["_own_registry", "make_world", "time", "world"]


@pytest.fixture(autouse=True)
def _no_old_statistics(transactional_db: None) -> Iterator[None]:
    """Forget what the planner learnt of another test's tables."""
    yield
    with connection.cursor() as cursor:
        if "sqlite_stat1" in connection.introspection.table_names(cursor):
            cursor.execute("DELETE FROM sqlite_stat1")
