"""The jobs of django-tasks; every body is a no-op that adds one key."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django_tasks import task

from benchmarks.django_peer import finish, joined


@task()
def one(context: dict[str, Any]) -> dict[str, Any]:
    return {**context, "a": 1}


@task()
def step(context: dict[str, Any], left: int) -> dict[str, Any]:
    context[f"s{left}"] = 1
    if left > 1:
        step.enqueue(context=context, left=left - 1)
    else:
        finish(context["key"])
    return context


@task()
def root(key: str, width: int) -> None:
    with transaction.atomic():
        for _ in range(width):
            leaf.enqueue(key=key, width=width)


@task()
def leaf(key: str, width: int) -> None:
    if joined(key) == width:
        join.enqueue(key=key)


@task()
def join(key: str) -> None:
    finish(key)
