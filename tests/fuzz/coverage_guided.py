"""Coverage-guided fuzzing of the readers of cron expressions, zones, URLs and contexts; by hand.

    python -m venv somewhere && somewhere/bin/pip install atheris && somewhere/bin/pip install .
    somewhere/bin/python -m tests.fuzz.coverage_guided cron -max_total_time=300

What follows the name of the reader are options of libFuzzer. It stops at the first input that
hangs, or that raises anything but an error of ours or a TypeError.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

import atheris

with atheris.instrument_imports(include=["cloaca_django"]):
    from cloaca_django import Context
    from cloaca_django.core import cron, moments
    from cloaca_django.dialect import urls
    from cloaca_django.errors import CloacaError

SECONDS = 0.1
NOW = datetime(2026, 1, 31, tzinfo=UTC)


def _cron(text: str) -> None:
    expression, _, zone = text.partition("|")
    schedule = cron.parse(expression, zone or "UTC")
    cron.next_fires(schedule, NOW)
    cron.describe(schedule)


READERS: dict[str, Callable[[str], object]] = {
    "cron": _cron,
    "url": urls.parse,
    "context": Context.from_json,
    "moment": moments.read_moment,
}


def tried(read: Callable[[str], object]) -> Callable[[bytes], None]:
    """Return what libFuzzer calls with bytes of its own making."""

    def once(data: bytes) -> None:
        text = atheris.FuzzedDataProvider(data).ConsumeUnicode(len(data))
        begun = time.thread_time()
        try:
            read(text)
        except CloacaError as error:
            said = str(error)
            assert len(said) <= 400, said
            assert said.isprintable(), said
        spent = time.thread_time() - begun
        assert spent < SECONDS, f"{spent:.3f} s for {text!r:.200}"

    return once


if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *sys.argv[2:]], tried(READERS[sys.argv[1]]))
    atheris.Fuzz()
