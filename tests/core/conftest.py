"""No test here touches a database, and none leaves a workflow behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cloaca_django.core import registry


@pytest.fixture(autouse=True)
def _own_registry() -> Iterator[None]:
    with registry.isolated():
        yield
