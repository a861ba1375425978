"""The jobs of django-q2; every body is a no-op that adds one key."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from benchmarks.django_peer import finish, joined


def one(context: dict[str, Any]) -> dict[str, Any]:
    return {**context, "a": 1}


def last(key: str) -> None:
    finish(key)


def root(key: str, width: int) -> None:
    from django_q.tasks import async_task  # noqa: PLC0415 - wants the settings

    with transaction.atomic():
        for _ in range(width):
            async_task(leaf, key, width)


def leaf(key: str, width: int) -> None:
    from django_q.tasks import async_task  # noqa: PLC0415 - wants the settings

    if joined(key) == width:
        async_task(last, key)
