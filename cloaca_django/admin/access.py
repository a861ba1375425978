"""Who may do what. Each act has a permission of its own, beside Django's ``view_...``."""

from __future__ import annotations

from typing import Any

from django.db.models import Model
from django.http import HttpRequest

from cloaca_django import tenancy
from cloaca_django.conf import settings

APP = "cloaca_django"

RUN = "run_workflow"
PAUSE = "pause_workflow"
RETRY = "retry_execution"
CANCEL = "cancel_execution"
DELETE_RUN = "delete_pipelineexecution"
VIEW_CONTEXT = "view_context"
DRAIN = "drain_worker"
FORGET = "delete_worker"
CHANGE_SCHEDULE = "change_cronschedule"


def may(request: HttpRequest, codename: str) -> bool:
    """Say whether the person who asks has a permission of ours."""
    user: Any = request.user
    return bool(is_here() and user.is_active and user.has_perm(f"{APP}.{codename}"))


def is_here() -> bool:
    """Say whether there is anything of ours to see: what a site's tenants share has no runs."""
    alias = settings.DATABASE
    return not (tenancy.has_tenants(alias) and tenancy.is_public(alias))


def may_view(request: HttpRequest, model: type[Model]) -> bool:
    """Say whether rows of a table may be seen; who may change them may see them."""
    name = model._meta.model_name
    return may(request, f"view_{name}") or may(request, f"change_{name}")


def name_of(request: HttpRequest) -> str:
    """Return how the engine's rows call the person who asks."""
    user: Any = request.user
    return str(user.get_username())[:255]
