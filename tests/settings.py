"""Settings of the tests. ``TEST_DATABASE``: ``sqlite`` (default), ``postgresql`` or ``tenants``.

The last is a django-tenants site, on the server that ``postgresql`` uses, with apps of its own.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from typing import Any

import django
import environ

from example_project.settings import INSTALLED_APPS, MIDDLEWARE, TEMPLATES
from tests import postgresql

__all__ = ["INSTALLED_APPS", "MIDDLEWARE", "TEMPLATES"]

KIND = os.environ.get("TEST_DATABASE", "sqlite")


def _sqlite() -> dict[str, Any]:
    # A file, never memory: threads and child processes are to share it.
    folder = tempfile.mkdtemp(prefix="cloaca-sqlite-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return _entry(f"sqlite:///{folder}/site.sqlite3") | {
        "TEST": {"NAME": f"{folder}/tests.sqlite3"}
    }


def _postgresql() -> dict[str, Any]:
    if not os.environ.get("DATABASE_URL", "").startswith("postgres"):
        # Child processes inherit it, and find this server instead of starting their own.
        os.environ["DATABASE_URL"] = postgresql.start()
    return _entry(os.environ["DATABASE_URL"])


def _entry(url: str) -> dict[str, Any]:
    entry: dict[str, Any] = environ.Env.db_url_config(url)
    options = entry.setdefault("OPTIONS", {})
    if entry["ENGINE"].endswith("sqlite3"):
        options["transaction_mode"] = "IMMEDIATE"
        options["timeout"] = 20
        options["init_command"] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL"
    elif "host" in options:
        entry["HOST"] = options.pop("host")
    if KIND == "tenants":
        entry["ENGINE"] = "django_tenants.postgresql_backend"
    return entry


if child_of := os.environ.get("CLOACA_TESTS_URL"):
    # A child process of a test works on the database of that test.
    DATABASES = {"default": _entry(child_of)}
elif KIND in {"postgresql", "tenants"}:
    DATABASES = {"default": _postgresql()}
else:
    DATABASES = {"default": _sqlite()}

if KIND == "tenants":
    SHARED_APPS = [
        "django_tenants",
        "tests.tenants.directory",
        "django.contrib.contenttypes",
        "django.contrib.staticfiles",
    ]
    TENANT_APPS = [
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "django.contrib.admin",
        "django.contrib.messages",
        "django.contrib.sessions",
        "cloaca_django",
        "tests.tenants.ledger",
    ]
    INSTALLED_APPS = list(dict.fromkeys([*SHARED_APPS, *TENANT_APPS]))
    DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
    TENANT_MODEL = "directory.Tenant"
    TENANT_DOMAIN_MODEL = "directory.Domain"
    MIDDLEWARE = ["django_tenants.middleware.main.TenantMainMiddleware", *MIDDLEWARE]

SECRET_KEY = "only for the tests"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.tenants.urls" if KIND == "tenants" else "tests.urls"
STATIC_URL = "static/"
LANGUAGE_CODE = "en-us"
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
SITE_URL = "http://testserver"
