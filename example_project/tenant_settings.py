"""Settings of the example as a site with tenants: a schema for each, one worker for all.

DATABASE_URL names a PostgreSQL; without it the example has a server of its own, from a wheel.
"""

from __future__ import annotations

from typing import Any

from example_project import settings
from example_project.settings import *  # noqa: F403 - all that is the same, Django's usual way
from example_project.tenants import server

env = settings.env

# acme.localhost and the like are this machine in every browser.
ALLOWED_HOSTS = [".localhost", "127.0.0.1"]

_ENTRY: dict[str, Any] = env.db_url_config(env.str("DATABASE_URL", default="") or server.start())
if "host" in _ENTRY.get("OPTIONS", {}):  # the folder of a socket cannot stand before the slash
    _ENTRY["HOST"] = _ENTRY["OPTIONS"].pop("host")
DATABASES = {"default": {**_ENTRY, "ENGINE": "django_tenants.postgresql_backend"}}
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]

# In public: who the tenants are. Nothing that belongs to one.
SHARED_APPS = [
    "django_tenants",
    "example_project.tenants",
    "django.contrib.contenttypes",
    "django.contrib.staticfiles",
]
# In each tenant's schema: its users, its admin, its data, its runs and schedules.
TENANT_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "cloaca_django",
    "example_project.weather",
]
INSTALLED_APPS = list(dict.fromkeys([*SHARED_APPS, *TENANT_APPS]))

TENANT_MODEL = "tenants.Tenant"
TENANT_DOMAIN_MODEL = "tenants.Domain"
MIDDLEWARE = ["django_tenants.middleware.main.TenantMainMiddleware", *settings.MIDDLEWARE]
PUBLIC_SCHEMA_URLCONF = "example_project.tenants.urls"
SHOW_PUBLIC_IF_NO_TENANT_FOUND = True
# A cookie of one host is not sent to another, so a session belongs to its tenant alone.
SESSION_COOKIE_DOMAIN = None

SITE_URL = env.str("SITE_URL", default="http://{schema}.localhost:8000")
