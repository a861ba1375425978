"""What a workload gets: the peer, the plan, workers, clocks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import machine
from benchmarks.database import Database, wait_until
from benchmarks.figures import Record
from benchmarks.peer import Peer
from benchmarks.plan import Plan
from benchmarks.processes import Child


@dataclass(frozen=True)
class Spent:
    """CPU seconds up to one moment, by who spent them."""

    client: float
    worker: float
    server: float

    def since(self, earlier: Spent, *, runs: int) -> Record:
        """CPU milliseconds per run."""
        by_whom = {
            "client": self.client - earlier.client,
            "worker": self.worker - earlier.worker,
            "server": self.server - earlier.server,
        }
        made: Record = {f"cpu_{k}_ms": 1000 * v / runs for k, v in by_whom.items()}
        return made | {"cpu_ms": 1000 * sum(by_whom.values()) / runs}


@dataclass
class Bench:
    """One measurement under way."""

    peer: Peer
    plan: Plan
    database: Database
    folder: Path
    log: Path

    @contextmanager
    def worker(self) -> Iterator[Child]:
        """One worker process, just started."""
        child = Child(
            [sys.executable, *self.peer.worker_command()],
            log=self.log,
            variables=self.peer.worker_variables(),
            folder=self.folder,
        )
        try:
            yield child
        finally:
            child.stop()

    @contextmanager
    def ready_worker(self) -> Iterator[Child]:
        """One worker process that has ended its first run."""
        with self.worker() as child:
            self.peer.wait_until_ready()
            self.peer.queued_single()
            yield child

    @contextmanager
    def executing(self) -> Iterator[list[Child]]:
        """What `single`, `chain` and `fan` need: a warm worker, or nothing but the client."""
        if self.peer.worker_runs_execute:
            with self.ready_worker() as child:
                yield [child]
        else:
            self.peer.single()
            yield []

    def spent(self, *workers: Child) -> Spent:
        return Spent(
            time.process_time(),
            sum(child.cpu_seconds() for child in workers),
            self.database.server_cpu_seconds() + self.peer.servers_cpu_seconds(),
        )

    def probe(self) -> Record:
        """The machine at this moment; taken before and after what is timed."""
        return {
            "probe_commits_per_s": self.database.commits_per_second(machine.PROBE_SECONDS),
            "probe_loops_per_s": machine.python_loops_per_second(),
        }

    def drain(self, *workers: Child) -> None:
        """Wait for the last run."""
        self.wait_for(lambda: self.peer.remaining() == 0, *workers)

    def drain_for(self, seconds: float, *workers: Child) -> int:
        """Wait for the last run, but no longer than this; how many are left."""
        end = time.monotonic() + seconds
        self.wait_for(lambda: time.monotonic() > end or self.peer.remaining() == 0, *workers)
        return self.peer.remaining()

    def wait_for(self, has_ended: Callable[[], bool], *workers: Child, every: float = 0.01) -> None:
        """Wait; the question takes less than a fifteenth of the machine's time."""
        deadline = time.monotonic() + self.plan.timeout_seconds
        while True:
            start = time.perf_counter()
            if has_ended():
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"not at an end in {self.plan.timeout_seconds:.0f} s")
            if not all(child.is_running for child in workers):
                raise RuntimeError("the worker ended; see the log")
            time.sleep(max(every, 15 * (time.perf_counter() - start)))

    def check(self) -> None:
        """A run that failed fast must not count as a fast run."""
        failed = self.peer.failed()
        if failed:
            raise RuntimeError(f"{failed} runs failed; see the log")

    def wait_until_fewer(self, count: int, worker: Child) -> None:
        """Wait for the first of so many queued runs to end."""

        def has_begun() -> bool:
            if not worker.is_running:
                raise RuntimeError("the worker ended; see the log")
            return self.peer.remaining() < count

        wait_until(has_begun, timeout_seconds=self.plan.timeout_seconds, every=0.005)


def sampled(action: Callable[[], None], *, count: int, seconds: float) -> list[float]:
    """Milliseconds of each call, until either limit is reached; at least one."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < count and (not times or time.perf_counter() < end):
        start = time.perf_counter()
        action()
        times.append(1000 * (time.perf_counter() - start))
    return times


def mean_of(first: Record, second: Record) -> Record:
    """Of two probes."""
    return {key: (first[key] + second[key]) / 2 for key in first}
