from __future__ import annotations

from tests.crash.conftest import world

__all__ = ["world"]
