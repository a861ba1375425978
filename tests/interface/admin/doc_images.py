"""The pictures of the documentation, in ``docs/images``: ``make images``.

Not collected by itself. Taken when pages have changed so that a reader would see it; their times
differ each time.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cloaca_django.models import CronSchedule, PipelineExecution
from tests.interface.admin import scene_schedules, scenes
from tests.interface.admin.conftest import logged_in, person
from tests.interface.admin.shots import SCHEMES, screens

FOLDER = Path(__file__).parents[3] / "docs" / "images"
SIZE = {"width": 1280, "height": 800}
COLOURS = 200
ZONE = "Europe/Berlin"
FOLDED = "try { localStorage.setItem('django.admin.navSidebarIsOpen', 'false') } catch {}"
# Each of these screens, by the name that its file has.
PICTURES = {
    "dashboard": "dashboard",
    "run": "run-live",
    "failure": "run-failed",
    "workflow": "workflow",
    "schedule": "schedule-inputs",
    "calendar": "calendar",
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_take_the_images_of_the_docs(visit, transactional_db, workflows_of_test, settings, scheme):
    settings.TIME_ZONE = ZONE
    scenes.define_workflows()
    client = logged_in(person("ana", is_superuser=True))
    opened = visit(client, viewport=SIZE, color_scheme=scheme)
    # The reader is here for the page: the list of all tables is folded away.
    opened.context.add_init_script(FOLDED)
    FOLDER.mkdir(parents=True, exist_ok=True)
    places = screens()
    # What is there to try a page's patience is not what a reader should see first.
    CronSchedule.objects.filter(name__in=[scene_schedules.LONG, scene_schedules.ARABIC]).delete()
    for name in ("a_very_long_name", "stubborn"):
        PipelineExecution.objects.filter(workflow_name__startswith=name).delete()
    for name, screen in PICTURES.items():
        page = opened.go(places[screen])
        page.wait_for_load_state("networkidle")
        save(page.screenshot(animations="disabled"), FOLDER / f"{name}-{scheme}.png")


def save(png: bytes, path: Path) -> None:
    """Write a picture with few colours, which is a third of its size and looks the same."""
    picture: Any = Image.open(io.BytesIO(png)).convert("RGB")
    few = picture.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
