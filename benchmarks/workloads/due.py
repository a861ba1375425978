"""W9: a thousand schedules due in the same second, one worker process.

Cron has minutes, so each measurement waits for a full one: the peer fires by its own plan. Its
schedules are declared and its worker is warm before, and its tables hold as many ended runs and
fresh statistics: an empty table misleads the planner about what comes all at once. The clock starts
when the minute does, and what has been committed is what counts.
"""

from __future__ import annotations

import time

from benchmarks.bench import Bench, mean_of
from benchmarks.figures import Figure, Record, number

SCHEDULES = 1_000
LEAD_SECONDS = 20.0  # at least, to declare the schedules and to warm up the worker
TITLE = "W9: 1,000 schedules due in the same second"
FIGURES = (
    Figure("seconds from due until the last run is submitted", number("submitted_s")),
    Figure("seconds from due until the last run is done", number("done_s")),
    Figure("CPU ms per run", number("cpu_ms")),
    Figure("- of the worker", number("cpu_worker_ms")),
    Figure("- of the server", number("cpu_server_ms")),
)


def measure(bench: Bench) -> Record:
    if not bench.peer.has_schedules:
        return {}
    _use(bench)
    before = bench.probe()
    due = _next_minute()
    bench.peer.declare_schedules(SCHEDULES, time.strftime("%M %H %d %m *", time.gmtime(due)))
    with bench.ready_worker() as worker:
        _sleep_until(due)
        spent = bench.spent(worker)
        bench.wait_for(lambda: bench.peer.fired() >= SCHEDULES, worker)
        submitted = time.time() - due
        bench.drain(worker)
        done = time.time() - due
        cpu = bench.spent(worker).since(spent, runs=SCHEDULES)
    bench.check()
    if bench.peer.fired() != SCHEDULES:
        raise RuntimeError(f"{bench.peer.fired()} runs of {SCHEDULES} schedules")
    return {"submitted_s": submitted, "done_s": done} | cpu | mean_of(before, bench.probe())


def _use(bench: Bench) -> None:
    """As on a site that has run for a while."""
    bench.peer.submit_many(SCHEDULES)
    bench.database.analyze()
    with bench.worker() as worker:
        bench.drain(worker)
    bench.database.analyze()


def _next_minute() -> float:
    """The first full minute that leaves the lead, in seconds of the clock."""
    return 60 * ((time.time() + LEAD_SECONDS) // 60 + 1)


def _sleep_until(due: float) -> None:
    left = due - time.time()
    if left < 1:
        raise RuntimeError("the worker was not ready before the schedules were due")
    time.sleep(left)
