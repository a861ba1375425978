"""App configuration. The workflows are in ``workflows.py``, where cloaca_django looks for them."""

from django.apps import AppConfig


class WeatherConfig(AppConfig):
    """The example's one app."""

    name = "example_project.weather"
    default_auto_field = "django.db.models.BigAutoField"
