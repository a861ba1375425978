"""Pictures of every screen, light and dark, wide and narrow: ``make screenshots``.

Not collected by itself. They are for eyes; nothing is compared.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.urls import reverse

from cloaca_django.core.states import WorkerState
from cloaca_django.models import CronSchedule, Worker
from tests.interface.admin import scene_schedules, scenes
from tests.interface.admin.conftest import logged_in, person

FOLDER = Path(os.environ.get("CLOACA_SHOTS", "artifacts/shots"))
WIDTHS = (1280, 380)
SCHEMES = ("light", "dark")


def page_url(name: str, *args: object) -> str:
    return reverse(f"admin:cloaca_django_{name}", args=args)


def screens() -> dict[str, str]:
    """Fill the database and return the URL of each screen by its name."""
    live = scenes.busy_run()
    failed = scenes.failed_run()
    big = scenes.big_run()
    long, stubborn = scenes.long_run(), scenes.stubborn_run()
    scenes.history()
    imports = scene_schedules.schedules()
    return {
        "dashboard": reverse("admin:app_list", args=["cloaca_django"]),
        "workflows": page_url("workflowcontrol_changelist"),
        "workflow": page_url("workflowcontrol_change", quote("customer_etl")),
        "run-now": page_url("workflowcontrol_run", quote("with_inputs")),
        "workers": page_url("worker_changelist"),
        "run-live": page_url("pipelineexecution_change", live.pk),
        "run-failed": page_url("pipelineexecution_change", failed.pk),
        "run-300": page_url("pipelineexecution_change", big.pk),
        "task": page_url("pipelineexecution_task", failed.pk, failed.tasks.get(position=1).pk),
        "runs": page_url("pipelineexecution_changelist"),
        "schedules": page_url("cronschedule_changelist"),
        "schedule": page_url("cronschedule_change", CronSchedule.objects.get(name="nightly").pk),
        "schedule-inputs": page_url("cronschedule_change", imports.pk),
        "schedule-add": page_url("cronschedule_add"),
        "schedule-disable": page_url("cronschedule_disable", imports.pk),
        "schedule-history": page_url("cronschedule_history", imports.pk),
        "schedules-none": page_url("cronschedule_changelist") + "?q=nothing",
        "backfill": page_url("cronschedule_backfill", imports.pk),
        "calendar": page_url("cronschedule_calendar"),
        "cancel": page_url("pipelineexecution_cancel", live.pk),
        "retry": page_url("pipelineexecution_retry", failed.pk),
        "runs-empty": page_url("pipelineexecution_changelist") + "?q=nothing",
        "runs-attention": page_url("pipelineexecution_changelist") + "?attention=yes",
        "run-long": page_url("pipelineexecution_change", long.pk),
        "run-stubborn": page_url("pipelineexecution_change", stubborn.pk),
        "task-stubborn": page_url("pipelineexecution_task", stubborn.pk, stubborn.tasks.get().pk),
        "pause": page_url("workflowcontrol_pause", quote("customer_etl")),
        "forget": page_url("worker_forget", Worker.objects.get(state=WorkerState.DEAD).pk),
    }


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_take_pictures(visit, transactional_db, workflows_of_test, width, scheme):
    scenes.define_workflows()
    FOLDER.mkdir(parents=True, exist_ok=True)
    client = logged_in(person("ana", is_superuser=True))
    opened = visit(client, viewport={"width": width, "height": 800}, color_scheme=scheme)
    index = reverse("admin:app_list", args=["cloaca_django"])
    take(opened.go(index), f"dashboard-empty-{scheme}-{width}")
    take(opened.go(page_url("worker_changelist")), f"workers-empty-{scheme}-{width}")
    take(opened.go(page_url("pipelineexecution_changelist")), f"runs-none-{scheme}-{width}")
    for name, path in screens().items():
        take(opened.go(path), f"{name}-{scheme}-{width}")
    take(choose_all(opened.page), f"bulk-{scheme}-{width}")


def choose_all(page: Any) -> Any:
    """Go to the page that asks whether many runs are to be retried."""
    page.goto(page.url.partition("/admin/")[0] + page_url("pipelineexecution_changelist"))
    page.locator("#action-toggle").check()
    page.locator("select[name=action]").first.select_option("retry")
    page.locator("button[name=index]").first.click()
    return page


def take(page: Any, name: str) -> None:
    page.screenshot(path=FOLDER / f"{name}.png", full_page=True, animations="disabled")
