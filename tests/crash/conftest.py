"""A world for each test, and the account of the crash points that were met."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.crash.account import ACCOUNT
from tests.crash.world import World
from tests.worksite.process import worksite

__all__ = ["worksite"]


@pytest.fixture
def world(transactional_db: None) -> Iterator[World]:
    with World() as made:
        yield made


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not ACCOUNT:
        return
    terminalreporter.section("crash points")
    for name, points in sorted(ACCOUNT.items()):
        terminalreporter.line(f"{name}: {points}")
    covered = sum(points.covered for points in ACCOUNT.values())
    existing = sum(points.existing for points in ACCOUNT.values())
    terminalreporter.line(f"all: {covered} of {existing} crashes ({covered / existing:.0%})")
