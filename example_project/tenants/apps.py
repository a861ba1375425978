"""App configuration. It is in SHARED_APPS: its tables are in ``public``."""

from django.apps import AppConfig


class TenantsConfig(AppConfig):
    """Tenants and their hosts."""

    name = "example_project.tenants"
    default_auto_field = "django.db.models.BigAutoField"
