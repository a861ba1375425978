"""How much is measured: the sizes of a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """The sizes of one run. Every peer gets the same ones."""

    rounds: int
    drain_runs: int
    live_runs: int
    latency_samples: int
    latency_seconds: float  # a slow peer stops sampling here, per kind of chain
    dag_samples: int
    dag_seconds: float
    sql_runs: int
    idle_seconds: float  # `FULL`: two of the polls that schedules get each 30 s
    idle_schedules: tuple[int, ...]
    timeout_seconds: float  # for one measurement, after which its peer counts as failed


SMOKE = Plan(1, 200, 100, 20, 2.0, 1, 5.0, 200, 3.0, (0,), 90.0)
SUBSET = Plan(3, 2_000, 500, 100, 3.0, 3, 4.0, 2_000, 8.0, (0, 10_000), 120.0)
FULL = Plan(5, 5_000, 2_000, 400, 30.0, 10, 30.0, 5_000, 65.0, (0, 100, 10_000), 600.0)
