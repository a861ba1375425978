"""Cron: what an expression says, and when it fires in a zone. The clock is always an argument."""

from cloaca_django.core.cron.advice import Advice, warnings_of
from cloaca_django.core.cron.dialect import MAX_LENGTH
from cloaca_django.core.cron.fires import count_fires, fires_between, newest_fires, next_fires
from cloaca_django.core.cron.schedule import Schedule, parse
from cloaca_django.core.cron.sentence import describe
from cloaca_django.core.cron.zones import zone_names

__all__ = [
    "MAX_LENGTH",
    "Advice",
    "Schedule",
    "count_fires",
    "describe",
    "fires_between",
    "newest_fires",
    "next_fires",
    "parse",
    "warnings_of",
    "zone_names",
]
