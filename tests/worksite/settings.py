"""The tests' settings with this site's workflows; ``WORKSITE_CLOACA`` holds ``CLOACA`` as JSON."""

from __future__ import annotations

import json
import os

from tests import settings as of_tests
from tests.settings import DATABASES, KIND, SECRET_KEY, USE_TZ

__all__ = ["DATABASES", "SECRET_KEY", "USE_TZ"]

INSTALLED_APPS = ["cloaca_django", "tests.worksite", *os.environ.get("WORKSITE_APPS", "").split()]
if KIND == "tenants":
    INSTALLED_APPS = list(dict.fromkeys([*of_tests.INSTALLED_APPS, *INSTALLED_APPS]))
    SHARED_APPS = of_tests.SHARED_APPS
    TENANT_APPS = of_tests.TENANT_APPS
    DATABASE_ROUTERS = of_tests.DATABASE_ROUTERS
    MIDDLEWARE, TEMPLATES = of_tests.MIDDLEWARE, of_tests.TEMPLATES
    ROOT_URLCONF, STATIC_URL = of_tests.ROOT_URLCONF, of_tests.STATIC_URL
    TENANT_MODEL = of_tests.TENANT_MODEL
    TENANT_DOMAIN_MODEL = of_tests.TENANT_DOMAIN_MODEL
CLOACA = json.loads(os.environ.get("WORKSITE_CLOACA", "{}"))
DEBUG = os.environ.get("WORKSITE_DEBUG") == "1"
