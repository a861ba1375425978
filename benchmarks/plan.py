"""How much is measured: the sizes of a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """The sizes of one run. Every peer gets the same ones."""

    rounds: int
    drain_runs: int
    drain_seconds: float  # a slow peer is stopped here
    live_runs: int
    latency_samples: int
    latency_seconds: float  # a slow peer stops sampling here, per kind of chain
    dag_samples: int
    dag_seconds: float
    busy_runs: int
    sql_runs: int
    limit_seconds: int  # per kind of statement
    bulk_runs: int
    bulk_seconds: float  # a slow peer submits fewer, as many as fit
    idle_seconds: float  # `FULL`: two of the polls that schedules get each 30 s
    idle_schedules: tuple[int, ...]
    growth: tuple[int, ...]  # ended runs in the tables
    memory: tuple[int, ...]  # runs after which a worker is weighed
    counts_peers: bool  # whether peers take part in what is measured in one round only
    timeout_seconds: float  # for one measurement, after which its peer counts as failed


SMOKE = Plan(
    rounds=1,
    drain_runs=200,
    drain_seconds=10.0,
    live_runs=100,
    latency_samples=20,
    latency_seconds=1.0,
    dag_samples=1,
    dag_seconds=5.0,
    busy_runs=50,
    sql_runs=200,
    limit_seconds=1,
    bulk_runs=1_000,
    bulk_seconds=1.0,
    idle_seconds=3.0,
    idle_schedules=(0,),
    growth=(0, 10_000),
    memory=(2_000, 4_000),
    counts_peers=True,
    timeout_seconds=90.0,
)
SUBSET = Plan(
    rounds=3,
    drain_runs=3_000,
    drain_seconds=3.0,
    live_runs=300,
    latency_samples=100,
    latency_seconds=1.0,
    dag_samples=3,
    dag_seconds=1.0,
    busy_runs=500,
    sql_runs=1_000,
    limit_seconds=1,
    bulk_runs=100_000,
    bulk_seconds=1.0,
    idle_seconds=8.0,
    idle_schedules=(0, 10_000),
    growth=(0, 100_000),
    memory=(20_000, 40_000),
    counts_peers=False,
    timeout_seconds=120.0,
)
FULL = Plan(
    rounds=5,
    drain_runs=5_000,
    drain_seconds=60.0,
    live_runs=2_000,
    latency_samples=400,
    latency_seconds=30.0,
    dag_samples=10,
    dag_seconds=30.0,
    busy_runs=500,
    sql_runs=5_000,
    limit_seconds=4,
    bulk_runs=100_000,
    bulk_seconds=20.0,
    idle_seconds=65.0,
    idle_schedules=(0, 100, 10_000),
    growth=(0, 100_000, 1_000_000),
    memory=(20_000, 200_000),
    counts_peers=True,
    timeout_seconds=600.0,
)
