"""Every order of everything: random runs, schedules, workers that freeze, die or lose connections.

Three logical workers share one database and one clock, on one thread. After each step the
invariants are read from the rows; at the end everybody thaws and every run must end.
"""

from __future__ import annotations

import os
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cloaca_django.core import registry
from cloaca_django.core.states import RUN_FINAL, CatchupPolicy, OverlapPolicy, RunStatus
from cloaca_django.engine import backfill, operations, timetable
from cloaca_django.engine.firing import FiringOptions
from cloaca_django.engine.messages import HandBack
from cloaca_django.errors import InvalidTransition
from cloaca_django.models import CronExecution, CronSchedule, PipelineExecution
from tests.crash.account import NOTES
from tests.crash.faults import Crash
from tests.crash.fires import TRIGGERED
from tests.crash.graphs import Node
from tests.crash.world import ALIAS, LogicalWorker, World

WORKERS = 3
STEPS = 60
LIMIT = 2
MAX_OPEN_RUNS = 5
MAX_SCHEDULES = 2
CHANGES = ("edit", "enable", "disable", "delete")
# How many missed times are made up for: few, so that runs do not pile up.
CATCHUP = 3

# Which runs an operator may pause, resume, cancel and replay.
ALLOWED = {
    "pause": {RunStatus.PENDING, RunStatus.RUNNING},
    "resume": {RunStatus.PAUSED},
    "cancel": {RunStatus.PENDING, RunStatus.RUNNING, RunStatus.PAUSED},
    "replay": RUN_FINAL,
}

Shape = tuple[tuple[frozenset[int], bool, int], ...]


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    """Draw a graph of up to four tasks: what each waits for, whether atomic, and its attempts."""
    return tuple(
        (
            frozenset(draw(st.sets(st.integers(0, at - 1)))) if at else frozenset(),
            draw(st.booleans()),
            draw(st.integers(1, 2)),
        )
        for at in range(draw(st.integers(1, 4)))
    )


def graph_of(shape: Shape) -> dict[str, Node]:
    """Return a shape as a graph."""
    return {
        f"t{at}": Node(
            tuple(f"t{one}" for one in sorted(after)), {"atomic": atomic, "retry_attempts": tries}
        )
        for at, (after, atomic, tries) in enumerate(shape)
    }


def name_of(shape: Shape) -> str:
    """Return the one name of a shape."""
    return "g" + "_".join(
        f"{''.join(map(str, sorted(after)))}{'a' if atomic else 'p'}{tries}"
        for after, atomic, tries in shape
    )


# What schedules say. None is denser than the clock's longest step, so that few times pass at once.
expressions = st.sampled_from(["*/5 * * * *", "*/7 * * * *", "3,4 * * * *"])
schedule_facts = st.fixed_dictionaries(
    {"cron_expression": expressions},
    optional={
        "catchup_policy": st.sampled_from(CatchupPolicy.values),
        "overlap_policy": st.sampled_from(OverlapPolicy.values),
        "deadline_seconds": st.sampled_from([None, 30, 600]),
    },
)

at_worker = st.integers(0, WORKERS - 1)
at_any = st.integers(0, 1000)


class Machine(RuleBasedStateMachine):
    """What may happen to a database of runs."""

    world: World
    hits: Counter[str] = Counter()

    def __init__(self) -> None:
        super().__init__()
        # Every example begins with the same workflows: what a turn sends depends on them.
        self.known = registry.isolated()
        self.known.__enter__()
        self.world.define("limited", graph_of(((frozenset(), False, 1),) * 2), max_running=LIMIT)
        self.world.reset()
        self.workers = [self.world.worker() for _ in range(WORKERS)]
        self.frozen: set[int] = set()
        self.by_key: dict[str, Any] = {}
        self.breaks = 0
        self.hits["examples"] += 1

    # -- submissions

    @initialize(drawn=st.lists(shapes(), min_size=1, max_size=3))
    def begin(self, drawn: list[Shape]) -> None:
        for shape in drawn:
            self.submit_shape(shape)
        self.turn(0)

    def _may_submit(self) -> bool:
        return self.world.open_runs() < MAX_OPEN_RUNS

    @precondition(_may_submit)
    @rule(shape=shapes(), delay=st.sampled_from([None, None, 30.0]))
    def submit(self, shape: Shape, delay: float | None) -> None:
        start_at = None if delay is None else self.world.now + timedelta(seconds=delay)
        self.submit_shape(shape, start_at=start_at)

    def submit_shape(self, shape: Shape, **options: Any) -> None:
        self.world.submit(self._defined(shape), **options)
        self.hits["submissions"] += 1

    @precondition(_may_submit)
    @rule(at=at_worker, shape=shapes())
    def execute(self, at: int, shape: Shape) -> None:
        self.world.ask(self.workers[at], self._defined(shape))
        self.hits["executions"] += 1

    @precondition(_may_submit)
    @rule(key=st.sampled_from([None, "one", "two"]))
    def submit_limited(self, key: str | None) -> None:
        run = self.world.submit("limited", idempotency_key=key)
        assert key is None or self.by_key.setdefault(key, run) == run
        self.hits["limited submissions"] += 1

    def _defined(self, shape: Shape) -> str:
        name = name_of(shape)
        if name not in registry.snapshot():
            self.world.define(name, graph_of(shape))
        return name

    # -- workers

    def _awake(self) -> list[LogicalWorker]:
        return [one for at, one in enumerate(self.workers) if at not in self.frozen]

    def _at(self, at: int) -> LogicalWorker | None:
        return None if at in self.frozen else self.workers[at]

    @rule(at=at_worker)
    def turn(self, at: int) -> None:
        if worker := self._at(at):
            worker.step()
            self.hits["turns"] += 1

    def _has_bodies(self) -> bool:
        return any(worker.jobs for worker in self._awake())

    @precondition(_has_bodies)
    @rule(which=at_any)
    def complete_body_and_settle(self, which: int) -> None:
        self._run_body(which).step()

    @precondition(_has_bodies)
    @rule(which=at_any, fails=st.booleans())
    def run_body(self, which: int, fails: bool) -> None:
        self._run_body(which, fails=fails)

    def _run_body(self, which: int, *, fails: bool = False) -> LogicalWorker:
        claimed = [(worker, job) for worker in self._awake() for job in worker.jobs]
        worker, job = claimed[which % len(claimed)]
        self.world.fails_next = fails
        worker.run(job)
        self.world.fails_next = False
        self.hits["bodies failed" if fails else "bodies completed"] += 1
        return worker

    @rule(at=at_worker)
    def beat(self, at: int) -> None:
        if worker := self._at(at):
            worker.beat()

    @rule(at=at_worker)
    def sweep(self, at: int) -> None:
        if worker := self._at(at):
            worker.sweep()

    @rule(at=at_worker)
    def freeze_or_thaw(self, at: int) -> None:
        """A frozen worker does nothing; thawed, it goes on with what it had claimed."""
        self.frozen ^= {at}
        self.hits["freezes"] += at in self.frozen and bool(self.workers[at].jobs)

    @precondition(lambda self: any(worker.jobs for worker in self.workers))
    @rule(at=at_worker, gently=st.booleans())
    def kill_or_hand_back(self, at: int, gently: bool) -> None:
        self.hits["hand-backs" if gently else "kills"] += bool(self.workers[at].jobs)
        if not gently:
            self._replace(at)
        elif worker := self._at(at):
            worker.turn.post(HandBack(running_too=True))
            worker.step()

    @rule(at=at_worker, point=st.integers(0, 5), crash=st.sampled_from(Crash))
    def break_turn(self, at: int, point: int, crash: Crash) -> None:
        worker = self._at(at)
        if worker is None:
            return
        worker.plan.arm(point, crash)
        worker.attempt()
        worker.plan.is_armed = False
        self.breaks += worker.plan.has_fired
        self.hits[f"turns: {crash.value}"] += worker.plan.has_fired
        if worker.plan.is_dead:
            self._replace(at)

    def _replace(self, at: int) -> None:
        self.workers[at].die()
        self.world.workers.remove(self.workers[at])
        self.workers[at] = self.world.worker()
        self.frozen.discard(at)

    @rule(seconds=st.sampled_from([0.5, 2.0, 11.0, 20.0, 40.0, 400.0, -10.0, -60.0]))
    def advance_clock(self, seconds: float) -> None:
        self.world.advance(seconds)
        self.hits["jumps back"] += seconds < 0

    # -- operators

    @precondition(lambda self: PipelineExecution.objects.exists())
    @rule(which=at_any, act=st.sampled_from(sorted(ALLOWED)))
    def operate(self, which: int, act: str) -> None:
        if act == "replay" and not self._may_submit():
            return
        runs = list(PipelineExecution.objects.order_by("id"))
        run = runs[which % len(runs)]
        self.hits[f"{act} of a run {run.status}"] += 1
        function: Any = getattr(operations, act)
        if run.status in ALLOWED[act]:
            function(self.world.operator, run.id)
            return
        with pytest.raises(InvalidTransition):
            function(self.world.operator, run.id)

    @rule(act=st.sampled_from([operations.pause_workflow, operations.resume_workflow]))
    def operate_workflow(self, act: Any) -> None:
        act(self.world.operator, "limited")
        self.hits[act.__name__] += 1

    # -- schedules

    @precondition(lambda self: CronSchedule.objects.count() < MAX_SCHEDULES)
    @rule(facts=schedule_facts)
    def make_schedule(self, facts: dict[str, Any]) -> None:
        timetable.register(ALIAS, "limited", facts)
        self.hits["schedules"] += 1

    @precondition(lambda self: CronSchedule.objects.exists())
    @rule(at=at_worker, which=at_any)
    def let_schedule_fall_due(self, at: int, which: int) -> None:
        """Time passes to the next time of a schedule; a worker ticks."""
        due = self._schedule(which).next_run_at
        assert due is not None
        # Not beyond a lease, or every step would be a worker's death.
        self.world.advance(min(max((due - self.world.now).total_seconds(), 0.0) + 0.5, 330.0))
        before = CronExecution.objects.count()
        if worker := self._at(at):
            worker.step()
        self.hits["times fired"] += CronExecution.objects.count() - before

    @precondition(lambda self: CronSchedule.objects.exists())
    @rule(
        which=at_any,
        act=st.sampled_from(["edit", "enable", "disable", "delete"]),
        facts=schedule_facts,
    )
    def change_schedule(self, which: int, act: str, facts: dict[str, Any]) -> None:
        schedule = self._schedule(which)
        if act == "edit":
            timetable.update(ALIAS, schedule.pk, facts)
        elif act == "delete":
            timetable.delete(ALIAS, schedule.pk)
        else:
            timetable.set_enabled(ALIAS, schedule.pk, enabled=act == "enable")
        self.hits[f"schedules: {act}"] += 1

    def _may_start_run(self) -> bool:
        return CronSchedule.objects.exists() and self._may_submit()

    @precondition(_may_start_run)
    @rule(which=at_any, minutes=st.sampled_from([5, 20]))
    def backfill(self, which: int, minutes: int) -> None:
        end = self.world.now
        start = end - timedelta(minutes=minutes)
        made = backfill.backfill(self.world.operator, self._schedule(which), start=start, end=end)
        self.hits["times backfilled"] += len(made)

    @precondition(_may_start_run)
    @rule(which=at_any)
    def trigger(self, which: int) -> None:
        backfill.trigger(self.world.operator, self._schedule(which), reason=TRIGGERED)
        self.hits["triggers"] += 1

    def _schedule(self, which: int) -> CronSchedule:
        schedules = list(CronSchedule.objects.order_by("created_at", "pk"))
        return schedules[which % len(schedules)]

    # -- what holds

    @invariant()
    def every_promise_that_holds_always(self) -> None:
        self.hits["steps"] += 1
        assert self.world.violations(at_end=False) == []

    def teardown(self) -> None:
        """Let everybody work and every pause end: then every run ends too."""
        try:
            self._end()
        finally:
            self.known.__exit__(None, None, None)

    def _end(self) -> None:
        operations.resume_workflow(self.world.operator, "limited")
        # What is due now is fired, and nothing after it: the drain comes to an end.
        CronSchedule.objects.update(end_date=self.world.now)
        for run in PipelineExecution.objects.filter(status=RunStatus.PAUSED):
            operations.resume(self.world.operator, run.id)
        self.world.drain()
        assert self.world.violations() == []
        assert len(self.world.loop_errors) + len(self.world.heart_errors) <= self.breaks


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_order_of_events_breaks_a_promise(transactional_db):
    """The profile ``ci`` is deterministic; each database gets what its speed allows."""
    is_thorough = os.environ.get("HYPOTHESIS_PROFILE") == "ci"
    examples = {"sqlite": (60, 200), "postgresql": (15, 50)}[connection.vendor][is_thorough]
    with World() as world:
        world.firing = FiringOptions(max_catchup=CATCHUP)
        machine = type("Machine", (Machine,), {"world": world, "hits": Counter()})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=STEPS,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    NOTES["state machine"] = ", ".join(f"{n} {what}" for what, n in sorted(machine.hits.items()))
    assert machine.hits["examples"] >= examples
