from __future__ import annotations

from django.apps import AppConfig


class SoakConfig(AppConfig):
    """In the settings of a soak's processes: its workflows, and the command that drives them."""

    name = "tests.soak"
