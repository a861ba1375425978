"""Who uses which worker in this process: runners of a site share one, a URL's runner has its own.

A view may make a ``DefaultRunner()`` for every request; that must not start threads each time.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

from cloaca_django.engine.hiring import hire
from cloaca_django.engine.shift import Shift, WorkerOptions

_lock = threading.Lock()
_shared: dict[tuple[int, WorkerOptions], tuple[Shift, int]] = {}


@dataclass(slots=True)
class Lease:
    """One runner's use of a worker."""

    worker: Shift
    pid: int
    is_shared: bool

    def is_inherited(self) -> bool:
        """Say whether this process was forked since: the worker's threads are not here."""
        return self.pid != os.getpid()

    def end(self, *, grace: float) -> None:
        """Stop using the worker; the last user stops it."""
        if self.is_inherited():
            return
        if self.is_shared and not _is_last(self):
            return
        self.worker.stop(grace=grace)


def lease(options: WorkerOptions, *, shared: bool) -> Lease:
    """Return the use of a started worker."""
    pid = os.getpid()
    if not shared:
        worker = hire(options)
        worker.start()
        return Lease(worker, pid, is_shared=False)
    with _lock:
        found = _shared.get((pid, options))
        if found is None or not found[0].is_alive():
            found = (hire(options), 0)
            found[0].start()
        _shared[pid, options] = (found[0], found[1] + 1)
    return Lease(found[0], pid, is_shared=True)


def _is_last(lease: Lease) -> bool:
    key = (lease.pid, lease.worker.options)
    with _lock:
        worker, users = _shared.get(key, (lease.worker, 1))
        if worker is not lease.worker:
            return True
        if users > 1:
            _shared[key] = (worker, users - 1)
            return False
        del _shared[key]
    return True
