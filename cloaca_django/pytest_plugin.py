"""The fixture ``cloaca_eager``, for sites that test with pytest. pytest finds it by itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def cloaca_eager(db: None, settings: Any) -> Any:
    """Carry runs out at once, on the test's own connection.

    ``execute`` returns their results. What ``enqueue`` wrote runs when the test's transaction would
    commit, which it never does: ``cloaca_eager.drain()`` runs it now.
    """
    from cloaca_django.testing import drain  # noqa: PLC0415 - models need a configured Django

    settings.CLOACA = {**getattr(settings, "CLOACA", {}), "EAGER": True}
    return SimpleNamespace(drain=drain)
