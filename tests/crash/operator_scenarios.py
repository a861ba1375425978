"""Scenarios of what operators and callers do: cancel, pause, replay, enqueue, atomic tasks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from django.db import connection, transaction

import cloaca_django as cloaca
from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.dialect import Session
from cloaca_django.engine import operations
from cloaca_django.errors import InvalidTransition
from cloaca_django.models import PipelineExecution, TaskExecution
from tests.crash.faults import FaultyDjango
from tests.crash.graphs import Node, chain, diamond
from tests.crash.scenarios import Scenario, Stage
from tests.crash.world import World


def define(world: World) -> None:
    """Register the workflows of these scenarios."""
    # A survivor's body sees its connection break; that is an error like any other, so it retries.
    world.define("atomic", diamond(atomic=True, retry_attempts=3))
    world.define("atomic last", {"only": Node((), {"atomic": True, "retry_attempts": 3})})
    world.define("completing", chain("slow", "after", retry_attempts=3))


# -- operators


def _acts(act: Callable[[Session, Stage], object]) -> Callable[[Stage], None]:
    return lambda stage: stage.operate(lambda session: act(session, stage))


def _again(act: Callable[[Session, Stage], object]) -> Callable[[Stage], None]:
    """The operator saw an error and repeats the act; that it was done already is fine."""

    def retry(stage: Stage) -> None:
        with contextlib.suppress(InvalidTransition):
            act(stage.world.operator, stage)

    return retry


def _cancel(session: Session, stage: Stage) -> None:
    operations.cancel(session, stage.run, by="someone", reason="crash")


def _pause(session: Session, stage: Stage) -> None:
    operations.pause(session, stage.run, by="someone")


def _resume(session: Session, stage: Stage) -> None:
    operations.resume(session, stage.run)


def _pause_workflow(session: Session, stage: Stage) -> None:
    operations.pause_workflow(session, "diamond", by="someone")


def _resume_workflow(session: Session, stage: Stage) -> None:
    operations.resume_workflow(session, "diamond")


def _replay(session: Session, stage: Stage) -> None:
    operations.replay(session, stage.run)


def _half_way(stage: Stage) -> None:
    """One branch claimed, one ready, the join pending."""
    stage.claim("diamond")
    stage.victim.run_all()
    stage.victim.settle_down()


def _with_child(stage: Stage) -> None:
    _half_way(stage)
    task = TaskExecution.objects.get(run_id=stage.run, name="left")
    stage.submit("chain", parent_id=stage.run, parent_task_id=task.id)


def _paused(stage: Stage) -> None:
    stage.submit("diamond")
    _pause(stage.world.operator, stage)


def _workflow_paused(stage: Stage) -> None:
    _pause_workflow(stage.world.operator, stage)
    stage.submit("diamond")
    stage.submit("diamond")


def _failed_run(stage: Stage) -> None:
    stage.world.failing = {"right": 1}
    _half_way(stage)
    stage.victim.run_all()
    stage.victim.settle_down()
    stage.world.failing = {}


def _is_held(stage: Stage) -> None:
    """A pause holds: nothing of the run starts however long one waits; then it goes on."""
    world = stage.world
    for _ in range(3):
        world.advance(20.0)
        for worker in [one for one in world.workers if one.is_alive]:
            worker.beat()
            worker.sweep()
            worker.work()
    open_tasks = TaskExecution.objects.filter(run_id__in=stage.runs)
    open_tasks = open_tasks.exclude(status__in=["Completed", "Skipped", "Pending"])
    assert {task.status for task in open_tasks} <= {TaskStatus.HELD, TaskStatus.READY}
    _again(_resume)(stage)
    _resume_workflow(world.operator, stage)


def _is_cancelled(stage: Stage) -> None:
    runs = PipelineExecution.objects.filter(pk__in=stage.runs)
    assert {run.status for run in runs} == {RunStatus.CANCELLED}


def _pause_holds(act: Callable[[Session, Stage], object]) -> Callable[[Stage], None]:
    def retry(stage: Stage) -> None:
        _again(act)(stage)
        _is_held(stage)

    return retry


# -- callers, in their own transactions


def _runner(stage: Stage) -> None:
    stage.facts["runner"] = cloaca.DefaultRunner(using="default")


def _in_callers_transaction(act: Callable[[Any], list[Any]]) -> Callable[[Stage], None]:
    """The caller writes a row of its own, then enqueues, and commits both."""

    def operate(stage: Stage) -> None:
        def call(wrapper: Any) -> None:
            with FaultyDjango(wrapper, stage.plan, stage.world.killer.drop), transaction.atomic():
                wrapper.cursor().execute("INSERT INTO crash_started VALUES (0, 'caller')")
                handles = act(stage.facts["runner"])
            stage.world.acknowledged.update(handle.id.hex for handle in handles)

        stage.world.in_process(call)

    return operate


def _together_or_not(stage: Stage) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM crash_started")
        written = cursor.fetchone()[0]
        cursor.execute("DELETE FROM crash_started")
    assert (written == 0) == (PipelineExecution.objects.count() == 0)


def _once(stage: Stage) -> None:
    assert PipelineExecution.objects.count() == 1


def _enqueue(runner: Any) -> list[Any]:
    return [runner.enqueue("diamond", cloaca.Context({"given": "diamond"}))]


def _enqueue_with_key(runner: Any) -> list[Any]:
    context = cloaca.Context({"given": "diamond"})
    return [runner.enqueue("diamond", context, idempotency_key="once")]


def _enqueue_many(runner: Any) -> list[Any]:
    return runner.enqueue_many("chain", [cloaca.Context({"n": n}) for n in range(5)])


def _enqueue_again(stage: Stage) -> None:
    handles = _enqueue_with_key(stage.facts["runner"])
    stage.world.acknowledged.update(handle.id.hex for handle in handles)


# -- tasks that settle themselves


def _self_settling(name: str) -> Callable[[Stage], None]:
    def prepare(stage: Stage) -> None:
        if name == "completing":
            stage.world.completing = {"slow"}
        stage.claim(name)

    return prepare


def _effect_is_there(stage: Stage) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM crash_effect")
        found = cursor.fetchone()[0]
    assert found == 1, f"{found} effects"


def _run_body(stage: Stage) -> None:
    def call(wrapper: Any) -> None:
        with FaultyDjango(wrapper, stage.plan, stage.world.killer.drop):
            stage.victim.run(stage.victim.jobs[0])

    stage.world.in_process(call)


SCENARIOS = [
    Scenario("cancel", _half_way, _acts(_cancel), _again(_cancel), _is_cancelled),
    Scenario("cancel with a child", _with_child, _acts(_cancel), _again(_cancel), _is_cancelled),
    Scenario("pause", _half_way, _acts(_pause), _pause_holds(_pause)),
    Scenario("resume", _paused, _acts(_resume), _again(_resume)),
    Scenario("replay", _failed_run, _acts(_replay)),
    Scenario(
        "pause workflow", _half_way, _acts(_pause_workflow), _pause_holds(_pause_workflow)
    ),
    Scenario(
        "resume workflow", _workflow_paused, _acts(_resume_workflow), _again(_resume_workflow)
    ),
    Scenario(
        "enqueue", _runner, _in_callers_transaction(_enqueue), retry=_together_or_not
    ),
    Scenario(
        "enqueue with a key", _runner, _in_callers_transaction(_enqueue_with_key),
        retry=_enqueue_again, check=_once,
    ),
    Scenario(
        "enqueue many", _runner, _in_callers_transaction(_enqueue_many), retry=_together_or_not
    ),
    Scenario("atomic task", _self_settling("atomic"), _run_body),
    Scenario("atomic task, the last", _self_settling("atomic last"), _run_body),
    Scenario(
        "completing block", _self_settling("completing"), _run_body, check=_effect_is_there
    ),
]  # fmt: skip
