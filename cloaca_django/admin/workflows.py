"""The pages of workflows."""

from __future__ import annotations

from django.contrib import admin

from cloaca_django.admin.read_only import ReadOnlyAdmin
from cloaca_django.models import WorkflowControl


@admin.register(WorkflowControl)
class WorkflowAdmin(ReadOnlyAdmin):
    """Workflows by name."""
