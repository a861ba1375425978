"""A world for each test, on the database under test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cloaca_django.core import registry
from tests.crash.world import World


@pytest.fixture
def world(transactional_db: None) -> Iterator[World]:
    with World() as made:
        yield made


@pytest.fixture
def workflows() -> Iterator[None]:
    """Forget the workflows that the test registers."""
    with registry.isolated():
        yield
