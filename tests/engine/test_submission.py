"""Stage 1: a run and all its tasks are written at once."""

from __future__ import annotations

from cloaca_django.core.states import RunStatus, TaskStatus
from tests import workflows


def test_a_run_and_its_tasks_are_written_together(world):
    workflows.diamond("d")
    run_id = world.enqueue("d", {"i": 1})
    run = world.run(run_id)
    assert (run.status, run.context, run.workflow_name) == (RunStatus.PENDING, '{"i":1}', "d")
    assert world.statuses(run_id) == {
        "top": TaskStatus.READY,
        "left": TaskStatus.PENDING,
        "right": TaskStatus.PENDING,
        "join": TaskStatus.PENDING,
    }
    world.drain()
    assert world.run(run_id).status == RunStatus.COMPLETED


def test_two(world):
    workflows.diamond("d")
    world.enqueue("d", {"i": 1})
    world.drain()
