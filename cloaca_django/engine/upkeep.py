"""What every worker does now and then for all of them: the sweep, and the retention of old runs."""

from __future__ import annotations

from cloaca_django import clock
from cloaca_django.conf import settings
from cloaca_django.dialect import Session
from cloaca_django.engine import notices, recovery
from cloaca_django.engine.messages import Effects
from cloaca_django.engine.retention import Keeper


class Contact:
    """When a worker last did all that a heartbeat does, and so whether the others could, too."""

    def __init__(self) -> None:
        self._kept_at = clock.monotonic()

    @property
    def was_lost(self) -> bool:
        """Whether nobody may have been able to renew a lease for long: see ``postpone``."""
        return clock.monotonic() - self._kept_at > settings.LEASE_SECONDS / 2

    def keep(self) -> None:
        """Note that a heartbeat did all that it does."""
        self._kept_at = clock.monotonic()


class Sweep:
    """The sweep of one schema, and when it is due next."""

    def __init__(self) -> None:
        # Soon, or workers that die again and again would never come to it. Not at once: after an
        # outage that this one knows nothing of, who lives has the time of a beat to say so.
        first = min(settings.HEARTBEAT_SECONDS, settings.SWEEP_SECONDS)
        self._next_at = clock.monotonic() + first

    def is_due(self) -> bool:
        """Say whether its time has come."""
        return self.seconds_to_next() <= 0

    def seconds_to_next(self) -> float:
        """Return how long there is until then. Who rests longer takes tasks back too late."""
        return max(0.0, self._next_at - clock.monotonic())

    def postpone(self) -> None:
        """Let a lease pass first: the database was away, and others could not renew theirs.

        Whoever comes back first would otherwise take the tasks of all who live.
        """
        self._next_at = max(self._next_at, clock.monotonic() + settings.LEASE_SECONDS)

    def carry_out(self, session: Session) -> bool:
        """Give lost workers up and take their tasks back; True when runs moved on by it."""
        swept = recovery.sweep(session, max_crashes=settings.MAX_CRASHES)
        # Only now: one that failed is due still, and the next heartbeat tries again.
        self._next_at = clock.monotonic() + settings.SWEEP_SECONDS
        if swept.accepted:
            notices.publish(Effects(swept))
        return bool(swept.accepted)


class Upkeep:
    """Remembers when each duty is due next."""

    def __init__(self) -> None:
        self._keeper = Keeper()
        self._sweep = Sweep()

    def seconds_to_next(self) -> float:
        """Return when the next sweep is due."""
        return self._sweep.seconds_to_next()

    def postpone(self) -> None:
        """Give nobody up before a lease has passed; see ``Sweep``."""
        self._sweep.postpone()

    def tend(self, session: Session) -> bool:
        """Do what is due; True when runs moved on by it."""
        moved = self._sweep.is_due() and self._sweep.carry_out(session)
        self._keeper.tend(session)
        return moved
