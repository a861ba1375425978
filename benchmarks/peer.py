"""What a peer must be able to do. One subclass per file in ``peers/``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.database import Database


class Peer:
    """One engine in one configuration, seen from the process of the client.

    A run here is one submission: a job, a task, a workflow. Peers without graphs run chains and
    joins by hand: each step enqueues the next, a counting row starts the join.
    """

    worker_runs_execute = True  # False: `single`, `chain` and `fan` run inside the client
    has_schedules = False  # True: `declare_schedules` and `fired` are there
    most_schedules = 1_000_000  # what it can be asked to hold
    has_history = False  # True: `fill` is there
    has_busy_runs = False  # True: `submit_busy` is there
    runs_from_threads = False  # True: `single` may be called from several threads at once
    carries_context = False  # True: `carry` is there

    def __init__(self, database: Database, options: Mapping[str, Any]) -> None:
        self.database = database
        self.options = options

    def open(self) -> None:
        """Create the peer's tables and connect the client."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of what `open` made."""

    def worker_command(self) -> list[str]:
        """Arguments after the interpreter that start one worker process."""
        raise NotImplementedError

    def worker_variables(self) -> dict[str, str]:
        """Environment variables of the worker."""
        return {}

    def wait_until_ready(self) -> None:
        """For a worker that needs longer than its first run to be all there."""

    def servers_cpu_seconds(self) -> float:
        """CPU of servers of its own beside the database: a broker."""
        return 0.0

    def submit_many(self, count: int) -> None:
        """Queue so many one-task runs by the peer's bulk call."""
        raise NotImplementedError

    def submit_each(self, count: int) -> None:
        """Queue so many one-task runs by one call each."""
        raise NotImplementedError

    def remaining(self) -> int:
        """How many submitted runs have not ended."""
        raise NotImplementedError

    def failed(self) -> int:
        """How many submitted runs ended otherwise than well: must be none."""
        raise NotImplementedError

    def declare_schedules(self, count: int, cron: str) -> None:
        """Declare so many more schedules of the no-op run, in UTC, while no worker runs."""
        raise NotImplementedError

    def fired(self) -> int:
        """How many runs the schedules have submitted, each counted once it is committed."""
        raise NotImplementedError

    def queued_single(self) -> None:
        """Submit a one-task run and wait until a worker has ended it. By default: `single`."""
        self.single()

    def single(self) -> None:
        """Submit a one-task run and wait for its end."""
        raise NotImplementedError

    def chain(self, length: int) -> None:
        """Submit tasks in sequence and wait for the last one's end."""
        raise NotImplementedError

    def fan(self, width: int) -> None:
        """Submit one task, then so many beside each other, then one; wait for the last one."""
        raise NotImplementedError

    def fill(self, count: int) -> None:
        """Add so many ended runs to the tables, as copies of the one that ended before."""
        raise NotImplementedError

    def submit_busy(self, count: int) -> None:
        """Queue so many one-task runs whose task computes for some milliseconds."""
        raise NotImplementedError

    def carry(self, context: dict[str, Any], length: int) -> None:
        """`chain` with this context, of which each task changes one key."""
        raise NotImplementedError
