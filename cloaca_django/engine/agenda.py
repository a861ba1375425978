"""What a turn knows of the work that waits in the database, and when it must look again.

Moments are on this process's monotonic clock; what is due was asked of the database's.
"""

from __future__ import annotations

from cloaca_django import clock
from cloaca_django.dialect.rows import Look

NEVER = float("inf")
PREFETCH_SECONDS = 0.05
PROMOTE_SECONDS = 0.02
MAX_PREFETCH = 256
BUSY_MEMORY = 0.98
CROWD_SECONDS = 0.01
CROWD_WEIGHT = 0.1
CROWDED = 0.3


class Agenda:
    """Hints and next moments of one turn. A wake-up is remembered until a look answers it."""

    def __init__(self, poll_seconds: float) -> None:
        self.poll_seconds = poll_seconds
        self.may_be_ready = True
        # A first look tells; until then nothing is known to wait.
        self.may_be_waiting = False
        self.is_hinted = False
        self.next_look = 0.0
        self.next_due = NEVER
        self.next_deadline = NEVER
        self._not_before = 0.0

    def wake(self) -> None:
        """Claim at the next turn: somebody said that there is work."""
        self.may_be_ready = True

    def look_soon(self) -> None:
        """Look at the next turn."""
        self.next_look = 0.0

    def take_look(self, found: Look) -> None:
        """Take over what a look found."""
        now = clock.monotonic()
        self.next_look = now + self.poll_seconds
        self.next_due = max(self._not_before, _after(now, found.seconds_to_due))
        self.next_deadline = max(self._not_before, _after(now, found.seconds_to_deadline))
        self.may_be_ready = self.may_be_ready or found.has_ready
        self.may_be_waiting = found.has_waiting

    def take_promotion(self) -> None:
        """Note that what was due was dealt with; what was locked meanwhile comes a little later."""
        self._not_before = clock.monotonic() + PROMOTE_SECONDS
        self.next_due = self.next_deadline = NEVER
        self.wake()
        self.look_soon()

    def expect_due(self, seconds: float) -> None:
        """Note that a task will be due in ``seconds``."""
        self.next_due = min(self.next_due, clock.monotonic() + seconds)

    def has_work_besides_claims(self) -> bool:
        """Say whether due tasks, deadlines or waiting runs need the turn's transaction."""
        return self.may_be_waiting or self.is_something_due()

    def is_look_due(self) -> bool:
        """Say whether it is time to look."""
        return clock.monotonic() >= self.next_look

    def is_something_due(self) -> bool:
        """Say whether a retry, a delayed start or a deadline is due."""
        return clock.monotonic() >= min(self.next_due, self.next_deadline)

    def is_deadline_due(self) -> bool:
        """Say whether a run may be past its deadline."""
        return clock.monotonic() >= self.next_deadline

    @property
    def next_moment(self) -> float:
        """Return when this turn has something to do though nothing is posted."""
        return min(self.next_look, self.next_due, self.next_deadline)


class Crowd:
    """Whether runs come in so densely that a turn does well to wait for company.

    A turn costs the same for one run as for ten. Announcements that come while the turn works are
    of callers who do not wait for what it does; those that find it at rest may be of one who does.
    A file announces nothing; there it is the turns that had to wait for another writer.
    """

    def __init__(self) -> None:
        self._share = 0.0
        self._last_turn = 0.0

    def note(self, *, found_waiting: bool) -> None:
        """Take in an announcement or a transaction, and whether either found the other waiting."""
        self._share += (found_waiting - self._share) * CROWD_WEIGHT

    def rest(self) -> float:
        """Return how long to wait for company before the turn that begins now, and note it."""
        now = clock.monotonic()
        begin = max(now, self._last_turn + CROWD_SECONDS) if self._share > CROWDED else now
        self._last_turn = begin
        return begin - now


class Pace:
    """How long tasks take, and so how many to claim ahead of the slots.

    Short tasks would wait a whole commit for each claim; long ones must not be hoarded, nor those
    that compute: however many slots there are, one runs while the others wait for the interpreter.
    So what counts is not only how long a task takes in its slot, but also how long tasks take
    beside each other. ``whole`` is the pace of all who share the slots.
    """

    def __init__(self, slots: int, *, whole: Pace | None = None) -> None:
        self._slots = slots
        self._whole = whole
        self._seconds: float | None = None
        self._ended = 0
        # Of the last some fifty tasks: their number, and the time in which at least one ran.
        self._count = 0.0
        self._busy = 0.0
        # The latest span in which always one ran.
        self._span = (0.0, 0.0)

    def note(self, seconds: float | None, *, started: float | None = None) -> None:
        """Take in how long a task ran, and since when; without that it ran beside no other."""
        if self._whole is not None:
            self._whole.note(seconds, started=started)
        self._ended += 1
        if seconds is not None:
            known = self._seconds
            self._seconds = seconds if known is None else 0.8 * known + 0.2 * seconds
            alone = seconds if started is None else self._alone(seconds, started)
            self._count = self._count * BUSY_MEMORY + 1
            self._busy = self._busy * BUSY_MEMORY + alone

    def _alone(self, seconds: float, started: float) -> float:
        """Return how much of a task's time was in no other's that ended before it."""
        begin, end = self._span
        ended = started + seconds
        if started > end:
            self._span = started, ended
            return seconds
        if ended < begin:
            # Its outcome comes late; what ran since then is known better.
            return seconds
        self._span = min(begin, started), max(end, ended)
        return max(0.0, begin - started) + max(0.0, ended - end)

    def prefetch(self) -> int:
        """Return how many tasks are through in ``PREFETCH_SECONDS``."""
        if self._seconds is None or self._seconds > PREFETCH_SECONDS:
            return 0
        in_slots = self._slots * PREFETCH_SECONDS / max(self._seconds, 1e-6)
        at_all = self._count * PREFETCH_SECONDS / max(self._busy, 1e-6)
        return min(MAX_PREFETCH, int(min(in_slots, at_all)))

    def has_stalled(self) -> bool:
        """Say whether no task ended since the last call; then nothing is claimed ahead for now."""
        stalled, self._ended = self._ended == 0, 0
        if stalled:
            self._seconds = None
        return stalled

    def slow_down(self) -> None:
        """Claim nothing ahead, with all who share the slots, until a task was measured again."""
        self._seconds = None
        if self._whole is not None:
            self._whole.slow_down()


def _after(now: float, seconds: float | None) -> float:
    return NEVER if seconds is None else now + max(0.0, seconds)
