"""Run ids, claim tokens and revisions: unique without asking anybody. They are no secrets.

A generator of our own: user code that seeds ``random`` must not make two workers draw the same
token, and neither must a fork. Asking the system for every id costs a call each.
"""

from __future__ import annotations

import os
import random
from uuid import UUID

from cloaca_django import clock

_generator = random.Random(os.urandom(32))  # noqa: S311 - ids, not secrets


def _reseed() -> None:
    _generator.seed(os.urandom(32))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reseed)

_VERSION = 0xF << 76
_VARIANT = 0x3 << 62
_RANDOM = 0x4 << 76 | 0x2 << 62
_ORDERED = 0x7 << 76 | 0x2 << 62


def new_token() -> UUID:
    """Return a random UUID (version 4): a claim token, a revision or a worker's id."""
    bits = _generator.getrandbits(128) & ~(_VERSION | _VARIANT)
    return UUID(int=bits | _RANDOM)


def new_run_id() -> UUID:
    """Return a UUID ordered by time (version 7): milliseconds, then 74 random bits."""
    return run_id_at(clock.milliseconds(), _generator.getrandbits(80))


def run_id_at(milliseconds: int, bits: int) -> UUID:
    """Return the version 7 UUID of a moment and of the lowest 80 of ``bits``.

    Source: RFC 9562, section 5.7.
    """
    bits = bits & ((1 << 80) - 1) & ~(_VERSION | _VARIANT)
    return UUID(int=(milliseconds & 0xFFFF_FFFF_FFFF) << 80 | bits | _ORDERED)
