"""A schedule as a sentence for people. Decoration: the next fires are the truth."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import cron_descriptor
from cron_descriptor import ExpressionDescriptor

from cloaca_django.core.cron.schedule import Schedule

ENGLISH = "en_US"


def describe(schedule: Schedule, *, language: str = "en") -> str:
    """Return ``At 02:30, only on Monday``, or the expression where that cannot be said.

    ``language`` is a code such as Django's ``de`` or ``pt-br``; an unknown one means English.
    """
    if schedule.needs_both_days:
        return schedule.expression  # the library says "or" where ``*/2`` is meant to narrow
    try:
        return _sentence(" ".join(schedule.plain), _locale(language))
    except Exception:  # a sentence is never a reason to fail, whatever the library stumbles over
        return schedule.expression


def _sentence(plain: str, locale: str) -> str:
    descriptor = ExpressionDescriptor(plain, locale_code=locale, use_24hour_time_format=True)
    return str(descriptor.get_description()) or plain


def _locale(language: str) -> str:
    code, _, country = language.replace("_", "-").lower().partition("-")
    known = [name for name in _locales() if name.lower().startswith(f"{code}_")]
    exact = [name for name in known if name.lower() == f"{code}_{country}"]
    return (exact or known or [ENGLISH])[0]


@cache
def _locales() -> tuple[str, ...]:
    """Return the locales that the library has texts for."""
    folder = Path(cron_descriptor.__file__).parent / "locale"
    names = (file.stem for file in folder.glob("*.mo"))
    return tuple(sorted(name for name in names if re.fullmatch("[a-z]{2}_[A-Z]{2}", name)))
