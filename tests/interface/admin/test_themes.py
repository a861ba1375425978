"""Every page comes under a theme that replaces Django's templates."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.interface.admin.themed import main

DEADLINE = 120


def test_every_page_comes_under_unfold():
    pytest.importorskip("unfold", reason="django-unfold is not installed")
    # Which templates there are is decided when a process starts.
    done = subprocess.run(
        [sys.executable, "-m", main.__module__, "unfold"],
        env={**os.environ, "TEST_DATABASE": "sqlite"}, capture_output=True, text=True,
        timeout=DEADLINE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    pages = json.loads(done.stdout)
    # Django's own page of the history is none of ours.
    assert pages.pop("schedule-history")[:2] == [200, True]
    assert {name: got for name, got in pages.items() if got != [200, True, True]} == {}
    assert len(pages) > 15
