"""The admin: pages over the engine's operations and query sets. Nothing here decides or moves.

Every change is asked for on a page of its own and carried out by ``engine`` or ``runner``.
"""

from cloaca_django.admin.runs import RunAdmin
from cloaca_django.admin.schedules import ScheduleAdmin
from cloaca_django.admin.workers import WorkerAdmin
from cloaca_django.admin.workflows import WorkflowAdmin

__all__ = ["RunAdmin", "ScheduleAdmin", "WorkerAdmin", "WorkflowAdmin"]
