from django.apps import AppConfig


class DirectoryConfig(AppConfig):
    name = "tests.tenants.directory"
    default_auto_field = "django.db.models.BigAutoField"
