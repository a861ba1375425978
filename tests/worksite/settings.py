"""The tests' settings with this site's workflows; ``WORKSITE_CLOACA`` holds ``CLOACA`` as JSON."""

from __future__ import annotations

import json
import os

from tests.settings import DATABASES, SECRET_KEY, USE_TZ

__all__ = ["DATABASES", "SECRET_KEY", "USE_TZ"]

INSTALLED_APPS = ["cloaca_django", "tests.worksite", *os.environ.get("WORKSITE_APPS", "").split()]
CLOACA = json.loads(os.environ.get("WORKSITE_CLOACA", "{}"))
DEBUG = os.environ.get("WORKSITE_DEBUG") == "1"
