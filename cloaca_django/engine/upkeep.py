"""What every worker does now and then for all of them: the sweep, and the retention of old runs."""

from __future__ import annotations

from cloaca_django import clock
from cloaca_django.conf import settings
from cloaca_django.dialect import Session
from cloaca_django.engine import notices, recovery
from cloaca_django.engine.messages import Effects
from cloaca_django.engine.retention import Keeper


class Upkeep:
    """Remembers when each duty is due next."""

    def __init__(self) -> None:
        self._keeper = Keeper()
        self._next_sweep = clock.monotonic() + settings.SWEEP_SECONDS

    def tend(self, session: Session) -> bool:
        """Do what is due; True when runs moved on by it."""
        moved = False
        if clock.monotonic() >= self._next_sweep:
            self._next_sweep = clock.monotonic() + settings.SWEEP_SECONDS
            swept = recovery.sweep(session, max_crashes=settings.MAX_CRASHES)
            if swept.accepted:
                notices.publish(Effects(swept))
                moved = True
        self._keeper.tend(session)
        return moved
