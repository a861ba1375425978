"""What an operator does in a soak: ends and repeats runs, pauses, and tinkers with schedules."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

from django.db import connections

from cloaca_django import CloacaError, Context
from cloaca_django.core.states import RUN_TROUBLED
from cloaca_django.models import CronSchedule, PipelineExecution
from tests.crash.fires import TRIGGERED
from tests.soak import diary
from tests.soak.diary import Diary
from tests.soak.driver import TROUBLES
from tests.soak.sites import entered, runner
from tests.soak.workflows import OF_SCHEDULES, WEIGHTS

# The oracle of schedules knows expressions of these kinds.
EXPRESSIONS = ("* * * * *", "*/2 * * * *", "1,3,5,20,33,48,59 * * * *", "*/3 * * * *")
POLICIES = ("all", "latest", "skip")
SCHEDULES = 6
# How many pauses are open at once.
MOST_PAUSED = 2

Runs = Sequence[tuple[str, str]]


class Operator:
    """Does one thing at a time, at random; what it paused it resumes."""

    def __init__(self, name: str, diary: Diary, chance: random.Random) -> None:
        self._name = name
        self._diary = diary
        self._chance = chance
        self._paused: list[tuple[str, Callable[[], object]]] = []
        self._count = 0
        self._acts = {
            self._cancel: 20, self._pause: 10, self._pause_workflow: 4, self._resume: 25,
            self._replay: 15, self._edit: 12, self._switch: 6, self._delete: 3, self._trigger: 5,
        }  # fmt: skip

    def plant(self, schemas: Iterable[str]) -> None:
        """Make the schedules that are not there, if the database lets us."""
        for schema in schemas:
            self._try(schema, lambda schema=schema: self._plant(schema))

    def act(self, runs: Runs) -> None:
        """Do something to one of these runs, or to a schedule."""
        if not runs:
            return
        schema, run = self._chance.choice(runs)
        (act,) = self._chance.choices([*self._acts], [*self._acts.values()])
        self._try(schema, lambda: act(schema, run))

    def undo_all(self) -> None:
        """Resume what is paused, as far as the database lets us."""
        while self._paused:
            self._try("", lambda: self._resume("", ""))

    def _try(self, schema: str, act: Callable[[], object]) -> None:
        try:
            with entered(schema):
                act()
        except TROUBLES as error:
            self._diary.note(diary.TROUBLE, schema, str(error)[:200])
            connections.close_all()
        except CloacaError:
            # It has ended, or is gone: as an operator who comes too late is told.
            self._diary.note(diary.REFUSED, schema)
        else:
            self._diary.note(diary.ACTED, schema)

    # -- runs

    def _cancel(self, schema: str, run: str) -> None:
        runner(schema).cancel(run, by=self._name)
        self._diary.note(diary.CANCELLED, schema, run)

    def _pause(self, schema: str, run: str) -> None:
        if len(self._paused) >= MOST_PAUSED:
            return
        self._paused.append((schema, lambda: runner(schema).resume(run)))
        runner(schema).pause(run, by=self._name)

    def _pause_workflow(self, schema: str, run: str) -> None:
        if len(self._paused) >= MOST_PAUSED:
            return
        name = self._chance.choice([*WEIGHTS])
        self._paused.append((schema, lambda: runner(schema).resume_workflow(name)))
        runner(schema).pause_workflow(name, by=self._name)

    def _resume(self, schema: str, run: str) -> None:
        if self._paused:
            schema, undo = self._paused.pop(0)
            with entered(schema):
                undo()

    def _replay(self, schema: str, run: str) -> None:
        troubled = PipelineExecution.objects.filter(status__in=RUN_TROUBLED).order_by("-id")[:20]
        if not troubled:
            return
        self._count += 1
        runner(schema).replay(
            self._chance.choice(troubled).pk,
            from_start=self._chance.random() < 0.3,
            idempotency_key=f"{self._name}-again-{self._count}",
        )

    # -- schedules

    def _plant(self, schema: str) -> None:
        for at in range(SCHEDULES):
            runner(schema).register_cron_workflow(
                OF_SCHEDULES, self._chance.choice(EXPRESSIONS), name=f"soak {at}",
                catchup_policy=self._chance.choice(POLICIES),
                context=Context({"tenant": schema, "given": "schedule"}),
            )  # fmt: skip

    def _one(self) -> str | None:
        found = list(CronSchedule.objects.values_list("pk", flat=True))
        return str(self._chance.choice(found)) if found else None

    def _edit(self, schema: str, run: str) -> None:
        if one := self._one():
            runner(schema).update_cron_schedule(
                one, self._chance.choice(EXPRESSIONS), catchup_policy=self._chance.choice(POLICIES)
            )

    def _switch(self, schema: str, run: str) -> None:
        if one := self._one():
            runner(schema).set_cron_schedule_enabled(one, self._chance.random() < 0.8)

    def _delete(self, schema: str, run: str) -> None:
        """Delete one, and make those that are missing: a new one has the name of the old."""
        if one := self._one():
            runner(schema).delete_cron_schedule(one)
        self._plant(schema)

    def _trigger(self, schema: str, run: str) -> None:
        if one := self._one():
            runner(schema).trigger_cron_schedule(one, reason=TRIGGERED)
