"""A site's own process in a soak: it submits runs at a pace, and does what operators do."""

from __future__ import annotations

import random
import signal
import threading
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from cloaca_django import clock
from tests.soak.diary import Diary
from tests.soak.driver import Driver
from tests.soak.operator import Operator
from tests.soak.sites import schemas


class Command(BaseCommand):
    """Arguments and the loop. It ends at SIGTERM, or when it is killed."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--name", required=True)
        parser.add_argument("--folder", type=Path, required=True)
        parser.add_argument("--rate", type=float, required=True, help="runs a second")
        parser.add_argument("--acts", type=float, required=True, help="operator's acts a second")

    def handle(self, *args: Any, **options: Any) -> None:
        stopping = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stopping.set())
        chance = random.Random(options["name"])
        diary = Diary(options["folder"], options["name"])
        driver = Driver(options["name"], diary, chance, stopping)
        operator = Operator(options["name"], diary, chance)
        operator.plant(schemas())
        rate, acts = options["rate"], options["acts"]
        moment = clock.monotonic()
        while not stopping.wait(moment - clock.monotonic()):
            # What took long is caught up with: the pace is the sum's.
            moment += chance.expovariate(rate + acts)
            if chance.random() < rate / (rate + acts):
                driver.submit()
            else:
                operator.act(driver.runs)
        operator.undo_all()
