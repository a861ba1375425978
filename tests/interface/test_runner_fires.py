"""What schedules fired, as the facade tells it: history, statistics, runs started by hand."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.db import connection, transaction

from cloaca_django import Context, RunHandle
from cloaca_django.core.states import RunStatus
from cloaca_django.errors import IdempotencyConflict, InvalidOption
from cloaca_django.models import CronExecution, PipelineExecution
from tests import workflows
from tests.interface.conftest import until
from tests.interface.schedules import NIGHTLY, just_missed, now, overdue, planned


@pytest.fixture
def site(make_runner):
    """A site's runner: it fires nothing, so what is due stays as it is."""
    workflows.single("w", workflows.writes("x", 1))
    return make_runner(using="default")


class TestHistory:
    KEYS = {
        "id", "schedule_id", "scheduled_time", "claimed_at", "pipeline_execution_id",
        "created_at", "updated_at", "workflow_execution_id", "status", "reason",
    }  # fmt: skip

    def test_what_a_schedule_fired_newest_time_first(self, site):
        id = site.register_cron_workflow("w", "0 * * * *")
        handles = site.backfill(id, now() - timedelta(hours=3), now())
        history = site.get_cron_execution_history(id)
        assert len(history) == len(handles) == 3
        assert set(history[0]) == self.KEYS
        times = [one["scheduled_time"] for one in history]
        assert times == sorted(times, reverse=True)
        assert [one["pipeline_execution_id"] for one in history] == [
            str(handle.id) for handle in reversed(handles)
        ]
        for one in history:
            assert one["schedule_id"] == id
            assert one["workflow_execution_id"] == one["pipeline_execution_id"]
            assert (one["status"], one["reason"]) == (RunStatus.PENDING, None)
            assert one["created_at"] == one["updated_at"] == one["claimed_at"]
            assert datetime.fromisoformat(one["claimed_at"]).utcoffset() == timedelta(0)

    def test_in_pages(self, site):
        id = site.register_cron_workflow("w", "*/30 * * * *")
        site.backfill(id, now() - timedelta(hours=60), now())
        everything = site.get_cron_execution_history(id, 1000)
        assert len(everything) == 120
        assert site.get_cron_execution_history(id) == everything[:100]
        assert site.get_cron_execution_history(id, None, None) == everything[:100]
        assert site.get_cron_execution_history(id, 5, 10) == everything[10:15]
        assert site.get_cron_execution_history(id, limit=0) == []
        assert site.get_cron_execution_history(id, offset=115) == everything[115:]

    def test_of_a_schedule_that_has_not_fired(self, site):
        assert site.get_cron_execution_history(site.register_cron_workflow("w", NIGHTLY)) == []

    def test_a_time_that_was_passed_over_says_why(self, site):
        id = site.register_cron_workflow("w", NIGHTLY)
        CronExecution.objects.create(
            schedule_id=id, scheduled_time=now(), claimed_at=now(), reason="still open"
        )
        (one,) = site.get_cron_execution_history(id)
        assert (one["pipeline_execution_id"], one["status"]) == (None, None)
        assert one["reason"] == "still open"

    def test_a_run_that_was_begun_is_running(self, runner, gate):
        workflows.chain("w", lambda context: gate.pass_through(), workflows.nothing)
        id = runner.register_cron_workflow("w", NIGHTLY)
        (handle,) = runner.backfill(id, now() - timedelta(days=1), now())
        gate.await_arrival()
        assert runner.get_cron_execution_history(id)[0]["status"] == RunStatus.RUNNING
        assert runner.get_cron_schedule(id)["last_result"] == RunStatus.RUNNING
        gate.open()
        handle.wait(20)
        assert runner.get_cron_execution_history(id)[0]["status"] == "Completed"
        assert runner.get_cron_schedule(id)["last_result"] == "Completed"
        assert runner.get_cron_schedule(id)["last_run_id"] == str(handle.id)


class TestStats:
    EMPTY = {
        "total_executions": 0, "successful_executions": 0, "failed_executions": 0,
        "running_executions": 0, "skipped_executions": 0, "lost_executions": 0,
        "success_rate": 0.0,
    }  # fmt: skip

    def test_of_an_empty_database(self, site):
        stats = site.get_cron_execution_stats("2020-01-01T00:00:00+00:00")
        assert stats == self.EMPTY
        assert {type(value) for name, value in stats.items() if name != "success_rate"} == {int}
        assert type(stats["success_rate"]) is float

    def test_every_fire_is_counted_by_what_became_of_its_run(self, site):
        id = site.register_cron_workflow("w", "0 * * * *")
        made = site.backfill(id, now() - timedelta(hours=8), now())
        ends = [RunStatus.COMPLETED] * 4 + [RunStatus.FAILED, RunStatus.CANCELLED]
        for handle, status in zip(made, ends, strict=False):
            PipelineExecution.objects.filter(pk=handle.id).update(status=status, finished_at=now())
        CronExecution.objects.create(
            schedule_id=id, scheduled_time=now(), claimed_at=now(), reason="still open"
        )
        assert site.get_cron_execution_stats(now() - timedelta(hours=1)) == {
            "total_executions": 8,
            "successful_executions": 4,
            "failed_executions": 2,
            "running_executions": 2,
            "skipped_executions": 1,
            "lost_executions": 0,
            "success_rate": 0.5,
        }

    def test_what_counts_is_when_it_was_fired(self, site):
        id = site.register_cron_workflow("w", NIGHTLY)
        site.backfill(id, now() - timedelta(days=5), now())
        assert site.get_cron_execution_stats(now() - timedelta(minutes=1))["total_executions"] == 5
        assert site.get_cron_execution_stats(now() + timedelta(days=1)) == self.EMPTY

    def test_a_triggered_run_is_none_of_its_times(self, site):
        id = site.register_cron_workflow("w", NIGHTLY)
        site.trigger_cron_schedule(id)
        assert site.get_cron_execution_stats("2020-01-01") == self.EMPTY

    @pytest.mark.parametrize("spell", [datetime.isoformat, str, lambda moment: moment])
    def test_a_naive_moment_as_the_seed_makes_it(self, site, spell):
        moment = now().astimezone().replace(tzinfo=None) - timedelta(days=1)
        assert site.get_cron_execution_stats(spell(moment)) == self.EMPTY


class TestTrigger:
    def test_it_starts_a_run_now_and_counts_for_none_of_the_times(self, site):
        id = site.register_cron_workflow("w", NIGHTLY, context=Context({"a": 1}), priority=3)
        before = site.get_cron_schedule(id)
        handle = site.trigger_cron_schedule(id, by="ann", reason="to see")
        assert isinstance(handle, RunHandle)
        run = PipelineExecution.objects.get()
        assert (run.pk, str(run.schedule_id), run.priority) == (handle.id, id, 3)
        assert (run.origin, run.created_by, run.reason) == ("schedule", "ann", "to see")
        assert set(Context.from_json(run.context).keys()) == {
            "a", "scheduled_time", "schedule_id", "schedule_timezone", "schedule_expression",
        }  # fmt: skip
        assert not CronExecution.objects.exists()
        after = site.get_cron_schedule(id)
        assert after == before | {"last_run_id": str(handle.id), "last_result": "Pending"}

    def test_a_key_starts_one_run_whenever_it_comes_again(self, site):
        id, other = (
            site.register_cron_workflow("w", NIGHTLY, name=name) for name in ("one", "other")
        )
        first = site.trigger_cron_schedule(id, idempotency_key="k")
        again = site.trigger_cron_schedule(id, idempotency_key="k")
        assert again.id == first.id
        assert PipelineExecution.objects.get().idempotency_key == "k"
        with pytest.raises(IdempotencyConflict, match="'k' belongs to a run of workflow 'w'"):
            site.trigger_cron_schedule(other, idempotency_key="k")
        with pytest.raises(InvalidOption, match="idempotency_key"):
            site.trigger_cron_schedule(id, idempotency_key="")
        assert PipelineExecution.objects.count() == 1

    def test_a_disabled_one_can_be_triggered(self, runner):
        workflows.single("w", workflows.writes("x", 1))
        id = runner.register_cron_workflow("w", NIGHTLY, enabled=False)
        result = runner.trigger_cron_schedule(id).wait(20)
        assert result.status == "Completed"
        assert result.final_context["x"] == 1
        assert result.final_context["schedule_id"] == id

    def test_one_of_unknown_code_cannot(self, site):
        id = site.register_cron_workflow("elsewhere", NIGHTLY)
        with pytest.raises(ValueError, match="Workflow not found in registry: elsewhere"):
            site.trigger_cron_schedule(id)
        assert not PipelineExecution.objects.exists()

    @pytest.mark.skipif(connection.vendor == "sqlite", reason="a file has one writer at a time")
    def test_it_commits_on_its_own(self, site):
        id = site.register_cron_workflow("w", NIGHTLY)
        with transaction.atomic():
            site.trigger_cron_schedule(id)
            transaction.set_rollback(True)
        assert PipelineExecution.objects.count() == 1


def test_a_whole_runner_fires_what_is_due_and_tells_what_came_of_it(runner):
    workflows.single("w", workflows.writes("x", 1))
    expression, due = just_missed()
    id = runner.register_cron_workflow("w", expression, "UTC")
    overdue(id)
    runner.set_cron_schedule_enabled(id, True)  # somebody must say that something changed
    until(lambda: runner.get_cron_schedule(id)["last_result"] == "Completed")
    (fire,) = runner.get_cron_execution_history(id)
    assert fire["scheduled_time"] == due.isoformat()
    result = runner.result_of(fire["pipeline_execution_id"])
    assert result.final_context["scheduled_time"] == due.isoformat()
    assert runner.get_cron_execution_stats("2020-01-01T00:00:00Z")["success_rate"] == 1.0


def test_a_schedule_made_in_a_task_fires(runner):
    """It is written on the task's own connection, which nobody watches."""
    ids = []

    def body(context):
        ids.append(runner.register_cron_workflow("w", "* * * * *", name="made"))

    workflows.single("w", workflows.writes("x", 1))
    workflows.single("maker", body)
    assert runner.execute("maker", Context()).status == "Completed"
    assert planned(runner, ids[0]) > now()
