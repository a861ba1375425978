"""What a machine runs out of: memory, disk. The process goes on, and so does the work."""

from __future__ import annotations

import resource
import sqlite3
from contextlib import closing

import pytest
from django.db import connection

from cloaca_django.core.states import TaskStatus
from cloaca_django.models import TaskAttempt
from tests.interface.conftest import never
from tests.worksite.process import status_of, task_of, until

pytestmark = pytest.mark.django_db(transaction=True)

# Much more than a worker needs, and much less than the greedy task wants.
ADDRESS_SPACE = 4 << 30
# In which an outcome is settled a hundred times over, were it not refused.
REFUSED_SECONDS = 1.0
IS_FILE = connection.vendor == "sqlite"


def limit_memory():
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))


def test_a_task_that_wants_more_memory_than_there_is_fails_and_its_neighbours_do_not(worksite):
    worker = worksite.worker("--concurrency", "3", preexec_fn=limit_memory)
    neighbours = [worksite.enqueue("quick") for _ in range(3)]
    hungry = worksite.enqueue("hungry", size=2 * ADDRESS_SPACE)
    neighbours += [worksite.enqueue("quick") for _ in range(3)]
    until(lambda: status_of(hungry) == "Failed", what="the end of the hungry one")
    assert TaskAttempt.objects.get().error_type == "MemoryError"
    until(lambda: {status_of(id) for id in neighbours} == {"Completed"}, what="its neighbours")
    assert worker.process.poll() is None


@pytest.mark.skipif(not IS_FILE, reason="a full disk of a server is in test_passing_errors.py")
def test_a_full_disk_is_waited_out_and_the_file_stays_sound(worksite):
    worker = worksite.worker()
    gated = worksite.enqueue("gated")
    worksite.await_told("began")
    path = connection.settings_dict["NAME"]
    # From here on the worker can write to no file; its own log is one, so it cannot say so.
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    waiting = [worksite.enqueue("quick") for _ in range(3)]
    worksite.open()
    worksite.await_told("ended")
    never(lambda: task_of(gated).status != TaskStatus.RUNNING, REFUSED_SECONDS)
    with closing(sqlite3.connect(path)) as reader:
        assert reader.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    runs = [gated, *waiting]
    until(lambda: {status_of(id) for id in runs} == {"Completed"}, what="the end of every run")
    assert (task_of(gated).crashes, task_of(gated).attempt) == (0, 1)
    assert worker.process.poll() is None
    assert len(worksite.told("began")) == 1
