"""cloaca_schedules: what each action does, prints and ends with."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from cloaca_django import DefaultRunner, WorkflowBuilder, schedule, task
from cloaca_django.core import registry
from cloaca_django.core.states import Origin
from cloaca_django.dialect import site_session
from cloaca_django.models import CronExecution, CronSchedule, PipelineExecution
from tests import workflows
from tests.interface.commands import Ran, run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def site(transactional_db, workflows_of_test):
    """The site's runner, and a workflow ``report`` that schedules start."""
    workflows.single("report", workflows.writes("done", True))
    with DefaultRunner(using="default") as runner:
        yield runner


def schedules(*arguments: str) -> Ran:
    return run("cloaca_schedules", *arguments)


def made(site: DefaultRunner, name: str | None = "nightly", **facts) -> CronSchedule:
    """Make a schedule of ``report``."""
    given = {"cron_expression": "30 2 * * *", "timezone": "Europe/Berlin", **facts}
    id = site.register_cron_workflow("report", name=name, **given)
    return CronSchedule.objects.get(pk=id)


def parked(row: CronSchedule, error: str) -> None:
    CronSchedule.objects.filter(pk=row.pk).update(
        parked_at=site_session("default").clock(), error_message=error
    )


# list


def test_list_without_schedules_says_so(site):
    assert schedules("list").out == "There is no schedule\n"


def test_list_shows_the_sentence_and_the_next_run_on_both_clocks(site):
    made(site)
    CronSchedule.objects.update(next_run_at="2026-07-01T00:30:00Z")
    head, line = schedules("list").out.splitlines()
    assert head.split("  ")[0] == "SCHEDULE"
    assert re.split("  +", line) == [
        "nightly", "report", "At 02:30 (Europe/Berlin)", "2026-07-01 02:30 CEST = 00:30 UTC",
        "-", "enabled",
    ]  # fmt: skip


def test_list_gives_the_date_in_utc_where_it_is_another_one(site):
    made(site, timezone="America/New_York")
    CronSchedule.objects.update(next_run_at="2026-07-01T02:30:00Z")
    assert "2026-06-30 22:30 EDT = 2026-07-01 02:30 UTC" in schedules("list").out


def test_list_shows_the_id_of_a_schedule_without_a_name(site):
    row = made(site, name=None)
    assert str(row.pk) in schedules("list").out


def test_list_shows_how_the_last_run_ended(site):
    made(site)
    schedules("trigger", "nightly", "--wait")
    assert "  Completed  enabled" in schedules("list").out


def test_list_says_why_a_schedule_is_parked_or_disabled(site):
    made(site, name="off")
    schedules("disable", "off", "--reason", "stocktaking")
    parked(made(site, name="stuck"), "the zone is gone")
    made(site, name="ended", cron_expression="0 0 29 2 *", end_date=None)
    CronSchedule.objects.filter(name="ended").update(next_run_at=None)
    lines = schedules("list").out.splitlines()
    assert [line.strip().rpartition("  ")[2] for line in lines[1:] if line[0] != " "] == [
        "disabled", "parked", "ended",
    ]  # fmt: skip
    assert lines[2].startswith("  disabled by ")
    assert lines[2].endswith(": stocktaking")
    assert lines[4] == "  parked: the zone is gone"


def test_list_shows_a_schedule_whose_zone_is_gone(site):
    row = made(site)
    CronSchedule.objects.update(timezone="Mars/Olympus")
    parked(row, "no such zone")
    assert "30 2 * * * (Mars/Olympus)" in schedules("list").out


def test_list_as_json_has_what_a_script_needs_and_no_secret(site):
    made(site, context={"password": "x", "region": "eu"})
    CronSchedule.objects.update(next_run_at="2026-07-01T00:30:00Z")
    (data,) = schedules("list", "--format", "json").data
    assert data["name"] == "nightly"
    assert data["sentence"] == "At 02:30"
    assert (data["state"], data["declared"], data["edited"]) == ("enabled", False, False)
    assert data["next_run_local"] == "2026-07-01T02:30:00+02:00"
    assert data["context"] == {"password": "***", "region": "eu"}


# preview


def test_preview_of_an_expression_shows_its_times_in_its_zone_and_in_utc(site):
    ran = schedules("preview", "0 2 * * *", "--timezone", "Asia/Tokyo", "--count", "2")
    first, *times = ran.out.splitlines()
    assert first == "At 02:00  (0 2 * * *, Asia/Tokyo)"
    assert len(times) == 2
    for line in times:
        assert " 02:00 JST = " in line
        assert line.endswith(" 17:00 UTC")


def test_preview_warns_of_what_its_author_may_not_expect(site):
    assert "Note: Runs when either matches" in schedules("preview", "0 2 1 * 1").out


def test_preview_as_json(site):
    data = schedules("preview", "@hourly", "--count", "3", "--format", "json").data
    assert (data["timezone"], len(data["next"]), data["warnings"]) == ("UTC", 3, [])
    assert data["next"][0]["local"] == data["next"][0]["utc"]


@pytest.mark.parametrize("by", ["name", "pk"])
def test_preview_of_a_schedule_by_name_or_id(site, by):
    row = made(site)
    out = schedules("preview", str(getattr(row, by))).out
    assert out.startswith("At 02:30  (30 2 * * *, Europe/Berlin)\n")


def test_preview_keeps_to_the_dates_of_a_schedule(site):
    now = site_session("default").clock().replace(hour=12)
    made(site, start_date=now + timedelta(days=10), end_date=now + timedelta(days=12))
    times = [line for line in schedules("preview", "nightly").out.splitlines() if line[0] == " "]
    assert len(times) == 2
    made(site, name="past", end_date=now - timedelta(days=2))
    assert "  never again" in schedules("preview", "past").out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["* * *"], "needs 5 fields"),
        (["61 * * * *"], "61 is out of range"),
        (["@reboot"], "@reboot is not supported"),
        (["0 0 31 2 *"], "can never fire"),
        (["0 2 * * *", "--timezone", "Mars/Olympus"], "'Mars/Olympus' is not a zone"),
        (["nightly", "--timezone", "UTC"], "needs 5 fields"),
        (["0 2 * * *", "--count", "0"], "--count must be from 1 to 1000"),
        (["0 2 * * *", "--count", "1001"], "--count must be from 1 to 1000"),
        (["nightli"], "did you mean 'nightly'?"),
    ],
)
def test_a_preview_of_what_is_none_is_a_usage_error(site, arguments, says):
    made(site)
    ran = schedules("preview", *arguments)
    assert ran.code == 2
    assert says in ran.err


# enable, disable, delete


def test_disable_keeps_who_and_why_and_enable_plans_from_now_on(site):
    row = made(site)
    assert schedules("disable", "nightly", "--reason", "moving").code == 0
    row.refresh_from_db()
    assert (row.enabled, row.disabled_reason) == (False, "moving")
    assert row.disabled_by
    ran = schedules("enable", str(row.pk))
    row.refresh_from_db()
    assert (row.enabled, row.disabled_reason) == (True, "")
    assert ran.out.startswith("nightly is enabled; it runs next at ")


def test_enable_says_so_when_there_is_no_further_time(site):
    made(site, end_date=site_session("default").clock() - timedelta(days=1))
    assert "it has no further time" in schedules("enable", "nightly").out


def test_delete_takes_the_schedule_and_its_history_and_leaves_its_runs(site):
    made(site)
    schedules("trigger", "nightly")
    assert schedules("delete", "nightly").out.startswith("nightly is deleted")
    assert not CronSchedule.objects.exists()
    assert PipelineExecution.objects.count() == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["enable"], ["disable"], ["delete"], ["trigger"],
        ["backfill", "--from", "2026-01-01", "--to", "2026-01-02"],
    ],
    ids=lambda arguments: arguments[0],
)  # fmt: skip
@pytest.mark.parametrize("word", ["nix", "0198a000-0000-7000-8000-000000000000", "", "\0"])
def test_a_schedule_that_is_not_there_is_a_usage_error(site, arguments, word):
    name, *more = arguments
    ran = schedules(name, word, *more)
    assert ran.code == 2
    assert "Record not found" in ran.err


@pytest.mark.parametrize("word", ["\ud800", "a\x00", "a\x1b[31m", "", "x" * 300])
@pytest.mark.parametrize("act", ["preview", "enable", "trigger"])
def test_a_word_that_no_schedule_can_be_called_is_not_found(site, act, word):
    ran = run("cloaca_schedules", act, word)
    assert ran.code != 0
    assert "Record not found: schedule " in ran.err
    assert ran.err.replace("\n", "").isprintable()


def test_a_schedule_named_like_an_id_is_found_by_its_name(site):
    made(site, name="0198a000-0000-7000-8000-000000000000")
    assert schedules("preview", "0198a000-0000-7000-8000-000000000000").code == 0


# sync


@pytest.fixture
def declared(site):
    """A schedule that code declares."""

    @schedule("0 2 * * *", timezone="Europe/Berlin")
    def nightly(context): ...


def test_sync_writes_what_code_declares_and_once_only(declared):
    assert schedules("sync").out == "nightly (nightly): created\n"
    assert schedules("sync").out == "nightly (nightly): unchanged\n"
    assert CronSchedule.objects.get().timezone == "Europe/Berlin"


def test_sync_without_declarations_says_so(site):
    assert schedules("sync").out == "No code declares a schedule\n"


def test_an_edited_schedule_is_marked_kept_and_given_back_by_reset(site, declared):
    schedules("sync")
    site.update_cron_schedule(CronSchedule.objects.get().pk, "0 5 * * *", "Europe/Berlin")
    assert "enabled, edited by hand" in schedules("list").out
    assert schedules("sync").out == "nightly (nightly): edited by hand, left as it is\n"
    assert schedules("sync", "--reset").out == "nightly (nightly): changed\n"
    assert "edited" not in schedules("list").out


def test_what_code_no_longer_declares_is_named_and_disabled_by_prune(site, declared):
    schedules("sync")
    with registry.isolated():
        assert schedules("sync").out == "nightly (nightly): no code declares it any more\n"
        assert "disabled: no code" in schedules("sync", "--prune").out
    assert CronSchedule.objects.get().enabled is False


def test_deleting_a_declared_schedule_warns_that_it_comes_back(declared):
    schedules("sync")
    assert "Code declares it: the next sync makes it again" in schedules("delete", "nightly").err


def test_two_workflows_that_declare_one_name_are_refused_by_the_check(site):
    for name in ("one", "two"):
        with WorkflowBuilder(name) as builder:
            builder.schedule("0 2 * * *", name="same")
            task()(workflows.nothing)
    ran = schedules("sync")
    assert ran.code == 2
    assert "cloaca.E021" in ran.err
    assert not CronSchedule.objects.exists()


# trigger


def test_trigger_submits_a_run_and_names_it(site):
    made(site, context={"region": "eu"}, queue="mail", priority=2)
    ran = schedules("trigger", "nightly", "--reason", "a test")
    run = PipelineExecution.objects.get()
    assert ran.out == f"Run {run.pk} of 'report' is submitted\n"
    assert "No live worker serves 'report' in queue 'mail'" in ran.err
    assert (run.origin, run.queue, run.priority, run.reason) == (
        Origin.SCHEDULE, "mail", 2, "a test",
    )  # fmt: skip
    assert run.created_by
    assert not CronExecution.objects.exists()


def test_trigger_runs_a_disabled_schedule_and_waits_for_it(site):
    made(site, enabled=False)
    data = schedules("trigger", "nightly", "--wait", "--format", "json").data
    assert data["status"] == "Completed"
    assert data["final_context"]["done"] is True


def test_a_failed_run_that_was_waited_for_is_exit_code_1(site):
    with pytest.warns(UserWarning, match="replaces"):
        workflows.single("report", workflows.boom, retry_attempts=1)
    made(site)
    ran = schedules("trigger", "nightly", "--wait")
    assert ran.code == 1
    assert "ValueError: boom" in ran.out


@pytest.mark.parametrize("arguments", [["--timeout", "3"], ["--wait", "--timeout", "0"]])
def test_a_timeout_that_means_nothing_is_refused(site, arguments):
    made(site)
    assert schedules("trigger", "nightly", *arguments).code == 2
    assert not PipelineExecution.objects.exists()


def test_trigger_of_a_workflow_that_is_not_here_is_refused(site):
    site.register_cron_workflow("elsewhere", "0 2 * * *", name="far")
    ran = schedules("trigger", "far")
    assert ran.code == 2
    assert "Workflow not found in registry: elsewhere" in ran.err


# backfill

MAY = ["--from", "2026-05-01T00:00:00+02:00", "--to", "2026-05-20T00:00:00+02:00"]


def test_a_dry_backfill_shows_the_times_that_have_no_run_and_starts_none(site):
    made(site)
    lines = schedules("backfill", "nightly", *MAY, "--dry-run").out.splitlines()
    assert lines[:2] == [
        "Would submit 19 runs of nightly", "  2026-05-01 02:30 CEST = 00:30 UTC",
    ]  # fmt: skip
    assert lines[6] == "  ... 9 more ..."
    assert lines[-1] == "  2026-05-19 02:30 CEST = 00:30 UTC"
    assert not PipelineExecution.objects.exists()


def test_a_backfill_starts_a_run_per_time_and_none_twice(site):
    made(site)
    first = ["--from", "2026-05-01T00:00:00+02:00", "--to", "2026-05-03T12:00:00+02:00"]
    assert schedules("backfill", "nightly", *first).out == "Submitted 3 runs of nightly\n"
    dry = schedules("backfill", "nightly", *MAY, "--dry-run").out
    assert dry.startswith("Would submit 16 runs of nightly\n  2026-05-04 ")
    assert schedules("backfill", "nightly", *MAY).out == "Submitted 16 runs of nightly\n"
    assert schedules("backfill", "nightly", *MAY).out == "Submitted 0 runs of nightly\n"
    assert PipelineExecution.objects.count() == CronExecution.objects.count() == 19


@pytest.mark.parametrize(
    ("start", "end", "says"),
    [
        ("yesterday", "2026-05-02", "Invalid datetime format: 'yesterday'"),
        ("2026-05-02", "2026-05-01", "must not be after the end"),
        ("2026-05-02", "2999-01-01", "must have passed"),
        ("1990-01-01", "2026-01-01", "take the range in parts"),
    ],
)
@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["wet", "dry"])
def test_a_range_that_is_none_is_a_usage_error(site, start, end, says, dry):
    made(site)
    ran = schedules("backfill", "nightly", "--from", start, "--to", end, *dry)
    assert ran.code == 2
    assert says in ran.err
    assert not PipelineExecution.objects.exists()


# what all actions share


def test_the_alias_may_be_named_before_and_after_the_action(site):
    for arguments in (["--database", "nix", "list"], ["list", "--database", "nix"]):
        ran = schedules(*arguments)
        assert ran.code == 2
        assert "--database 'nix' is not in DATABASES" in ran.err


def test_bad_settings_are_a_usage_error(site, settings):
    settings.CLOACA = {"CRON_POLL": 3}
    assert schedules("list").code == 2
