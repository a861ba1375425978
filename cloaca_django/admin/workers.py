"""The page of workers."""

from __future__ import annotations

from django.contrib import admin

from cloaca_django.admin.read_only import ReadOnlyAdmin
from cloaca_django.models import Worker


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    """Workers, those heard of last first."""
