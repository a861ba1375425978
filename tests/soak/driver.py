"""Submissions of a soak: each with a key, and repeated until there is an answer."""

from __future__ import annotations

import random
import threading
from collections import deque
from datetime import timedelta
from typing import Any

from django.db import DatabaseError, connections, transaction

from cloaca_django import Context, clock
from cloaca_django.errors import DatabaseUnreachable, OperationFailed
from tests.soak import diary
from tests.soak.diary import Diary
from tests.soak.sites import entered, runner, schemas
from tests.soak.workflows import WEIGHTS

PAUSE_SECONDS = 0.3
# What a call meets when the database goes away under it.
TROUBLES = (DatabaseError, DatabaseUnreachable, OperationFailed)


class Driver:
    """Submits one run at a time. ``runs`` are the latest ones, with their schemas."""

    def __init__(
        self, name: str, diary: Diary, chance: random.Random, stopping: threading.Event
    ) -> None:
        self._name = name
        self._diary = diary
        self._chance = chance
        self._stopping = stopping
        self._count = 0
        self.runs: deque[tuple[str, str]] = deque(maxlen=200)

    def submit(self) -> None:
        """Submit a run, until it is known to be there; one in fifty is taken back instead."""
        self._count += 1
        schema, key = self._chance.choice(schemas()), f"{self._name}-{self._count}"
        (name,) = self._chance.choices([*WEIGHTS], [*WEIGHTS.values()])
        start = clock.utc_now() + timedelta(seconds=2) if self._chance.random() < 0.03 else None
        options = {"start_at": start, "priority": self._chance.choice((0, 0, 0, 5))}
        is_to_stay = self._chance.random() >= 0.02
        self._diary.note(diary.ASKED, schema, key)
        while not self._stopping.is_set():
            try:
                with entered(schema), transaction.atomic():
                    run = self._enqueue(schema, name, key, **options)
                    transaction.set_rollback(not is_to_stay)
            except TROUBLES as error:
                self._diary.note(diary.TROUBLE, schema, str(error)[:200])
                connections.close_all()
                self._stopping.wait(PAUSE_SECONDS)
            else:
                self._diary.note(diary.ANSWERED if is_to_stay else diary.TAKEN_BACK, schema, key)
                self.runs.append((schema, run))
                return

    def _enqueue(self, schema: str, name: str, key: str, **options: Any) -> str:
        context = Context({"tenant": schema, "given": key})
        handle = runner(schema).enqueue(name, context, idempotency_key=key, **options)
        return str(handle.id)
