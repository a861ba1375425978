"""A world for each test, and at the end the account of what was met."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.crash.world import World
from tests.worksite.process import worksite

__all__ = ["worksite"]


@pytest.fixture
def world(transactional_db: None) -> Iterator[World]:
    with World() as made:
        yield made
