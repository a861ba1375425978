"""What an operator may do inside an open transaction, and when the database refuses."""

from __future__ import annotations

import contextlib
import threading
import uuid
from contextlib import contextmanager

import pytest
from django.db import connection, transaction

from cloaca_django import Context, clock
from cloaca_django.calls import acts
from cloaca_django.errors import OperationFailed, RunNotFound, WouldDeadlock
from cloaca_django.models import PipelineExecution
from tests import workflows

is_file = connection.vendor == "sqlite"

RUN_ACTS = {
    "cancel": lambda runner, id: runner.cancel(id),
    "handle.cancel": lambda runner, id: runner.handle(id).cancel(),
    "pause": lambda runner, id: runner.pause(id),
    "resume": lambda runner, id: runner.resume(id),
    "replay": lambda runner, id: runner.replay(id),
}
OTHER_ACTS = {
    "pause_workflow": lambda runner, id: runner.pause_workflow("w"),
    "resume_workflow": lambda runner, id: runner.resume_workflow("w"),
}
SCHEDULE_ACTS = {
    "trigger": lambda runner, id: runner.trigger_cron_schedule(id),
    "backfill": lambda runner, id: runner.backfill(id, "2026-01-01", "2026-01-02"),
}


@contextmanager
def refused_at_once(text=""):
    """Expect WouldDeadlock that names the way out, before any lock is waited for."""
    started = clock.monotonic()
    with pytest.raises(WouldDeadlock, match=rf"{text}.*transaction\.on_commit\(\)"):
        yield
    assert clock.monotonic() - started < 4


@pytest.fixture
def site_runner(make_runner):
    workflows.single("w")
    return make_runner(using="default")


@pytest.mark.skipif(not is_file, reason="a server takes many writers")
@pytest.mark.parametrize("act", sorted(RUN_ACTS | OTHER_ACTS | SCHEDULE_ACTS))
def test_a_file_refuses_an_act_inside_a_transaction(site_runner, act):
    schedule_id = site_runner.register_cron_workflow("w", "0 0 * * *")
    id = schedule_id if act in SCHEDULE_ACTS else site_runner.enqueue("w").id
    with transaction.atomic():
        site_runner.enqueue("w")
        with refused_at_once("one writer at a time"):
            (RUN_ACTS | OTHER_ACTS | SCHEDULE_ACTS)[act](site_runner, id)
    assert PipelineExecution.objects.count() == (1 if act in SCHEDULE_ACTS else 2)


@pytest.mark.parametrize("act", sorted(RUN_ACTS))
def test_a_run_of_the_open_transaction_cannot_be_moved_in_it(site_runner, act):
    with transaction.atomic():
        handle = site_runner.enqueue("w")
        with refused_at_once("" if is_file else f"run {handle.id} was written in the transaction"):
            RUN_ACTS[act](site_runner, handle.id)
    assert handle.status == "Pending"


@pytest.mark.parametrize("act", sorted(SCHEDULE_ACTS))
def test_a_schedule_of_the_open_transaction_starts_no_run_in_it(site_runner, act):
    with transaction.atomic():
        schedule_id = site_runner.register_cron_workflow("w", "0 0 * * *")
        with refused_at_once("" if is_file else f"schedule {schedule_id} was written"):
            SCHEDULE_ACTS[act](site_runner, schedule_id)
    assert not PipelineExecution.objects.exists()
    SCHEDULE_ACTS[act](site_runner, schedule_id)
    assert PipelineExecution.objects.exists()


def test_the_way_out_is_the_commit(site_runner):
    with transaction.atomic():
        handle = site_runner.enqueue("w")
        transaction.on_commit(handle.cancel)
    assert handle.status == "Cancelled"


@pytest.mark.skipif(is_file, reason="a file has one writer")
def test_a_server_lets_an_act_commit_beside_an_open_transaction(site_runner):
    handle, other = site_runner.enqueue("w"), site_runner.enqueue("w")
    with contextlib.suppress(ZeroDivisionError), transaction.atomic():
        site_runner.enqueue("w")
        handle.cancel()
        site_runner.pause(other.id)
        nobody = uuid.uuid4()
        with pytest.raises(RunNotFound, match=str(nobody)):
            site_runner.cancel(nobody)
        1 / 0  # noqa: B018 - rolls back
    assert (handle.status, other.status) == ("Cancelled", "Paused")
    assert PipelineExecution.objects.count() == 2


@pytest.mark.skipif(not is_file, reason="a server takes many writers")
@pytest.mark.parametrize("is_atomic", [True, False])
def test_a_task_that_has_a_transaction_is_refused_too(runner, is_atomic):
    def body(context):
        with refused_at_once():
            runner.pause_workflow("other")

    def block(context, handle):
        with handle.completing():
            body(context)

    workflows.single("other")
    workflows.single("w", body if is_atomic else block, atomic=is_atomic, retry_attempts=1)
    assert runner.execute("w", Context()).error_message is None


@pytest.mark.skipif(is_file, reason="a file refuses earlier")
def test_what_the_driver_says_comes_out_as_an_error_of_ours(site_runner):
    handle = site_runner.enqueue("w")
    with transaction.atomic():
        PipelineExecution.objects.select_for_update().get(pk=handle.id)
        with pytest.raises(OperationFailed, match="lock timeout; another transaction may hold"):
            handle.cancel()
    handle.cancel()


@pytest.mark.skipif(not is_file, reason="a server's lock timeout is tried above")
def test_a_file_that_stays_busy_comes_out_as_an_error_of_ours(site_runner, together, monkeypatch):
    patient = acts.open_session
    monkeypatch.setattr(acts, "open_session", lambda alias: patient(alias, patience=0.1))
    handle = site_runner.enqueue("w")
    begun, tried = threading.Event(), threading.Event()

    def writer():
        with transaction.atomic():
            PipelineExecution.objects.filter(pk=handle.id).update(reason="busy")
            begun.set()
            tried.wait(20)

    def operator():
        begun.wait(20)
        try:
            handle.cancel()
        finally:
            tried.set()

    _, outcome = together(writer, operator)
    assert isinstance(outcome, OperationFailed)
    assert "locked" in str(outcome)
