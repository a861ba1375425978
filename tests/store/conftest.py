"""The store is asked through the same hand-driven worker as the stages are."""

from tests.engine.conftest import _own_registry, make_world, time, world

__all__ = ["_own_registry", "make_world", "time", "world"]
