"""What the outside hears of a run: signals after the commit, log records, captured logs."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from contextlib import contextmanager
from unittest import mock

import pytest
from django.db import connection, transaction
from django.dispatch import Signal

from cloaca_django import Context, signals
from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.engine import capture
from cloaca_django.models import PipelineExecution, TaskExecution, TaskLog
from tests import workflows
from tests.interface.conftest import until


class Ears:
    """Keeps what a signal said, on which thread, and what the database said then."""

    def __init__(self) -> None:
        self.heard: list[dict[str, object]] = []
        self.threads: set[str] = set()
        self.stored: list[str] = []

    def __call__(self, sender, **facts):
        self.threads.add(threading.current_thread().name)
        self.stored.append(PipelineExecution.objects.get(pk=facts["run_id"]).status)
        facts.pop("signal")
        self.heard.append({"sender": sender, **facts})


@pytest.fixture
def listen():
    connected: list[tuple[Signal, Ears]] = []

    def to(signal: Signal) -> Ears:
        ears = Ears()
        signal.connect(ears, weak=False)
        connected.append((signal, ears))
        return ears

    yield to
    for signal, ears in connected:
        signal.disconnect(ears)
    for thread in threading.enumerate():
        if thread.name == "cloaca-signals":
            thread.join(10)


def test_the_end_of_a_run_is_told_after_its_commit_on_a_thread_of_its_own(runner, listen):
    ears = listen(signals.run_finished)
    workflows.single("w")
    result = runner.execute("w", Context())
    until(lambda: ears.heard)
    assert [(one["sender"], str(one["run_id"]), one["status"]) for one in ears.heard] == [
        ("w", result.execution_id, "Completed")
    ]
    assert ears.stored == [RunStatus.COMPLETED]
    assert ears.threads == {"cloaca-signals"}


def test_signals_come_in_the_order_of_the_commits(runner, listen):
    ears = listen(signals.task_completed)
    workflows.chain("w", *[workflows.nothing] * 5)
    runner.execute("w", Context())
    until(lambda: len(ears.heard) == 5)
    assert [one["task"] for one in ears.heard] == list("abcde")
    assert {one["sender"] for one in ears.heard} == {"w"}
    assert {one["attempt"] for one in ears.heard} == {1}


def test_a_failed_attempt_names_its_task_and_says_whether_it_is_tried_again(runner, listen):
    ears, ended = listen(signals.task_failed), listen(signals.run_finished)
    workflows.single("w", workflows.boom, retry_attempts=2, retry_delay_ms=1)
    runner.execute("w", Context())
    until(lambda: ended.heard)
    facts = [(one["sender"], one["task"], one["attempt"], one["will_retry"]) for one in ears.heard]
    assert facts == [("w", "a", 1, True), ("w", "a", 2, False)]
    assert {one["error"] for one in ears.heard} == {"ValueError: boom"}
    assert ended.heard[0]["error_message"] == "Task 'a' failed: ValueError: boom"


def cancelled(runner, gate):
    workflows.single("w", lambda context: gate.pass_through())
    handle = runner.enqueue("w")
    gate.await_arrival()
    handle.cancel(reason="enough")
    gate.open()
    return RunStatus.CANCELLED


def overdue(runner, gate):
    workflows.single("w", lambda context: gate.pass_through())
    runner.enqueue("w")
    gate.await_arrival()
    past = "now() - interval '1 second'" if connection.vendor != "sqlite" else "'2000-01-01'"
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE cloaca_run SET deadline_at = {past}")
    return RunStatus.FAILED


def skipped(runner, gate):
    workflows.single("w", trigger_rules={"type": "Any", "conditions": []})
    runner.execute("w", Context())
    return RunStatus.COMPLETED


def atomic(runner, gate):
    workflows.single("w", atomic=True)
    runner.execute("w", Context())
    return RunStatus.COMPLETED


@pytest.mark.parametrize("way", [cancelled, overdue, skipped, atomic])
def test_every_end_of_a_run_is_told_once(runner, listen, gate, caplog, way):
    caplog.set_level(logging.INFO, logger="cloaca_django.run")
    ears = listen(signals.run_finished)
    status = way(runner, gate)
    until(lambda: ears.heard)
    gate.open()
    runner.shutdown(grace=5)
    assert [one["status"] for one in ears.heard] == [status]
    ends = [record for record in caplog.records if getattr(record, "status", "") == status]
    assert len(ends) == 1
    assert ends[0].run_id == str(PipelineExecution.objects.get().pk)


def test_a_receiver_that_raises_disturbs_nobody(runner, listen, caplog):
    def broken(sender, **facts):
        raise RuntimeError("receiver")

    signals.run_finished.connect(broken)
    try:
        ears = listen(signals.run_finished)
        workflows.single("w")
        assert runner.execute("w", Context()).status == "Completed"
        until(lambda: ears.heard)
    finally:
        signals.run_finished.disconnect(broken)


def test_a_rolled_back_submission_is_never_told(make_runner, listen):
    ears = listen(signals.run_finished)
    workflows.single("w", trigger_rules={"type": "Any", "conditions": []})
    runner = make_runner(using="default")
    with transaction.atomic():
        runner.enqueue("w")
        transaction.set_rollback(True)
    assert ears.heard == []


def test_records_carry_ids_and_names(runner, caplog):
    caplog.set_level(logging.DEBUG, logger="cloaca_django")
    workflows.define(
        "w",
        ("a", workflows.nothing, {}),
        ("b", workflows.boom, {"retry_attempts": 2, "retry_delay_ms": 1}),
    )
    run_id = runner.execute("w", Context()).execution_id
    until(lambda: any(hasattr(record, "status") for record in caplog.records))
    told = [
        (record.task, record.attempt, record.getMessage())
        for record in caplog.records
        if record.name == "cloaca_django.task"
        and record.levelno >= logging.WARNING
        and record.run_id == run_id
        and record.workflow == "w"
    ]
    assert told == [("b", 1, "task will be retried"), ("b", 2, "task failed")]
    completed = [r for r in caplog.records if r.getMessage() == "task completed"]
    assert [(record.task, record.run_id) for record in completed] == [("a", run_id)]
    ended = [r for r in caplog.records if r.name == "cloaca_django.run" and hasattr(r, "status")]
    assert [(record.workflow, record.run_id, record.status) for record in ended] == [
        ("w", run_id, "Failed")
    ]


def test_no_record_holds_a_value_of_the_context(runner, caplog):
    caplog.set_level(logging.DEBUG)
    workflows.chain("w", workflows.writes("x", "S3CR3T-OUT"), workflows.boom, retry_attempts=1)
    runner.execute("w", Context({"password": "S3CR3T-IN"}))
    assert "S3CR3T" not in " ".join(str(record.__dict__) for record in caplog.records)


log = logging.getLogger("site.reports")


def test_what_a_task_logs_is_kept_with_its_attempt(runner, caplog):
    caplog.set_level(logging.INFO)
    calls = []

    def body(context):
        calls.append(1)
        log.info("call %d", len(calls))
        if len(calls) == 1:
            raise ValueError("boom")

    workflows.single("w", body, retry_delay_ms=1)
    runner.execute("w", Context())
    kept = list(TaskLog.objects.order_by("attempt").values_list("attempt", "text"))
    assert [attempt for attempt, _ in kept] == [1, 2]
    assert "INFO site.reports: call 1" in kept[0][1]
    assert "call 2" in kept[1][1]
    assert "call 1" not in kept[1][1]


def test_logs_of_tasks_side_by_side_do_not_mix(make_runner, caplog):
    caplog.set_level(logging.INFO)
    runner = make_runner(max_concurrent_tasks=4)
    barrier = threading.Barrier(4)

    def leaf(name):
        def body(context):
            barrier.wait(10)
            for _ in range(20):
                log.info("from %s", name)

        return body

    workflows.define("w", *((name, leaf(name), {}) for name in ("p", "q", "r", "s")))
    runner.execute("w", Context())
    for row in TaskLog.objects.select_related("task"):
        lines = row.text.splitlines()
        assert len(lines) == 20
        assert all(line.endswith(f"from {row.task.name}") for line in lines)


def test_logs_of_async_tasks_are_kept_apart_too(runner, caplog):
    caplog.set_level(logging.INFO)

    def leaf(name):
        async def body(context):
            for _ in range(3):
                log.info("from %s", name)
                await asyncio.sleep(0)

        return body

    workflows.define("w", ("p", leaf("p"), {}), ("q", leaf("q"), {}))
    runner.execute("w", Context())
    found = {
        row.task.name: row.text.count(f"from {row.task.name}") for row in TaskLog.objects.all()
    }
    assert found == {"p": 3, "q": 3}


@pytest.mark.parametrize("letter", ["x", "é", "😀"])
def test_a_long_log_is_cut_at_64_kilobytes(runner, caplog, letter):
    caplog.set_level(logging.INFO)
    workflows.single("w", lambda context: [log.info(letter * 1000) for _ in range(200)] and None)
    assert runner.execute("w", Context()).status == "Completed"
    text = TaskLog.objects.get().text
    assert 60_000 < len(text.encode()) <= 65_536
    assert text.endswith("[... cut here]")


def test_one_huge_record_is_cut_too(runner, caplog):
    caplog.set_level(logging.INFO)
    workflows.single("w", lambda context: log.info("x" * 1_000_000))
    runner.execute("w", Context())
    assert len(TaskLog.objects.get().text.encode()) <= 65_536


def test_a_log_that_no_database_stores_is_made_storable(runner, caplog):
    caplog.set_level(logging.INFO)
    workflows.single("w", lambda context: log.info("nul \x00 and \ud800 and %s", "ü"))
    assert runner.execute("w", Context()).status == "Completed"
    assert "nul ␀ and \\ud800 and ü" in TaskLog.objects.get().text


def test_a_record_that_cannot_be_formatted_disturbs_nobody(runner, caplog, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    caplog.set_level(logging.INFO, logger="other")
    workflows.single("w", lambda context: logging.getLogger("quiet").warning("%d", "no number"))
    assert runner.execute("w", Context()).status == "Completed"


def test_capture_can_be_switched_off(make_runner, settings, caplog):
    caplog.set_level(logging.INFO)
    settings.CLOACA = {"LOG_CAPTURE": False}
    workflows.single("w", lambda context: log.warning("not kept"))
    make_runner().execute("w", Context())
    assert not TaskLog.objects.exists()


def test_no_log_is_written_when_nothing_was_logged(runner):
    workflows.single("w")
    runner.execute("w", Context())
    assert not TaskLog.objects.exists()
    assert TaskExecution.objects.get().status == TaskStatus.COMPLETED


@contextmanager
def capturing(*handlers):
    """Capture logs as a process does whose root logger has these handlers and no other."""
    # Another one than the process's own, which a runner may have installed by now.
    captured = capture.Capture()
    with mock.patch.object(logging.getLogger(), "handlers", [*handlers]):
        captured.install()
        yield
        captured.remove()


def test_warnings_are_printed_in_a_site_without_handlers_as_if_nothing_was_captured(capsys):
    with capturing():
        logging.getLogger("cloaca_django.worker").warning("the lease lapsed")
        logging.getLogger("cloaca_django.worker").info("nothing that Python prints")
    assert capsys.readouterr().err == "the lease lapsed\n"


def test_a_site_with_a_handler_gets_each_record_there_and_only_there(capsys):
    with capturing(logging.StreamHandler(sys.stdout)):
        logging.getLogger("cloaca_django.worker").warning("the lease lapsed")
    assert capsys.readouterr() == ("the lease lapsed\n", "")
