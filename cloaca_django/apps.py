"""App configuration: finds each app's ``workflows.py`` and registers the checks."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig, apps
from django.utils.module_loading import module_has_submodule
from django.utils.translation import gettext_lazy as _

from cloaca_django.conf import settings
from cloaca_django.core import redaction, repeats
from cloaca_django.errors import WorkflowsNotImported


class CloacaConfig(AppConfig):
    """The Django app. It starts no thread: the worker command and the runner do."""

    name = "cloaca_django"
    verbose_name = _("Cloaca")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from cloaca_django import checks  # noqa: F401, PLC0415 - registers them

        redaction.add_words_from(lambda: settings.REDACT_KEYS)
        repeats.limit_by(lambda: settings.MAX_CONTEXT_BYTES)
        for app in apps.get_app_configs():
            if module_has_submodule(app.module, "workflows"):
                import_workflows(app.name)


def import_workflows(app: str) -> None:
    """Import an app's ``workflows.py``. Raises WorkflowsNotImported, which names the app."""
    try:
        import_module(f"{app}.workflows")
    except Exception as error:
        raise WorkflowsNotImported(app, error) from error
