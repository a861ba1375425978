"""A file of SQLite that is replaced or removed while a worker has it open."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest
from django.db import connection

from cloaca_django.core.states import WorkerState
from cloaca_django.dialect import DRIVER_ERRORS, place_of
from cloaca_django.engine import worker as shift_worker
from cloaca_django.engine.process import RECYCLE
from cloaca_django.engine.shift import WorkerOptions
from cloaca_django.models import TaskExecution, Worker
from tests.worksite.process import status_of, until

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="a server keeps its own files"),
]


LOGS = ("-wal", "-shm")


def replace(path):
    """Put a copy in the place of a file, as a restore does."""
    copy = path.with_suffix(".copy")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    for suffix in LOGS:
        with suppress(FileNotFoundError):
            Path(f"{path}{suffix}").unlink()
    os.replace(copy, path)


def move(path, suffix, *, back=False):
    """Move a file and its log aside, or back."""
    for name in (str(path), *(f"{path}{log}" for log in LOGS)):
        with suppress(FileNotFoundError):
            os.replace(*((name + suffix, name) if back else (name, name + suffix)))


def test_a_worker_whose_file_is_gone_ends_and_makes_no_other(worksite):
    worker = worksite.worker()
    before = worksite.enqueue("quick")
    until(lambda: status_of(before) == "Completed", what="the end of a run")
    path = Path(connection.settings_dict["NAME"])
    connection.close()
    move(path, ".aside")
    try:
        assert worker.wait() == RECYCLE
        assert not path.exists()
    finally:
        move(path, ".aside", back=True)
    assert status_of(before) == "Completed"


def test_every_process_of_a_supervisor_is_replaced_after_its_file(worksite):
    supervisor = worksite.worker("--processes", "2")
    until(lambda: Worker.objects.count() == 2, what="two workers")
    old = supervisor.children()
    connection.close()
    replace(Path(connection.settings_dict["NAME"]))
    until(lambda: len(supervisor.children() - old) == 2, what="two other processes")
    run_id = worksite.enqueue("quick")
    until(lambda: status_of(run_id) == "Completed", what="a run in the file of now")
    known = Worker.objects.get(pk=TaskExecution.objects.filter(run=run_id).first().worker_id)
    assert known.pid in supervisor.children() - old
    until(lambda: _lease_of(known) > known.lease_until, what="a lease that is renewed")


def _lease_of(worker):
    return Worker.objects.get(pk=worker.pk, state=WorkerState.ALIVE).lease_until


def test_a_disk_that_does_not_answer_is_a_database_that_is_away_and_no_moved_file(
    settings, monkeypatch
):
    settings.CLOACA = {"HEARTBEAT_SECONDS": 0.05}
    worker = shift_worker.Worker(WorkerOptions())
    worker.start()
    try:
        tried, real = threading.Event(), os.stat

        def no_answer(path, *args, **facts):
            if str(path) == str(connection.settings_dict["NAME"]):
                tried.set()
                raise PermissionError(13, "Permission denied", path)
            return real(path, *args, **facts)

        with monkeypatch.context() as patch:
            patch.setattr(os, "stat", no_answer)
            assert tried.wait(10)
            before = Worker.objects.get().heartbeat_at
            with pytest.raises(DRIVER_ERRORS, match="unable to open database file"):
                place_of("default")
        until(lambda: Worker.objects.get().heartbeat_at > before, what="a heartbeat")
        assert not worker.is_adrift
    finally:
        worker.stop(grace=5.0)
