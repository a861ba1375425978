"""What a runner's worker is told: fields of the configuration, or the site's settings instead."""

from __future__ import annotations

from typing import Any

from cloaca_django.conf import settings
from cloaca_django.core.config import DefaultRunnerConfig
from cloaca_django.core.states import WorkerKind
from cloaca_django.engine.firing import FiringOptions
from cloaca_django.engine.shift import TenantOptions, WorkerOptions


def worker_options(
    config: DefaultRunnerConfig, *, alias: str, is_site: bool, schema: str = ""
) -> WorkerOptions:
    """Return how the worker of a runner works; a site's does what only its own calls need.

    ``schema`` is the tenant's: the runners of a site's tenants share a worker, one of its own
    engine serves that tenant alone.
    """
    poll = 1.0
    if config.is_set("scheduler_poll_interval_ms"):
        poll = config.scheduler_poll_interval_ms / 1000
    return WorkerOptions(
        alias=alias,
        kind=WorkerKind.EMBEDDED if is_site else WorkerKind.RUNNER,
        concurrency=_given(config, "max_concurrent_tasks", settings.CONCURRENCY),
        poll_seconds=poll,
        task_timeout_seconds=_given(config, "task_timeout_seconds", settings.TASK_TIMEOUT_SECONDS),
        recovers=config.enable_recovery and not is_site,
        claims_only_own=is_site,
        durability=_given(config, "durability", settings.DURABILITY),
        firing=None if is_site else _firing_options(config),
        tenants=_tenants(schema, is_site=is_site) if schema else None,
    )


def _tenants(schema: str, *, is_site: bool) -> TenantOptions:
    limit = settings.MAX_CONCURRENT_TASKS_PER_TENANT
    return TenantOptions(only=None if is_site else frozenset({schema}), limit=limit)


def run_limit(config: DefaultRunnerConfig) -> float | None:
    """Return how many seconds a run may take; None: as long as it wants."""
    limit: float | None = _given(
        config, "pipeline_timeout_seconds", settings.PIPELINE_TIMEOUT_SECONDS
    )
    return limit


def _firing_options(config: DefaultRunnerConfig) -> FiringOptions | None:
    # A site's schedules are the business of cloaca_worker.
    if not config.enable_cron_scheduling:
        return None
    return FiringOptions(
        poll_seconds=_given(
            config, "cron_poll_interval_seconds", settings.CRON_POLL_INTERVAL_SECONDS
        ),
        max_catchup=_given(
            config, "cron_max_catchup_executions", settings.CRON_MAX_CATCHUP_EXECUTIONS
        ),
        run_timeout_seconds=run_limit(config),
    )


def _given(config: DefaultRunnerConfig, field: str, default: Any) -> Any:
    return getattr(config, field) if config.is_set(field) else default
