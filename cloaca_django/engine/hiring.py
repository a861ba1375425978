"""Which kind of worker a database asks for."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from cloaca_django.engine.shift import Shift, WorkerOptions
from cloaca_django.engine.tenant_worker import TenantWorker
from cloaca_django.engine.worker import Worker


def hire(
    options: WorkerOptions,
    *,
    report: Callable[[Shift], None] | None = None,
    id: UUID | None = None,
) -> Shift:
    """Return a worker: of one database, or of all tenants in it.

    ``id`` is what a supervisor wants it to register under; one of many tenants says itself where it
    is registered, and under which id.
    """
    if options.tenants is not None:
        return TenantWorker(options, report=report)
    made = Worker(options, report=report)
    if id is not None:
        made.claimer.worker = id
    return made
