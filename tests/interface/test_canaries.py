"""Passwords, secrets, values of contexts: planted everywhere, and looked for wherever we speak."""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pytest
from django import forms
from django.contrib.admin.models import LogEntry
from django.db import connection, connections
from django.urls import reverse

from cloaca_django import Context, DefaultRunner, DefaultRunnerConfig
from cloaca_django.models import CronSchedule, TaskAttempt, TaskExecution
from tests import workflows
from tests.interface import commands
from tests.interface.admin.conftest import PLANNER, logged_in, person
from tests.interface.schedules import NIGHTLY

PASSWORD = "S3CR3T-PASSWORD-of-the-login"
# Under a key that says so; and under one that does not, where only pages of contexts may show it.
HIDDEN, VALUE = "S3CR3T-HIDDEN-under-a-key", "S3CR3T-VALUE-of-a-context"
SECRETS = {"api_key": HIDDEN, "deep": [{"db_pass": HIDDEN}], "order": VALUE}
PAGES = ("pipelineexecution", "cronschedule", "workflowcontrol", "worker")


class ChoosingForm(forms.Form):
    colour = forms.ChoiceField(choices=[("red", "Red")])


def _define() -> None:
    def keeps(context: Any) -> None:
        context["token"] = context["api_key"]

    def fails(context: Any) -> None:
        kept_in_a_local_variable = [context["order"], context["api_key"]]
        raise ValueError(f"{len(kept_in_a_local_variable)} things went wrong")

    def leaves_rubbish(context: Any) -> None:
        context["rubbish"] = {"a": [context["order"], context["api_key"], math.nan]}

    def returns_rubbish(context: Any) -> Any:
        return [context["order"]]

    workflows.single("keeps", keeps)
    for body in (fails, leaves_rubbish, returns_rubbish):
        workflows.single(body.__name__, body, retry_attempts=2, retry_delay_ms=1)
    workflows.single("choosy", builder={"params": ChoosingForm})


@contextmanager
def _login() -> Iterator[None]:
    """Let new connections of the tests' alias use a login whose password is planted."""
    entry, before = connection.settings_dict, dict(connection.settings_dict)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE ROLE canary SUPERUSER LOGIN PASSWORD '{PASSWORD}'")
        entry["USER"] = "canary"
    entry["PASSWORD"] = PASSWORD
    try:
        yield
    finally:
        entry.update(before)
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("DROP ROLE canary")


@pytest.fixture
def site(transactional_db, workflows_of_test, caplog):
    """The site's runner, by a login with a planted password; everything is logged."""
    _define()
    caplog.set_level(logging.DEBUG)
    with _login(), DefaultRunner(using="default") as runner:
        yield runner


def _refusals(runner: DefaultRunner, url: str) -> Iterator[str]:
    """Yield what a runner says to calls that it refuses, with all that Python would print."""
    secrets, large = Context(SECRETS), Context({"order": VALUE * 100_000})
    runner.enqueue("keeps", secrets, idempotency_key="k")
    closed = f"postgresql://u:{PASSWORD}@127.0.0.1:1/db"
    calls = [
        lambda: runner.enqueue("keeps", large),
        lambda: runner.enqueue("keeps", Context({"order": VALUE}), idempotency_key="k"),
        lambda: runner.enqueue("choosy", Context({"colour": VALUE})),
        lambda: runner.enqueue("keeps", SECRETS),
        lambda: runner.register_cron_workflow("keeps", NIGHTLY, context=SECRETS | {"x": math.nan}),
        lambda: Context(SECRETS)["missing"],
        lambda: Context({"order": [VALUE, object()]}),
        lambda: DefaultRunner(using=url),
        lambda: DefaultRunner(closed),
        lambda: DefaultRunner(f"{closed}?sslmod=x"),
        lambda: DefaultRunner.with_schema(closed, "tenant_a"),
        lambda: DefaultRunner.with_schema(closed, closed),
        lambda: DefaultRunner.for_tenant(closed),
        lambda: runner.execute(closed, secrets),
        lambda: runner.status_of(closed),
        lambda: DefaultRunnerConfig(db_pool_size=closed),
    ]
    for call in calls:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - any refusal may talk too much
            call()
        yield f"{caught.value} {caught.value!r} {caught.value.__dict__}"
        yield "".join(traceback.format_exception(caught.value))


def _rows() -> Iterator[str]:
    """Yield what is stored beside the contexts."""
    for attempt in TaskAttempt.objects.all():
        yield f"{attempt} {attempt.error_message} {attempt.traceback}"
    for task in TaskExecution.objects.all():
        yield f"{task} {task.error_message}"
    for entry in LogEntry.objects.all():
        yield f"{entry} {entry.change_message}"


def _server() -> Iterator[str]:
    """Yield what the server tells everybody about our connections."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT application_name, query FROM pg_stat_activity")
            for row in cursor.fetchall():
                yield f"{row}"


def test_no_secret_is_said_by_a_runner_its_log_or_its_errors(site, database_url, caplog):
    said = []
    for name in ("keeps", "fails", "leaves_rubbish", "returns_rubbish"):
        result = site.execute(name, Context(SECRETS))
        said.append(f"{result.error_message} {result.task_results}")
        assert (result.status == "Completed") is (name == "keeps")
    # As a login is written in a URL, and with the password of another database.
    said += _refusals(site, f"postgresql://u:{quote(PASSWORD)}@h/db")
    schedule = site.register_cron_workflow("keeps", NIGHTLY, context=SECRETS)
    said += [f"{site} {site!r} {site.handle(schedule)!r} {DefaultRunnerConfig()!r}"]
    said += [*_rows(), *_server()]
    said += [f"{record.getMessage()} {record.__dict__}" for record in caplog.records]
    assert len(said) > 40
    for secret in (PASSWORD, HIDDEN, VALUE):
        assert [text for text in said if secret in text] == []


def test_no_secret_is_printed_by_a_command(site, capfd):
    run = site.execute("fails", Context(SECRETS))
    site.register_cron_workflow("keeps", NIGHTLY, context=SECRETS, name="n")
    closed = f"postgresql://u:{PASSWORD}@127.0.0.1:1/db"
    said = [
        commands.run(*line)
        for line in (
            ("cloaca_status",), ("cloaca_status", "--format", "json"), ("cloaca_health",),
            ("cloaca_health", "--format", "json"), ("cloaca_schedules", "list"),
            ("cloaca_schedules", "preview", "n"), ("cloaca_graph", "keeps"),
            ("cloaca_prune", "--dry-run"), ("cloaca_status", "--database", closed),
            ("cloaca_worker", "--queue", closed), ("cloaca_run", closed),
            ("cloaca_run", "keeps", "--context", f'{{"a": {VALUE}'),
            ("cloaca_run", "keeps", "--context", f'{{"api_key": "{HIDDEN}"}}'),
        )
    ]  # fmt: skip
    assert run.status == "Failed"
    printed = f"{said} {capfd.readouterr()}"
    for secret in (PASSWORD, HIDDEN, VALUE):
        assert secret not in printed


def test_no_secret_is_on_a_page_and_no_value_where_it_does_not_belong(site, settings):
    settings.CLOACA = {"MONITORING_ACCESS": "anyone"}
    run = site.execute("fails", Context(SECRETS))
    site.register_cron_workflow("keeps", NIGHTLY, context=SECRETS, name="n")
    operator, viewer = (
        logged_in(person("otto", *PLANNER)),
        logged_in(person("vera", *(name for name in PLANNER if name != "view_context"))),
    )
    row = CronSchedule.objects.get()
    places = [reverse(f"admin:cloaca_django_{page}_changelist") for page in PAGES]
    id = run.execution_id
    places.append(reverse("admin:cloaca_django_pipelineexecution_change", args=[id]))
    task = TaskExecution.objects.get(run_id=id)
    places.append(reverse("admin:cloaca_django_pipelineexecution_task", args=[id, task.pk]))
    places.append(reverse("admin:cloaca_django_cronschedule_change", args=[row.pk]))
    places.append(reverse("admin:app_list", args=["cloaca_django"]))
    places += [reverse(f"cloaca_django:{page}") for page in ("live", "ready", "health", "metrics")]
    download = reverse("admin:cloaca_django_pipelineexecution_context", args=[id])
    shown = {place: operator.get(place).content.decode() for place in [*places, download]}
    hidden = {place: viewer.get(place).content.decode() for place in places}
    assert any(VALUE in text for text in shown.values())
    assert VALUE in shown[download]
    for secret in (PASSWORD, HIDDEN):
        assert [place for place, text in shown.items() if secret in text] == []
    for secret in (PASSWORD, HIDDEN, VALUE):
        assert [place for place, text in hidden.items() if secret in text] == []
    assert viewer.get(download).status_code == 403


def test_no_password_is_told_to_other_connections_of_the_server(make_database, workflows_of_test):
    workflows.single("keeps", lambda context: None)
    url = make_database("canaries")
    with DefaultRunner(url) as runner:
        assert runner.execute("keeps", Context(SECRETS)).status == "Completed"
        told = [*_server(), repr(runner), f"{connections[runner.alias]}"]
        assert [text for text in told if VALUE in text or HIDDEN in text] == []
        if connection.vendor == "postgresql":
            assert any("'cloaca'" in text for text in told)
