"""Pictures of every screen, light and dark, wide and narrow: ``make screenshots``.

Not collected by itself. They are for eyes; nothing is compared.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from django.urls import reverse

from tests.interface.admin import scenes
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
    return {
        "run-live": page_url("pipelineexecution_change", live.pk),
        "run-failed": page_url("pipelineexecution_change", failed.pk),
        "run-300": page_url("pipelineexecution_change", big.pk),
        "task": page_url("pipelineexecution_task", failed.pk, failed.tasks.get(position=1).pk),
        "runs": page_url("pipelineexecution_changelist"),
        "cancel": page_url("pipelineexecution_cancel", live.pk),
    }


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_take_pictures(visit, transactional_db, width, scheme):
    FOLDER.mkdir(parents=True, exist_ok=True)
    client = logged_in(person("ana", is_superuser=True))
    opened = visit(client, viewport={"width": width, "height": 800}, color_scheme=scheme)
    for name, path in screens().items():
        page = opened.go(path)
        page.screenshot(
            path=FOLDER / f"{name}-{scheme}-{width}.png", full_page=True, animations="disabled"
        )
