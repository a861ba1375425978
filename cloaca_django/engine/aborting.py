"""Cut the database connections of a task that is out of time.

Otherwise a retry may block on the locks that its own corpse still holds.
"""

from __future__ import annotations

import logging
import threading
import weakref
from typing import Any

from django.db.backends.signals import connection_created

from cloaca_django.dialect import abort_connections
from cloaca_django.engine.execution import Job

logger = logging.getLogger("cloaca_django.worker")

_opened: dict[int, list[weakref.ref[Any]]] = {}


def _remember(sender: object, connection: Any, **kwargs: object) -> None:
    # A thread's connections cannot be found from outside it, so each says when it opens.
    if threading.current_thread().name.startswith("cloaca-task"):
        known = _opened.setdefault(threading.get_ident(), [])
        known[:] = [ref for ref in known if ref() is not None and ref() is not connection]
        known.append(weakref.ref(connection))


connection_created.connect(_remember, dispatch_uid="cloaca-aborting")


class Aborter:
    """Aborts the connections of abandoned jobs."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def abort(self, job: Job) -> None:
        """End whatever statement or transaction the job's thread has open."""
        if job.thread_id is None:
            return
        found = [ref() for ref in _opened.pop(job.thread_id, ())]
        wrappers = [wrapper for wrapper in found if wrapper is not None]
        if not wrappers:
            return
        try:
            abort_connections(self._alias, wrappers)
        except Exception:
            # The retry may then wait for the old connection; it is not wrong, only slower.
            logger.warning("could not cut the connection of a timed-out task", exc_info=True)
