"""A network that is slow, or loses packets: work takes longer, and nothing is different."""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest
from django.db import connection

from cloaca_django import Context, DefaultRunner, DefaultRunnerConfig
from cloaca_django.core import registry
from cloaca_django.core.states import WorkerState
from cloaca_django.models import TaskExecution, Worker
from tests import workflows
from tests.crash.proxy import CLEAR, Proxy
from tests.crash.server import CrashingServer

pytestmark = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="there is no network between a process and its file"
)

LEASE = 1.0
SETTINGS = {"HEARTBEAT_SECONDS": 0.2, "LEASE_SECONDS": LEASE, "SWEEP_SECONDS": 0.2}
# A reply takes twice as long: a question and its answer are each held up.
SLOW = 0.03
# How long TCP waits at least before it sends a packet again, and how many it has to.
AGAIN, LOST = 0.2, 0.3


class Way(Proxy):
    """Holds up what passes, all of it or a ``share``."""

    share = 1.0
    pauses = 0

    @property
    def delay(self) -> float:
        is_held_up = self._seconds > 0 and random.random() < self.share
        self.pauses += is_held_up
        return self._seconds * is_held_up

    @delay.setter
    def delay(self, seconds: float) -> None:
        self._seconds = seconds


class Lossy(Way):
    """What is lost on its way arrives when TCP sends it again, and all behind it waits."""

    share = LOST


@pytest.fixture(scope="module")
def server(django_db_blocker):
    with CrashingServer() as server, django_db_blocker.unblock():
        # Tables are made at once, not over the slow way.
        DefaultRunner(server.url).shutdown()
        yield server


@pytest.mark.parametrize(("way", "delay"), [(Way, SLOW), (Lossy, AGAIN)], ids=["slow", "lossy"])
def test_work_goes_on_and_nobody_is_given_up(  # noqa: PLR0917 - fixtures
    server, settings, monkeypatch, django_db_blocker, way, delay
):
    settings.CLOACA = SETTINGS
    for name, value in CLEAR.items():
        monkeypatch.setenv(name, value)
    bodies = Counter()

    def body(context):
        bodies[context["n"]] += 1

    config = DefaultRunnerConfig(max_concurrent_tasks=4, scheduler_poll_interval_ms=50)
    with way(server.socket) as proxy, django_db_blocker.unblock(), registry.isolated():
        workflows.chain("w", body, body, body)
        url = f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres?sslmode=disable"
        with (
            DefaultRunner(url, config=config) as first,
            DefaultRunner(url, config=config) as second,
        ):
            for n, runner in enumerate((first, second)):
                runner.execute("w", Context({"n": n}))
            proxy.delay = delay
            end = time.monotonic() + 1.5 * LEASE
            while time.monotonic() < end:
                n = len(bodies)
                runner = (first, second)[n % 2]
                assert runner.enqueue("w", Context({"n": n})).wait(20).status == "Completed"
            proxy.delay = 0.0
            rows = TaskExecution.objects.using(first.alias)
            assert set(rows.values_list("attempt", "crashes")) == {(1, 0)}
            alive = Worker.objects.using(first.alias).filter(state=WorkerState.ALIVE)
            assert alive.count() == 2
    # Each body once, and a few of them while it was slow.
    assert set(bodies.values()) == {3}
    assert len(bodies) > 3
    assert proxy.pauses > 10
