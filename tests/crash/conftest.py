"""A world for each test, and at the end the account of what was met."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.crash.account import ACCOUNT, NOTES
from tests.crash.world import World
from tests.worksite.process import worksite

__all__ = ["worksite"]


@pytest.fixture
def world(transactional_db: None) -> Iterator[World]:
    with World() as made:
        yield made


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if NOTES or ACCOUNT:
        terminalreporter.section("reliability")
    for name, note in NOTES.items():
        terminalreporter.line(f"{name}: {note}")
    if not ACCOUNT:
        return
    for name, points in sorted(ACCOUNT.items()):
        terminalreporter.line(f"{name}: {points}")
    covered = sum(points.covered for points in ACCOUNT.values())
    existing = sum(points.existing for points in ACCOUNT.values())
    terminalreporter.line(f"crash points: {covered} of {existing} ({covered / existing:.0%})")
