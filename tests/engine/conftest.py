"""Every stage is tested on a manual clock and on one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cloaca_django.core import registry
from tests.engine.world import Time, World, install


@pytest.fixture(autouse=True)
def _own_registry() -> Iterator[None]:
    with registry.isolated():
        yield


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    install(time, monkeypatch)
    return time


@pytest.fixture
def make_world(transactional_db: None, time: Time) -> Iterator[Callable[..., World]]:
    """Return a function that makes workers on the test's database and clock."""
    made: list[World] = []

    def make(**facts: Any) -> World:
        world = World(time, **facts)
        made.append(world)
        return world

    yield make
    for world in made:
        world.close()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()
