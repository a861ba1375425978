"""Whether anything is left that a worker could do now, asked of the database."""

from __future__ import annotations

from django.db import DatabaseError, connections

from cloaca_django.dialect import site_session
from cloaca_django.engine import firing
from cloaca_django.engine.claiming import Claimer
from cloaca_django.models import TaskExecution


def is_left(alias: str, claimer: Claimer, *, fires: bool) -> bool:
    """Say whether a worker owns a task, or one that it can run is ready or due.

    ``fires``: a due schedule counts, too. On the caller's own connection.
    """
    try:
        found = site_session(alias).look()
        tasks = TaskExecution.objects.using(alias)
        if tasks.owned_by(claimer.worker).exists():
            return True
        if found.seconds_to_due is not None and found.seconds_to_due <= 0:
            return True
        if fires and firing.is_any_due(site_session(alias)):
            return True
        return found.has_ready and any(
            claimer.takes(workflow, queue) and claimer.has_code(workflow, name)
            for queue, workflow, name in tasks.claimable_kinds()
        )
    except DatabaseError:
        # Nobody knows; the turn waits for the database too.
        connections[alias].close()
        return True
