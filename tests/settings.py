"""Settings of the tests. ``TEST_DATABASE`` is ``sqlite`` (the default) or ``postgresql``."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from typing import Any

import django
import environ

from tests import postgresql


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
    return entry


if child_of := os.environ.get("CLOACA_TESTS_URL"):
    # A child process of a test works on the database of that test.
    DATABASES = {"default": _entry(child_of)}
elif os.environ.get("TEST_DATABASE", "sqlite") == "postgresql":
    DATABASES = {"default": _postgresql()}
else:
    DATABASES = {"default": _sqlite()}

SECRET_KEY = "only for the tests"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.urls"
STATIC_URL = "static/"
LANGUAGE_CODE = "en-us"
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
SITE_URL = "http://testserver"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "cloaca_django",
    "example_project.weather",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
