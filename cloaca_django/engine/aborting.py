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
from cloaca_django.engine.execution import Job, on_thread

logger = logging.getLogger("cloaca_django.worker")

# By thread: the connections it opened, for a thread's connections cannot be found from outside.
_opened: dict[int, list[weakref.ref[Any]]] = {}


def _remember(sender: object, connection: Any, **kwargs: object) -> None:
    if threading.current_thread().name.startswith("cloaca-task"):
        known = _opened.setdefault(threading.get_ident(), [])
        known[:] = [ref for ref in known if ref() is not None and ref() is not connection]
        known.append(weakref.ref(connection))


connection_created.connect(_remember, dispatch_uid="cloaca-aborting")


def abort(job: Job) -> None:
    """End whatever statement or transaction a job's thread has open.

    The thread may have ended the job in this moment and begun another: then it is left alone.
    """
    if job.thread_id is None or on_thread.get(job.thread_id) is not job:
        return
    wrappers = [ref() for ref in _opened.get(job.thread_id, ())]
    try:
        abort_connections([wrapper for wrapper in wrappers if wrapper is not None])
    except Exception:
        # The retry may then wait for the old connection; it is not wrong, only slower.
        logger.warning("could not cut the connection of a timed-out task", exc_info=True)
