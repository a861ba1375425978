"""Commands as the tests call them, and rows that only other processes would write."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from io import StringIO
from typing import Any

from django.core.management import CommandError, call_command
from django.db import connection

from cloaca_django.core.states import WorkerKind, WorkerState
from cloaca_django.dialect import site_session
from cloaca_django.models import Worker


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


def run(name: str, *arguments: str, **options: Any) -> Ran:
    """Run a command in this process."""
    out, err = StringIO(), StringIO()
    code: Any = 0
    try:
        call_command(name, *arguments, stdout=out, stderr=err, **options)
    except CommandError as error:
        code = error.returncode
        err.write(str(error))
    except SystemExit as end:
        code = end.code
    return Ran(code, out.getvalue(), err.getvalue())


def queries_of(name: str, *arguments: str) -> tuple[Ran, list[str]]:
    """Run a command, and return also what it asked of the test's connection."""
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as captured:
        ran = run(name, *arguments)
    return ran, [query["sql"] for query in captured.captured_queries]


def a_worker(
    *,
    workflows: Sequence[str] = (),
    queues: Sequence[str] = ("default",),
    heard: float = 0.0,
    lease: float = 30.0,
    kind: str = WorkerKind.WORKER,
    state: str = WorkerState.ALIVE,
) -> Worker:
    """Write the row of a worker that was heard of some seconds ago."""
    heard_at = site_session("default").clock() - timedelta(seconds=heard)
    return Worker.objects.create(
        id=uuid.uuid4(),
        state=state,
        kind=kind,
        hostname="host",
        pid=1,
        concurrency=4,
        queues=",".join(queues),
        workflows=json.dumps(list(workflows)),
        lease_seconds=lease,
        started_at=heard_at,
        heartbeat_at=heard_at,
        lease_until=heard_at + timedelta(seconds=lease),
    )
