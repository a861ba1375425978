"""Run ids, claim tokens and revisions: unique without asking anybody. They are no secrets.

A generator of our own: user code that seeds ``random`` must not make two workers draw the same
token, and neither must a fork. Asking the system for every id costs a call each.
"""

from __future__ import annotations

import os
import random
import threading
from uuid import UUID

from cloaca_django import clock

_generator = random.Random(os.urandom(32))  # noqa: S311 - ids, not secrets


# Two threads must not draw the same successor.
_lock = threading.Lock()
_last = (0, 0)


def _reseed() -> None:
    global _lock  # noqa: PLW0603 - the parent's may be held by a thread that is not here
    _lock = threading.Lock()
    _generator.seed(os.urandom(32))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reseed)

_VERSION = 0xF << 76
_VARIANT = 0x3 << 62
# A clock that is set back further than this is followed.
BACKWARD_MS = 10_000
# Left clear at first, so that successors in one millisecond never reach the variant's bits.
_HEADROOM = 0x1 << 61
_RANDOM = 0x4 << 76 | 0x2 << 62
_ORDERED = 0x7 << 76 | 0x2 << 62


def new_token() -> UUID:
    """Return a random UUID (version 4): a claim token, a revision or a worker's id."""
    bits = _generator.getrandbits(128) & ~(_VERSION | _VARIANT)
    return UUID(int=bits | _RANDOM)


def new_run_id() -> UUID:
    """Return a UUID ordered by time (version 7): milliseconds, then 74 random bits.

    Of two made by one process the later one is greater, within a millisecond and when the clock is
    set back a little too: runs that wait for a place are let in by their ids. Source: RFC 9562,
    section 6.2, method 2.
    """
    global _last  # noqa: PLW0603 - what the next id must exceed
    with _lock:
        milliseconds, bits = clock.milliseconds(), _generator.getrandbits(80) & ~_HEADROOM
        if _last[0] - BACKWARD_MS <= milliseconds <= _last[0]:
            milliseconds, bits = _last[0], _last[1] + 1 + _generator.getrandbits(32)
        _last = milliseconds, bits
    return run_id_at(milliseconds, bits)


def run_id_at(milliseconds: int, bits: int) -> UUID:
    """Return the version 7 UUID of a moment and of the lowest 80 of ``bits``.

    Source: RFC 9562, section 5.7.
    """
    bits = bits & ((1 << 80) - 1) & ~(_VERSION | _VARIANT)
    return UUID(int=(milliseconds & 0xFFFF_FFFF_FFFF) << 80 | bits | _ORDERED)
