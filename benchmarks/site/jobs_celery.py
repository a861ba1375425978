"""The Celery app and its jobs; every body is a no-op that adds one key."""

from __future__ import annotations

import os
from typing import Any

import celery
import django

django.setup()

app = celery.Celery("bench", broker=os.environ["BENCH_BROKER_URL"])
app.conf.update(
    result_backend=os.environ["BENCH_RESULTS_URL"],
    result_extended=True,
    task_acks_late=True,  # a task whose worker dies is given to another
    task_serializer="json",
    worker_prefetch_multiplier=8,
    broker_connection_retry_on_startup=True,
    timezone="UTC",
    beat_max_loop_interval=1,
)
app.conf.CELERY_DB_REUSE_MAX = 1000


@app.task
def one(context: dict[str, Any]) -> dict[str, Any]:
    return {**context, "a": 1}


@app.task
def leaf(context: dict[str, Any], number: int) -> dict[str, Any]:
    return {f"leaf{number}": 1}


@app.task
def join(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: value for part in parts for key, value in part.items()}


@app.task
def tick() -> int:
    """The run of a schedule."""
    return 1


def chain(length: int) -> Any:
    """Start one; the result of its last task."""
    return celery.chain(one.s({}), *[one.s()] * (length - 1)).delay()


def fan(width: int) -> Any:
    leaves = [leaf.s(i) for i in range(width)]
    return celery.chain(one.s({}), celery.chord(leaves, join.s())).delay()
