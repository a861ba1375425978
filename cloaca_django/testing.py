"""For the tests of a site: runs are driven to their end on the test's own connection.

A test runs in a transaction that no worker can see into, so nothing runs by itself.
"""

from __future__ import annotations

from cloaca_django.conf import settings
from cloaca_django.engine import eager
from cloaca_django.models import PipelineExecution


def drain(using: str | None = None) -> int:
    """Drive every open run to its end, as ``CLOACA["EAGER"]`` does; returns how many there were.

    Retries and waits move a virtual clock. A run that is paused stays open.
    """
    alias = using or settings.DATABASE
    open_runs = PipelineExecution.objects.using(alias).unfinished().newest_first()
    run_ids = list(open_runs.reverse().values_list("pk", flat=True))
    if run_ids:
        eager.drain(alias, run_ids)
    return len(run_ids)
