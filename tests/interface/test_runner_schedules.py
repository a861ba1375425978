"""Schedules through the facade: what each call does, and the shape of what it returns."""

from __future__ import annotations

import logging
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from cloaca_django import Context
from cloaca_django.core.states import RunStatus
from cloaca_django.errors import (
    CronDisabled,
    InvalidParams,
    RunnerClosed,
    ScheduleExists,
    ScheduleNotFound,
)
from cloaca_django.models import CronExecution, CronSchedule, PipelineExecution
from tests import workflows
from tests.interface.schedules import NIGHTLY, now, overdue, planned

TEN_KEYS = {
    "id", "workflow_name", "cron_expression", "timezone", "enabled", "catchup_policy",
    "next_run_at", "last_run_at", "created_at", "updated_at",
}  # fmt: skip
OUR_KEYS = {
    "name", "disabled_by", "disabled_reason", "overlap_policy", "deadline_seconds", "context",
    "queue", "priority", "start_date", "end_date", "last_run_id", "last_result", "skipped_count",
    "error_message",
}  # fmt: skip


@pytest.fixture
def site(make_runner):
    """A site's runner: it fires nothing, so what is due stays as it is."""
    workflows.single("w", workflows.writes("x", 1))
    return make_runner(using="default")


class TestRegister:
    def test_it_returns_the_id_as_text_and_plans_the_next_time(self, site):
        before = now()
        id = site.register_cron_workflow("w", NIGHTLY, "UTC")
        assert str(uuid.UUID(id)) == id
        schedule = site.get_cron_schedule(id)
        assert set(schedule) == TEN_KEYS | OUR_KEYS
        assert {name: schedule[name] for name in TEN_KEYS - {"next_run_at"}} == {
            "id": id,
            "workflow_name": "w",
            "cron_expression": NIGHTLY,
            "timezone": "UTC",
            "enabled": True,
            "catchup_policy": "all",
            "last_run_at": None,
            "created_at": schedule["created_at"],
            "updated_at": schedule["created_at"],
        }
        due = datetime.fromisoformat(schedule["next_run_at"])
        assert (due.hour, due.minute, due.second, due.utcoffset()) == (2, 0, 0, timedelta(0))
        assert before < due <= before + timedelta(days=1)

    def test_what_is_not_given_has_its_default(self, site):
        schedule = site.get_cron_schedule(site.register_cron_workflow("w", NIGHTLY))
        assert {name: schedule[name] for name in OUR_KEYS} == {
            "name": None, "disabled_by": None, "disabled_reason": None, "overlap_policy": "start",
            "deadline_seconds": None, "context": {}, "queue": "default", "priority": 0,
            "start_date": None, "end_date": None, "last_run_id": None, "last_result": None,
            "skipped_count": 0, "error_message": None,
        }  # fmt: skip

    def test_everything_that_may_be_said_is_kept(self, site):
        start = now().replace(microsecond=0) + timedelta(days=2)
        facts = {
            "name": "nightly", "catchup_policy": "latest", "overlap_policy": "skip",
            "deadline_seconds": 900, "queue": "reports", "priority": 7, "enabled": False,
        }  # fmt: skip
        id = site.register_cron_workflow(
            "w", NIGHTLY, "Europe/Berlin", context=Context({"a": [1]}), start_date=start,
            end_date=start + timedelta(days=9), **facts,
        )  # fmt: skip
        schedule = site.get_cron_schedule(id)
        assert {name: schedule[name] for name in facts} == facts
        assert schedule["context"] == {"a": [1]}
        assert schedule["start_date"] == start.isoformat()
        assert schedule["end_date"] == (start + timedelta(days=9)).isoformat()
        assert planned(site, id) >= start

    def test_zones_are_those_of_people(self, site):
        id = site.register_cron_workflow("w", "0 12 * * *", "America/New_York")
        assert planned(site, id).hour in {16, 17}

    def test_twice_the_same_is_two_schedules(self, site):
        ids = [site.register_cron_workflow("w", NIGHTLY, "UTC") for _ in range(2)]
        assert len(set(ids)) == 2
        assert [one["id"] for one in site.list_cron_schedules()] == ids

    def test_a_name_makes_it_one(self, site):
        first = site.register_cron_workflow("w", NIGHTLY, name="nightly", priority=3)
        again = site.register_cron_workflow("w", NIGHTLY, name="nightly")
        assert first == again
        changed = site.register_cron_workflow("w", "0 3 * * *", "Asia/Tokyo", name="nightly")
        assert changed == first
        (schedule,) = site.list_cron_schedules()
        assert (schedule["cron_expression"], schedule["timezone"]) == ("0 3 * * *", "Asia/Tokyo")
        assert schedule["priority"] == 3

    def test_saying_the_same_again_changes_nothing_and_drops_no_backlog(self, site):
        """A site says it at every start; what was missed during a deploy is still made up for."""
        id = site.register_cron_workflow("w", "* * * * *", name="nightly")
        due = overdue(id, by=timedelta(minutes=10))
        before = site.get_cron_schedule(id)
        site.register_cron_workflow("w", "* * * * *", name="nightly")
        assert site.get_cron_schedule(id) == before
        assert planned(site, id) == due

    def test_a_workflow_that_is_not_known_here_is_accepted_with_a_warning(self, site, caplog):
        id = site.register_cron_workflow("elsewhere", NIGHTLY, "UTC")
        assert site.get_cron_schedule(id)["workflow_name"] == "elsewhere"
        assert "no workflow 'elsewhere' is registered in this process" in caplog.text

    def test_an_end_that_has_passed_makes_it_disabled(self, site, caplog):
        id = site.register_cron_workflow("w", NIGHTLY, end_date=now() - timedelta(days=1))
        schedule = site.get_cron_schedule(id)
        assert (schedule["enabled"], schedule["next_run_at"]) == (False, None)
        assert schedule["disabled_reason"] == "its end date had passed when it was created"
        assert "schedule created disabled" in caplog.text

    def test_a_context_must_fit_the_workflow_at_every_fire(self, site):
        workflows.single("strict", builder={"params": {"day": str, "scheduled_time": str}})
        for facts in ({}, {"context": Context({"day": 7})}):
            with pytest.raises(InvalidParams, match="day"):
                site.register_cron_workflow("strict", NIGHTLY, **facts)
        assert site.list_cron_schedules() == []
        id = site.register_cron_workflow("strict", NIGHTLY, context=Context({"day": "mon"}))
        with pytest.raises(InvalidParams, match="day"):
            site.update_cron_schedule(id, context=Context())
        assert site.get_cron_schedule(id)["context"] == {"day": "mon"}


class TestInstances:
    def test_an_instance_has_a_name_and_params(self, site):
        id = site.register_workflow_instance(
            "w", "eu", NIGHTLY, "Europe/Berlin", Context({"region": "eu"})
        )
        schedule = site.get_cron_schedule(id)
        assert (schedule["name"], schedule["context"]) == ("w/eu", {"region": "eu"})
        assert (schedule["timezone"], schedule["enabled"]) == ("Europe/Berlin", True)

    def test_a_second_one_of_the_same_name_is_refused(self, site):
        site.register_workflow_instance("w", "eu", NIGHTLY, "UTC", Context())
        with pytest.raises(ScheduleExists, match="'w/eu' exists") as caught:
            site.register_workflow_instance("w", "eu", NIGHTLY, "UTC", Context({"a": 1}))
        assert "unique constraint" in str(caught.value).lower()
        assert len(site.list_cron_schedules()) == 1
        assert site.register_workflow_instance("w", "us", NIGHTLY, "UTC", Context())
        assert site.register_workflow_instance("v", "eu", NIGHTLY, "UTC", Context())

    def test_the_callers_transaction_survives_the_refusal(self, site):
        site.register_workflow_instance("w", "eu", NIGHTLY, "UTC", Context())
        with transaction.atomic():
            with pytest.raises(ScheduleExists):
                site.register_workflow_instance("w", "eu", NIGHTLY, "UTC", Context())
            site.register_workflow_instance("w", "us", NIGHTLY, "UTC", Context())
        assert [one["name"] for one in site.list_cron_schedules()] == ["w/eu", "w/us"]


class TestUpdate:
    def test_expression_and_zone_are_changed_and_the_next_time_is_planned_anew(self, site):
        id = site.register_cron_workflow("w", NIGHTLY, "UTC")
        overdue(id)
        site.update_cron_schedule(id, "0 12 * * *", "America/New_York")
        schedule = site.get_cron_schedule(id)
        assert schedule["cron_expression"] == "0 12 * * *"
        assert schedule["timezone"] == "America/New_York"
        assert planned(site, id) > now()
        assert planned(site, id).hour in {16, 17}
        assert schedule["updated_at"] > schedule["created_at"]

    def test_what_is_not_given_stays(self, site):
        id = site.register_cron_workflow("w", NIGHTLY, "Asia/Tokyo", name="n", priority=3)
        site.update_cron_schedule(id, "0 3 * * *")
        site.update_cron_schedule(id, catchup_policy="skip", deadline_seconds=60)
        schedule = site.get_cron_schedule(id)
        assert (schedule["cron_expression"], schedule["timezone"]) == ("0 3 * * *", "Asia/Tokyo")
        assert (schedule["catchup_policy"], schedule["deadline_seconds"]) == ("skip", 60)
        assert (schedule["name"], schedule["priority"], schedule["enabled"]) == ("n", 3, True)

    def test_only_the_times_decide_whether_a_backlog_is_dropped(self, site):
        id = site.register_cron_workflow("w", "* * * * *")
        due = overdue(id, by=timedelta(minutes=10))
        site.update_cron_schedule(id, priority=5, context=Context({"a": 1}))
        assert planned(site, id) == due
        site.update_cron_schedule(id, timezone="Asia/Tokyo")
        assert planned(site, id) > now()

    def test_a_disabled_one_stays_disabled(self, site):
        id = site.register_cron_workflow("w", NIGHTLY, "UTC")
        site.set_cron_schedule_enabled(id, False)
        site.update_cron_schedule(id, "0 3 * * *", "UTC")
        assert not site.get_cron_schedule(id)["enabled"]
        assert planned(site, id).hour == 3

    def test_dates_are_checked_beside_those_that_stay(self, site):
        start = now() + timedelta(days=5)
        id = site.register_cron_workflow("w", NIGHTLY, start_date=start)
        with pytest.raises(ValueError, match="end_date must not be before start_date"):
            site.update_cron_schedule(id, end_date=start - timedelta(days=1))
        site.update_cron_schedule(id, start_date=None, end_date=start)
        assert site.get_cron_schedule(id)["start_date"] is None
        assert planned(site, id) < start

    def test_a_name_that_is_taken_is_refused(self, site):
        site.register_cron_workflow("w", NIGHTLY, name="taken")
        id = site.register_cron_workflow("w", NIGHTLY)
        with pytest.raises(ScheduleExists, match="'taken' exists"):
            site.update_cron_schedule(id, name="taken")
        assert site.get_cron_schedule(id)["name"] is None


class TestEnable:
    def test_off_and_on(self, site):
        id = site.register_cron_workflow("w", NIGHTLY, "UTC")
        assert site.set_cron_schedule_enabled(id, False, by="ann", reason="holiday") is None
        schedule = site.get_cron_schedule(id)
        assert (schedule["enabled"], schedule["disabled_by"]) == (False, "ann")
        assert schedule["disabled_reason"] == "holiday"
        site.set_cron_schedule_enabled(id, True)
        schedule = site.get_cron_schedule(id)
        assert (schedule["enabled"], schedule["disabled_by"]) == (True, None)
        assert schedule["disabled_reason"] is None

    def test_while_it_is_off_no_backlog_builds_up(self, site):
        id = site.register_cron_workflow("w", "* * * * *")
        site.set_cron_schedule_enabled(id, False)
        overdue(id, by=timedelta(days=3))
        site.set_cron_schedule_enabled(id, True)
        assert now() < planned(site, id) <= now() + timedelta(minutes=1)

    def test_enabling_what_is_enabled_drops_no_backlog(self, site):
        id = site.register_cron_workflow("w", "* * * * *")
        due = overdue(id, by=timedelta(minutes=3))
        site.set_cron_schedule_enabled(id, True)
        assert planned(site, id) == due


class TestList:
    def test_by_workflow_and_then_by_age(self, site):
        ids = [site.register_cron_workflow(name, NIGHTLY) for name in ("b", "a", "c", "a")]
        order = [ids[1], ids[3], ids[0], ids[2]]
        assert [one["id"] for one in site.list_cron_schedules()] == order
        assert [one["id"] for one in site.list_cron_schedules(None, None, None)] == order
        assert [one["id"] for one in site.list_cron_schedules(False, 1, 0)] == order[:1]
        assert [one["id"] for one in site.list_cron_schedules(limit=2, offset=1)] == order[1:3]
        assert [one["id"] for one in site.list_cron_schedules(offset=3)] == order[3:]
        assert site.list_cron_schedules(limit=0) == []
        assert site.list_cron_schedules(offset=1_000_000_000) == []

    def test_only_the_enabled_ones(self, site):
        on, off = (site.register_cron_workflow("w", NIGHTLY) for _ in range(2))
        site.set_cron_schedule_enabled(off, False)
        assert [one["id"] for one in site.list_cron_schedules(enabled_only=True)] == [on]
        assert [one["id"] for one in site.list_cron_schedules(enabled_only=False)] == [on, off]
        assert [one["id"] for one in site.list_cron_schedules(None)] == [on, off]

    def test_without_a_limit_all_of_them(self, site):
        for n in range(120):
            site.register_cron_workflow("w", NIGHTLY, name=f"s{n}")
        assert len(site.list_cron_schedules()) == 120
        assert len(site.list_cron_schedules(limit=1_000)) == 120

    def test_many_cost_one_statement(self, site, django_assert_num_queries):
        for n in range(30):
            site.register_cron_workflow("w", NIGHTLY, name=f"s{n}")
        with django_assert_num_queries(1):
            site.list_cron_schedules()

    def test_one_with_a_spoilt_context_does_not_spoil_the_list(self, site):
        good, bad = (site.register_cron_workflow("w", NIGHTLY) for _ in range(2))
        CronSchedule.objects.filter(pk=bad).update(context="{nope")
        assert [one["context"] for one in site.list_cron_schedules()] == [{}, None]
        assert site.get_cron_schedule(good)["context"] == {}

    def test_a_parked_one_says_why(self, site):
        id = site.register_cron_workflow("w", NIGHTLY)
        CronSchedule.objects.filter(pk=id).update(parked_at=now(), error_message="zone gone")
        assert site.get_cron_schedule(id)["error_message"] == "zone gone"


class TestDelete:
    def test_it_takes_its_history_and_leaves_its_runs(self, site):
        id = site.register_cron_workflow("w", NIGHTLY)
        handles = site.backfill(id, now() - timedelta(days=3), now())
        assert site.delete_cron_schedule(id) is None
        assert not CronSchedule.objects.exists()
        assert not CronExecution.objects.exists()
        assert {handle.status for handle in handles} == {RunStatus.PENDING}
        with pytest.raises(ScheduleNotFound):
            site.get_cron_schedule(id)
        with pytest.raises(ScheduleNotFound):
            site.delete_cron_schedule(id)


class TestTransactions:
    def test_a_schedule_exists_if_and_only_if_its_caller_commits(self, site):
        with transaction.atomic():
            id = site.register_cron_workflow("w", NIGHTLY)
            assert site.get_cron_schedule(id)["id"] == id
            transaction.set_rollback(True)
        assert site.list_cron_schedules() == []

    def test_every_change_is_the_callers(self, site):
        id = site.register_cron_workflow("w", NIGHTLY)
        before = site.get_cron_schedule(id)
        with transaction.atomic():
            site.update_cron_schedule(id, "0 3 * * *")
            site.set_cron_schedule_enabled(id, False)
            site.delete_cron_schedule(id)
            transaction.set_rollback(True)
        assert site.get_cron_schedule(id) == before

    def test_a_refusal_leaves_the_callers_transaction_usable(self, site):
        with transaction.atomic():
            for call in (
                lambda: site.register_cron_workflow("w", "nope"),
                lambda: site.get_cron_schedule(uuid.uuid4()),
                lambda: site.update_cron_schedule(uuid.uuid4(), NIGHTLY),
            ):
                with pytest.raises(ValueError, match=r"cron|schedule"):
                    call()
            site.register_cron_workflow("w", NIGHTLY)
        assert len(site.list_cron_schedules()) == 1

    def test_a_name_that_two_register_at_once_is_one_schedule(self, site, together):
        def register():
            return site.register_cron_workflow("w", NIGHTLY, name="once")

        assert len(set(together(*[register] * 6))) == 1
        assert CronSchedule.objects.count() == 1

    def test_an_instance_that_two_register_at_once_is_refused_to_one(self, site, together):
        def register():
            return site.register_workflow_instance("w", "eu", NIGHTLY, "UTC", Context())

        found = together(*[register] * 4)
        assert sorted(type(one).__name__ for one in found) == ["ScheduleExists"] * 3 + ["str"]


def test_the_two_errors_of_a_runner_that_has_no_schedules(make_runner, database_url):
    workflows.single("w")
    off = make_runner(enable_cron_scheduling=False)
    closed = make_runner(using="default")
    id = closed.register_cron_workflow("w", NIGHTLY)
    closed.shutdown()
    calls = {
        "register": lambda runner: runner.register_cron_workflow("w", NIGHTLY, "UTC"),
        "instance": lambda runner: runner.register_workflow_instance(
            "w", "i", NIGHTLY, "UTC", Context()
        ),
        "list": lambda runner: runner.list_cron_schedules(),
        "get": lambda runner: runner.get_cron_schedule(id),
        "update": lambda runner: runner.update_cron_schedule(id, "0 3 * * *", "UTC"),
        "enable": lambda runner: runner.set_cron_schedule_enabled(id, False),
        "delete": lambda runner: runner.delete_cron_schedule(id),
        "history": lambda runner: runner.get_cron_execution_history(id),
        "stats": lambda runner: runner.get_cron_execution_stats("2026-01-01T00:00:00Z"),
        "trigger": lambda runner: runner.trigger_cron_schedule(id),
        "backfill": lambda runner: runner.backfill(id, "2026-01-01", "2026-01-02"),
    }
    for name, call in calls.items():
        with pytest.raises(CronDisabled, match="Cron scheduling not enabled") as caught:
            call(off)
        assert isinstance(caught.value, ValueError), name
        with pytest.raises(RunnerClosed):
            call(closed)
    assert CronSchedule.objects.get().enabled
    assert not PipelineExecution.objects.exists()


def test_logs_say_who_disabled_and_deleted(site, caplog):
    id = site.register_cron_workflow("w", NIGHTLY)
    with caplog.at_level(logging.INFO, "cloaca_django.schedule"):
        site.set_cron_schedule_enabled(id, False, by="ann")
        site.delete_cron_schedule(id)
    assert [(one.message, one.schedule_id) for one in caplog.records] == [
        ("schedule disabled", id),
        ("schedule deleted", id),
    ]


def test_moments_are_utc_whatever_the_sites_zone(site, settings):
    settings.TIME_ZONE = "Asia/Tokyo"
    id = site.register_cron_workflow("w", NIGHTLY, start_date=datetime(2030, 1, 1, tzinfo=UTC))
    schedule = site.get_cron_schedule(id)
    assert schedule["start_date"] == "2030-01-01T00:00:00+00:00"
    assert schedule["next_run_at"] == "2030-01-01T02:00:00+00:00"
