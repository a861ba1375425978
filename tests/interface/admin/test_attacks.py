"""What somebody sends who means harm, or by mistake: at every URL that the admin has of ours."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from django.apps import apps
from django.contrib.admin import site
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.test import Client
from django.urls import reverse

from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.models import (
    CronSchedule,
    PipelineExecution,
    Worker,
    WorkflowControl,
    WorkflowDefinition,
)
from tests import workflows
from tests.interface.admin import scenes
from tests.interface.admin.conftest import VIEWER, logged_in, person

LIST = "admin:cloaca_django_pipelineexecution_changelist"
# What acts may want; a form that finds what it needs here does more than one that does not.
FACTS = {
    "reason": "because", "context": "{}", "input-source": "x", "action": "cancel", "post": "yes",
    "confirmed": "yes", "index": "0",
}  # fmt: skip
# The pages whose reading is written down.
LOGGED_READS = {"cloaca_django_pipelineexecution_context", "cloaca_django_pipelineexecution_log"}


@pytest.fixture(autouse=True)
def _registered(workflows_of_test):
    workflows.chain("invoice_pipeline", workflows.nothing, workflows.nothing)
    workflows.single("customer_etl")


def people_s_rows() -> dict[str, str]:
    """Insert a row for every page; returns which one a page of a table is about."""
    run = scenes.failed_run()
    scenes.task(scenes.run(status=RunStatus.RUNNING), "a", TaskStatus.PENDING)
    scenes.run(status=RunStatus.PAUSED, paused_at=scenes.moment(1))
    scenes.worker()
    WorkflowControl.objects.create(name="invoice_pipeline")
    moment = scenes.moment(1)
    CronSchedule.objects.create(
        name="nightly", workflow_name="invoice_pipeline", cron_expression="0 0 * * *",
        created_at=moment, updated_at=moment,
    )  # fmt: skip
    return {"task_id": str(run.tasks.get(position=1).pk)}


def places() -> Iterator[tuple[str, str]]:
    """Yield name and URL of every page of ours, for each row that it may be about."""
    facts = people_s_rows()
    for model, page in site._registry.items():
        if model._meta.app_label != "cloaca_django":
            continue
        keys = [quote(row.pk) for row in model._default_manager.all()]
        for pattern in page.get_urls():
            names = sorted(pattern.pattern.converters)
            assert set(names) <= {"object_id", *facts}, f"what is {names} in {pattern}?"
            if not pattern.name:
                continue  # Django's redirect from an address of old
            for key in keys if "object_id" in names else [""]:
                known = {"object_id": key, **facts}
                yield (
                    pattern.name,
                    reverse(f"admin:{pattern.name}", kwargs={name: known[name] for name in names}),
                )
    yield "index", reverse("admin:app_list", args=["cloaca_django"])


def rows() -> dict[str, list[object]]:
    """Return all rows of all our tables."""
    return {
        model.__name__: sorted(map(repr, model._default_manager.values_list()))
        for model in apps.get_app_config("cloaca_django").get_models()
    }


def test_there_are_pages_to_try(transactional_db):
    names = {name for name, _place in places()}
    for act in ("cancel", "pause", "resume", "retry", "rerun", "delete", "bulk_cancel"):
        assert f"cloaca_django_pipelineexecution_{act}" in names
    for name in ("workflowcontrol_run", "workflowcontrol_pause", "worker_drain", "worker_forget"):
        assert f"cloaca_django_{name}" in names


def test_reading_any_page_changes_nothing(boss, settings):
    settings.CLOACA = {"ADMIN_DELETE_RUNS": True}
    found = list(places())
    before = rows()
    for name, place in found:
        answer = boss.get(f"{place}?{'&'.join(f'{k}={v}' for k, v in FACTS.items())}")
        assert answer.status_code in {200, 302, 400, 403, 404}, name
        assert boss.get(place).status_code in {200, 302, 403, 404}, name
        assert boss.head(place).status_code in {200, 302, 403, 404, 405}, name
        assert rows() == before, name
        assert name in LOGGED_READS or not LogEntry.objects.exists(), name
        LogEntry.objects.all().delete()


def test_who_may_only_look_changes_nothing_at_any_page(viewer, settings):
    settings.CLOACA = {"ADMIN_DELETE_RUNS": True}
    found = list(places())
    before = rows()
    ids = ",".join(str(run.pk) for run in PipelineExecution.objects.all())
    facts = {**FACTS, "ids": ids, "_selected_action": ids.split(",")}
    for name, place in found:
        assert viewer.post(place, facts).status_code in {200, 302, 400, 403, 404, 405}, name
        assert rows() == before, name
    assert not LogEntry.objects.exists()


def test_without_a_token_no_page_takes_anything(boss):
    client = Client(enforce_csrf_checks=True)
    client.cookies = boss.cookies
    found = list(places())
    before = rows()
    for name, place in found:
        assert client.post(place, FACTS).status_code == 403, name
    assert rows() == before


def test_strangers_and_people_without_a_permission_see_no_page(transactional_db):
    nobody = logged_in(person("nobody"))
    for name, place in places():
        answer = Client().get(place)
        assert answer.status_code == 302, name
        assert "/login/" in answer["Location"], name
        assert nobody.get(place).status_code in {302, 403, 404}, name


def test_an_object_of_another_table_or_run_is_not_acted_on(operator):
    worker, run = scenes.worker(), scenes.run(status=RunStatus.RUNNING)
    scenes.task(run, "a", TaskStatus.PENDING)
    mixed = [
        reverse("admin:cloaca_django_pipelineexecution_cancel", args=[worker.pk]),
        reverse("admin:cloaca_django_worker_drain", args=[run.pk]),
        reverse("admin:cloaca_django_workflowcontrol_pause", args=[str(run.pk)]),
        reverse("admin:cloaca_django_pipelineexecution_cancel", args=["1"]),
        reverse("admin:cloaca_django_pipelineexecution_cancel", args=["' OR 1=1 --"]),
    ]
    before = rows()
    for place in mixed:
        answer = operator.post(place, {"reason": "because"}, follow=True)
        assert "It may have been deleted." in answer.content.decode(), place
    assert rows() == before
    assert not LogEntry.objects.exists()


def test_a_list_takes_no_condition_on_a_column(viewer):
    scenes.run("a", context=json.dumps({"password": "hunter2"}))
    for query in (
        "context__contains=hunter2", "context__startswith={", "error_message__contains=x",
        "tasks__changes__contains=a", "status__exact=' OR 1=1", "pk__in=1", "id=1",
        "_to_field=context&_popup=1",
    ):  # fmt: skip
        for model in ("pipelineexecution", "cronschedule"):
            place = reverse(f"admin:cloaca_django_{model}_changelist")
            assert viewer.get(f"{place}?{query}").status_code == 400, query


@pytest.mark.parametrize(
    "query",
    [
        "o=999", "p=-1", "p=1000000000", "p=x", f"q={'a' * 1_000_000}", "q=%00", "q=%25", "all=",
        "before=%00", "before=x", "status=%00", "workflow=%00", "origin=a&origin=b", "finished=-1",
        "attention=%27", "e=1", "q=%F0%9F%92%A5", "q=%ff%fe", "q=ffffffff-ffff",
    ],
)  # fmt: skip
def test_a_list_survives_any_query(viewer, query):
    scenes.run("a")
    answer = viewer.get(f"{reverse(LIST)}?{query}", follow=True)
    assert answer.status_code in {200, 400}


def test_a_choice_of_all_is_bounded(operator, monkeypatch):
    from cloaca_django.admin import run_list

    monkeypatch.setattr(run_list, "MAX_CHOSEN", 3)
    for _ in range(5):
        scenes.run(status=RunStatus.PENDING)
    one = PipelineExecution.objects.first()
    data = {"action": "cancel", "_selected_action": [str(one.pk)], "select_across": "1"}
    text = operator.post(reverse(LIST), data).content.decode()
    assert "Only the first 3 are taken at once." in text
    everything = ",".join(str(run.pk) for run in PipelineExecution.objects.all())
    bulk = reverse("admin:cloaca_django_pipelineexecution_bulk_cancel")
    operator.post(bulk, {"ids": everything, "reason": ""})
    assert PipelineExecution.objects.unfinished().count() == 2


@pytest.mark.parametrize(
    "context",
    ["{", "[1]", '"x"', "null", "[" * 10_000, '{"a": NaN}', '{"a": 1, "a": 2}',
     json.dumps({"a": "x" * 2_000_000})],
)  # fmt: skip
def test_a_context_that_is_none_starts_nothing_and_is_named(operator, context):
    place = reverse("admin:cloaca_django_workflowcontrol_run", args=["invoice_5Fpipeline"])
    answer = operator.post(place, {"context": context})
    assert answer.status_code == 200
    assert answer.context["about"].errors["context"]
    assert not PipelineExecution.objects.exists()


def test_a_form_larger_than_the_site_takes_starts_nothing(operator):
    place = reverse("admin:cloaca_django_workflowcontrol_run", args=["invoice_5Fpipeline"])
    assert operator.post(place, {"context": "x" * 5_000_000}).status_code == 400
    assert not PipelineExecution.objects.exists()


def test_fields_that_no_form_has_are_ignored(operator):
    place = reverse("admin:cloaca_django_workflowcontrol_run", args=["invoice_5Fpipeline"])
    facts = {
        "context": '{"a": 1}', "status": RunStatus.COMPLETED, "created_by": "root", "queue": "x",
        "priority": "9", "workflow_name": "other", "id": "1", "origin": "api", "tenant": "acme",
    }  # fmt: skip
    operator.post(place, facts)
    made = PipelineExecution.objects.get()
    assert (made.status, made.created_by, made.queue, made.priority, made.origin) == (
        RunStatus.PENDING, "otto", "default", 0, "admin",
    )  # fmt: skip
    assert made.workflow_name == "invoice_pipeline"
    operator.post(reverse("admin:cloaca_django_pipelineexecution_change", args=[made.pk]), facts)
    made.refresh_from_db()
    assert (made.status, made.created_by) == (RunStatus.PENDING, "otto")
    told = LogEntry.objects.get().get_change_message()
    assert re.fullmatch(f"Started run {made.pk}, inputs [0-9a-f]{{12}}[.]", told)


@pytest.mark.parametrize("slug", ["retry", "rerun"])
def test_a_yes_that_is_sent_twice_makes_one_run(operator, slug):
    run = scenes.failed_run()
    place = reverse(f"admin:cloaca_django_pipelineexecution_{slug}", args=[run.pk])
    once = operator.get(place).context["form"]["once"].value()
    first = operator.post(place, {"reason": "", "once": once})
    second = operator.post(place, {"reason": "", "once": once}, follow=True)
    assert second.redirect_chain[0][0] == first["Location"]
    assert "This run was started already" in second.content.decode()
    assert PipelineExecution.objects.filter(parent=run).count() == 1
    assert LogEntry.objects.count() == 1
    operator.post(
        place, {"reason": "", "once": operator.get(place).context["form"]["once"].value()}
    )
    assert PipelineExecution.objects.filter(parent=run).count() == 2


def test_run_now_that_is_sent_twice_makes_one_run(operator):
    place = reverse("admin:cloaca_django_workflowcontrol_run", args=["invoice_5Fpipeline"])
    once = operator.get(place).context["about"]["once"].value()
    answers = [operator.post(place, {"context": "{}", "once": once}) for _ in range(2)]
    assert answers[0]["Location"] == answers[1]["Location"]
    assert PipelineExecution.objects.count() == 1
    assert LogEntry.objects.count() == 1


def test_many_retries_that_are_sent_twice_make_one_run_each(operator):
    failed = [scenes.failed_run(), scenes.failed_run()]
    ids = [str(run.pk) for run in failed]
    page = operator.post(reverse(LIST), {"action": "retry", "_selected_action": ids})
    facts = {"ids": ",".join(ids), "reason": "", "once": page.context["form"]["once"].value()}
    for _ in range(2):
        operator.post(reverse("admin:cloaca_django_pipelineexecution_bulk_retry"), facts)
    assert PipelineExecution.objects.filter(parent__in=failed).count() == 2


def nasty_site() -> None:
    """Insert rows whose every text is an attack, with a page each."""
    nasty = scenes.NASTY
    run = scenes.run(
        nasty, RunStatus.FAILED, reason=nasty, created_by=nasty, error_message=nasty, queue="q",
        context=json.dumps({nasty: {nasty: nasty}, "long": nasty * 50}),
    )  # fmt: skip
    task = scenes.task(
        run, nasty, TaskStatus.FAILED, error_message=nasty, reason=nasty,
        writes=[scenes.Write((nasty, nasty), nasty)],
    )  # fmt: skip
    scenes.task(run, "b", TaskStatus.PENDING, after=[nasty])
    scenes.attempt(task, 1, message=nasty, kind=nasty, traceback=nasty, log=nasty)
    paused = scenes.run(
        nasty, RunStatus.PAUSED, paused_at=scenes.moment(9), paused_by=nasty, pause_reason=nasty
    )
    worker = scenes.worker(hostname=nasty, queues=nasty, version=nasty[:60], kind=nasty[:16])
    scenes.task(paused, nasty, TaskStatus.RUNNING, worker_id=worker.pk)
    WorkflowControl.objects.create(
        name=nasty, paused_at=scenes.moment(9), paused_by=nasty, pause_reason=nasty
    )
    graph = json.dumps({"tasks": [{"name": nasty, "dependencies": []}]})
    WorkflowDefinition.objects.create(
        name=nasty, version=nasty[:64], graph=graph, first_seen_at=scenes.moment(9)
    )
    moment = scenes.moment(9)
    for at, parked in enumerate((None, moment)):
        CronSchedule.objects.create(
            name=f"{nasty[:90]}{at}", workflow_name=nasty, cron_expression="0 0 * * *",
            timezone=nasty[:60], disabled_reason=nasty, disabled_by=nasty, error_message=nasty,
            context=json.dumps({nasty: nasty}), next_run_at=scenes.moment(500),
            parked_at=parked, created_at=moment, updated_at=moment,
        )  # fmt: skip


def test_nothing_that_anybody_wrote_becomes_markup_on_any_page(boss):
    nasty_site()
    seen = 0
    for name, place in places():
        answer = boss.get(place, follow=True)
        text = answer.content.decode()
        if not answer.headers["Content-Type"].startswith("text/html"):
            continue
        assert "<script>document" not in text, name
        assert "<img src=x" not in text, name
        assert "49" not in text.replace("{{7*7}}", "") or "{{7*7}}" in text or "&lt;" not in text
        seen += "&lt;script&gt;" in text
    # On most pages there is something of it.
    assert seen > 30
    choice = {
        "action": "rerun",
        "_selected_action": [r.pk for r in PipelineExecution.objects.all()],
    }
    text = boss.post(reverse(LIST), choice).content.decode()
    assert "&lt;script&gt;" in text
    assert "<script>document" not in text


def test_what_terminals_understand_is_not_shown(operator):
    run = scenes.run(status=RunStatus.FAILED, error_message="\x1b[31mred\x1b[0m \x08and \x9bdead")
    task = scenes.task(run, "a", TaskStatus.FAILED, error_message="\x1b[1mbold")
    scenes.attempt(
        task, 1, message="\x1b[2Jgone", traceback="line\r\n\x07next", log="\x1b]0;t\x07x"
    )
    for place in (
        reverse("admin:cloaca_django_pipelineexecution_change", args=[run.pk]),
        reverse("admin:cloaca_django_pipelineexecution_task", args=[run.pk, task.pk]),
    ):
        text = operator.get(place).content.decode()
        assert not any(sign in text for sign in "\x1b\x07\x08\x9b\r")
        assert "[2J" not in text
        assert "line\nnext" in text
    assert "red and dead" in operator.get(reverse(LIST)).content.decode()


def test_ten_megabytes_of_traceback_are_cut(operator):
    run = scenes.run(status=RunStatus.FAILED)
    task = scenes.task(run, "a", TaskStatus.FAILED, error_message="e" * 1_000_000)
    for number in (1, 2, 3):
        scenes.attempt(task, number, message="m" * 100_000, traceback="t" * 10_000_000)
    for place in (
        reverse("admin:cloaca_django_pipelineexecution_change", args=[run.pk]),
        reverse("admin:cloaca_django_pipelineexecution_task", args=[run.pk, task.pk]),
        reverse(LIST),
    ):
        assert len(operator.get(place).content) < 250_000


def test_a_worker_and_a_run_that_live_are_not_deleted(boss, settings):
    settings.CLOACA = {"ADMIN_DELETE_RUNS": True}
    worker, run = scenes.worker(), scenes.run(status=RunStatus.RUNNING)
    for name, row in (("worker", worker), ("pipelineexecution", run)):
        for slug in ("delete", "forget"):
            place = reverse(f"admin:cloaca_django_{name}_changelist") + f"{quote(row.pk)}/{slug}/"
            boss.post(place, {"post": "yes", "reason": "because"})
    assert Worker.objects.exists()
    assert PipelineExecution.objects.exists()


def test_who_has_only_views_is_told_so_by_each_act(transactional_db):
    client = logged_in(person("vera", *VIEWER))
    run = scenes.failed_run()
    for slug in ("cancel", "pause", "resume", "retry", "rerun", "delete"):
        place = reverse(f"admin:cloaca_django_pipelineexecution_{slug}", args=[run.pk])
        assert (client.get(place).status_code, client.post(place).status_code) == (403, 403)
