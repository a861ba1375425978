"""PipelineResult: what a caller reads, and cannot change."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from cloaca_django.core.context import Context
from cloaca_django.core.result import PipelineResult, TaskResult, WorkflowResult
from cloaca_django.core.states import RunStatus

STARTED = datetime(2026, 1, 31, 12, tzinfo=UTC)


def result(**facts: Any) -> PipelineResult:
    defaults: dict[str, Any] = {
        "execution_id": uuid.UUID(int=1),
        "workflow_name": "w",
        "status": RunStatus.COMPLETED,
        "started_at": STARTED,
        "ended_at": STARTED + timedelta(seconds=1.5),
        "final_context": Context({"a": [1]}),
    }
    return PipelineResult(**{**defaults, **facts})


def test_what_it_says() -> None:
    found = result(task_results=[TaskResult("a", "Completed", 2)])
    assert type(found.status) is str
    assert found.status == "Completed"
    assert found.error_message is None
    assert found.workflow_name == "w"
    assert found.duration == 1.5
    assert found.execution_id == "00000000-0000-0000-0000-000000000001"
    assert found.pipeline_execution_id == found.workflow_execution_id == found.execution_id
    assert found.task_results == (TaskResult("a", "Completed", 2, None),)
    assert found.task_results[0].task_name == "a"


def test_times_are_iso_text_in_utc_with_six_digits() -> None:
    west = timezone(timedelta(hours=-5))
    found = result(started_at=STARTED.astimezone(west))
    assert found.start_time == "2026-01-31T12:00:00.000000+00:00"
    assert found.end_time == "2026-01-31T12:00:01.500000+00:00"
    assert datetime.fromisoformat(found.start_time) == STARTED
    assert found.start_time <= found.end_time


def test_a_run_that_has_not_ended_has_no_end() -> None:
    found = result(ended_at=None, status="Running")
    assert found.end_time is None
    assert found.duration is None


def test_the_context_is_new_at_each_access() -> None:
    context = Context({"a": [1]})
    found = result(final_context=context)
    context.set("a", 2)
    found.final_context.set("a", 3)
    assert found.final_context == {"a": [1]}
    assert found.final_context is not found.final_context


def test_it_is_read_only() -> None:
    for name in ("status", "final_context", "error_message", "start_time", "nosuch"):
        with pytest.raises(AttributeError):
            setattr(result(), name, "x")


def test_repr_equality_and_the_other_name() -> None:
    assert repr(result()) == "PipelineResult(status=Completed, error=None)"
    failed = result(status=RunStatus.FAILED, error_message="task 'a' failed: boom")
    assert repr(failed) == "PipelineResult(status=Failed, error=task 'a' failed: boom)"
    assert failed != result(status=RunStatus.FAILED, error_message="task 'a' failed: boom")
    assert WorkflowResult is PipelineResult
