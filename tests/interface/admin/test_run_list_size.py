"""The list of runs with a long history: what a page costs does not grow with it."""

from __future__ import annotations

import os
import time

import pytest
from django.urls import reverse, reverse_lazy

from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.models import PipelineExecution
from tests import workflows
from tests.interface.admin import scenes
from tests.store import rows

COUNT = int(os.environ.get("CLOACA_MANY_RUNS", "20000"))
SHORT = 1_000
LIST = "admin:cloaca_django_pipelineexecution_changelist"
PAGES = {
    "dashboard": reverse_lazy("admin:app_list", args=["cloaca_django"]),
    "workflows": reverse_lazy("admin:cloaca_django_workflowcontrol_changelist"),
    "one workflow": reverse_lazy("admin:cloaca_django_workflowcontrol_change", args=["old"]),
    "workers": reverse_lazy("admin:cloaca_django_worker_changelist"),
    "news": reverse_lazy("admin:cloaca_django_pipelineexecution_changes"),
}
QUERIES = {
    "first page": "",
    "last page that is counted": "?p={last}",
    "in the middle": "?before={middle}",
    "failed": f"?status={RunStatus.FAILED}",
    "cancelled": f"?status={RunStatus.CANCELLED}",
    "completed": f"?status={RunStatus.COMPLETED}",
    "running": f"?status={RunStatus.RUNNING}",
    "open": "?status=open",
    "failed of a workflow": f"?status={RunStatus.FAILED}&workflow=old",
    "needs attention": "?attention=yes",
    "of a workflow": "?workflow=customer_etl",
    "of the busiest workflow": "?workflow=old",
    "retries": "?origin=retry",
    "no such id": "?q=ffffffff",
    "no such name": "?q=nothing",
    "part of a name": "?q=customer",
    "part of several names": "?q=e",
    "ended lately": "?finished=hour",
}
# Quick pages differ by what they show; a page that walks the history differs by hundreds.
MOST = 8


def places():
    """Return the URL of each page by its name, for the history that there is now."""
    newest = PipelineExecution.objects.newest_first().values_list("pk", flat=True)
    count = newest.count()
    facts = {"middle": newest[count // 2], "last": min(count, 10_000) // 50}
    found = {name: reverse(LIST) + query.format(**facts) for name, query in QUERIES.items()}
    return {**found, **{name: str(place) for name, place in PAGES.items()}}


def seconds(client):
    """Return the best of three times of each page."""
    found = {}
    for name, place in places().items():
        found[name] = 60.0
        for _ in range(3):
            start = time.perf_counter()
            answer = client.get(place)
            found[name] = min(found[name], time.perf_counter() - start)
            assert answer.status_code == 200, name
    return found


@pytest.mark.slow
def test_every_page_of_a_long_history_is_as_quick_as_of_a_short_one(
    operator, workflows_of_test, record_property
):
    workflows.single("old")
    scenes.run(status=RunStatus.FAILED, age=1)
    scenes.run("older")
    scenes.run("old")
    rows.runs_of("short", SHORT, TaskStatus.COMPLETED)
    rows.refresh_statistics()
    few = seconds(operator)
    rows.runs_of("older", COUNT // 10, TaskStatus.COMPLETED)
    rows.runs_of("old", COUNT - COUNT // 10, TaskStatus.COMPLETED)
    rows.refresh_statistics()
    many = seconds(operator)
    for name, took in many.items():
        record_property(name, f"{took * 1000:.0f} ms instead of {few[name] * 1000:.0f}")
    # A page without a row is no measure for one with fifty.
    usual = {name: MOST * max(took, few["first page"]) for name, took in few.items()}
    assert {name: took for name, took in many.items() if took > min(1.0, usual[name])} == {}
