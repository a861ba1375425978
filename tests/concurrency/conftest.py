"""A world for each test, on the database under test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cloaca_django.core import registry
from cloaca_django.engine.firing import FiringOptions
from tests.crash import schedule_scenarios
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


@pytest.fixture
def site(world: World) -> World:
    """A world whose workers fire schedules, with the workflows ``tick``, ``tock`` and ``fork``."""
    world.firing = FiringOptions()
    world.reset()
    schedule_scenarios.define(world)
    return world
