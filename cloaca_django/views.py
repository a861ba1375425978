"""Pages for machines: is this process alive, is the engine well, and its metrics.

``urls`` gives them addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connections, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from cloaca_django import tenancy
from cloaca_django.conf import settings
from cloaca_django.databases import first_line
from cloaca_django.dialect import is_transient
from cloaca_django.examination import examine, is_reached
from cloaca_django.health import MAX_LATE_SECONDS, MAX_READY_SECONDS, PROBES
from cloaca_django.metrics import exposition, read_gauges, require_library

SEES_RUNS = "cloaca_django.view_pipelineexecution"

View = Callable[..., HttpResponse]


def _for_machines(view: View) -> View:
    """Let a view answer GET and HEAD of anybody, without a transaction, and no cache keep it."""
    for alias in connections:
        # Under ATOMIC_REQUESTS a dead database would hang the request before the view has begun.
        view = transaction.non_atomic_requests(using=alias)(view)
    return login_not_required(never_cache(require_safe(view)))


@_for_machines
def live(request: HttpRequest) -> HttpResponse:
    """Say that this process answers. It asks no database."""
    return JsonResponse({"alive": True})


@_for_machines
def health(
    request: HttpRequest,
    *,
    probes: Collection[str] = tuple(PROBES),
    max_ready_seconds: float = MAX_READY_SECONDS,
    max_late_seconds: float = MAX_LATE_SECONDS,
) -> HttpResponse:
    """Answer 200 when all probes are content and 503 when one is not, in words for who may know.

    The limits come from the site's urls.py, never from the request.
    """
    findings = examine(
        settings.DATABASE,
        seconds=settings.MONITORING_TIMEOUT_SECONDS,
        probes=probes,
        max_ready_seconds=max_ready_seconds,
        max_late_seconds=max_late_seconds,
    )
    is_healthy = all(found.is_healthy for found in findings)
    shown = [asdict(found) for found in findings]
    if not may_know(request, is_reached=is_reached(findings)):
        for one in shown:
            del one["says"]
    said = {"healthy": is_healthy, "probes": shown}
    return _unlogged(JsonResponse(said, status=200 if is_healthy else 503))


@_for_machines
def metrics(request: HttpRequest) -> HttpResponse:
    """Tell Prometheus how things stand: 403 for who may not know, 503 without an answer in time."""
    if not may_know(request):
        return _said(
            "This is for staff who may view runs, and for who sends"
            ' CLOACA["MONITORING_TOKEN"] as Authorization: Bearer ...',
            status=403,
        )
    require_library()
    seconds = settings.MONITORING_TIMEOUT_SECONDS
    try:
        found = read_gauges(settings.DATABASE, seconds=seconds)
    except TimeoutError:
        return _said(f"no answer within {seconds:g} s", status=503)
    except Exception as error:
        if not is_transient(error):
            raise
        return _said(first_line(error), status=503)
    text, content_type = exposition(found, accept=request.headers.get("Accept", ""))
    return HttpResponse(text, content_type=content_type)


def _said(text: str, *, status: int) -> HttpResponse:
    kind = "text/plain; charset=utf-8"
    return _unlogged(HttpResponse(f"{text}\n", content_type=kind, status=status))


def _unlogged(response: HttpResponse) -> HttpResponse:
    """Keep Django from logging an answer as an error: it would mail it to ADMINS at each probe.

    Who asks is told, and decides what is worth a mail. Django has no public way to say so.
    """
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def may_know(request: HttpRequest, *, is_reached: bool = True) -> bool:
    """Say whether who asks may see more than yes or no.

    With a database that was not reached nobody is looked up there.
    """
    if settings.MONITORING_ACCESS == "anyone" or _has_token(request):
        return True
    return is_reached and _is_staff(request)


def _has_token(request: HttpRequest) -> bool:
    wanted = settings.MONITORING_TOKEN
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    return (
        wanted is not None
        and kind.lower() == "bearer"
        and constant_time_compare(given.strip(), wanted)
    )


def _is_staff(request: HttpRequest) -> bool:
    alias = settings.DATABASE
    if tenancy.has_tenants(alias) and tenancy.is_public(alias):
        # Who is staff is known in each tenant, and of one tenant only.
        return False
    user: Any = getattr(request, "user", None)
    try:
        return bool(user and user.is_active and user.is_staff and user.has_perm(SEES_RUNS))
    except DatabaseError:
        # A probe gets its answer though sessions are out of order.
        return False
