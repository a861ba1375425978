"""The last two dependencies of a join end at the same moment: the join becomes ready, once."""

from __future__ import annotations

import threading

from cloaca_django.core.states import TaskStatus
from cloaca_django.dialect.rows import TaskMove
from cloaca_django.engine import settlement
from cloaca_django.engine.memory import Memory
from cloaca_django.models import TaskExecution
from tests.concurrency.races import MANY_WRITERS, ONE_WRITER, ended, settle, settle_all
from tests.crash.graphs import diamond

RUNS = 20


def _two_branches(world, runs):
    """Bring runs to where both branches have ended and neither is settled."""
    world.define("diamond", diamond())
    worker = world.worker(concurrency=2 * runs)
    for _ in range(runs):
        world.submit("diamond")
    worker.settle_down()
    worker.run_all()
    worker.settle_down()
    outcomes = ended(worker)
    assert len(outcomes) == 2 * runs
    left = [outcome for outcome in outcomes if outcome.position == 1]
    right = [outcome for outcome in outcomes if outcome.position == 2]
    return left, right


def _joins():
    return set(TaskExecution.objects.filter(name="join").values_list("status", flat=True))


def test_two_branches_that_end_at_once_ready_each_join_once(world, together):
    left, right = _two_branches(world, RUNS)
    here, there = world.session(), world.session()
    found = together(lambda: settle_all(here, left), lambda: settle_all(there, right))
    assert found == [RUNS, RUNS]
    assert _joins() == {TaskStatus.READY}
    world.drain()
    assert world.violations() == []


@ONE_WRITER
def test_a_branch_whose_sibling_is_being_settled_waits_for_it(world):
    """Both in open transactions at once: without the run's lock each sees the other running."""
    left, right = _two_branches(world, 1)
    here, there = world.session(), world.session()
    with here.transaction():
        first = settlement.settle(here, left, Memory(0), worker=None)
        second = settle(there, right)
    assert (len(first.accepted), len(second.accepted)) == (1, 0)
    assert second.waiting == right
    assert settle_all(there, right) == 1
    assert _joins() == {TaskStatus.READY}


@MANY_WRITERS
def test_a_settle_waits_for_the_writer_before_it_reads(world):
    """On SQLite the writer's lock is taken first: a read before it would be of an old state."""
    left, right = _two_branches(world, 1)
    here, there = world.session(), world.session()
    found = []
    waiting = threading.Thread(target=lambda: found.append(settle_all(there, right)))
    with here.transaction():
        settlement.settle(here, left, Memory(0), worker=None)
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive(), "it did not wait"
    waiting.join(10.0)
    assert found == [1]
    assert _joins() == {TaskStatus.READY}


def test_a_worker_notices_that_another_moved_a_run_it_remembers(world):
    """Each ran one branch. The first still remembers the other branch as it was at its start."""
    world.define("diamond", diamond())
    first = world.worker(concurrency=1)
    world.submit("diamond")
    first.settle_down()
    first.run_all()
    first.settle_down()
    assert [job.task.name for job in first.jobs] == ["left"]
    second = world.worker(concurrency=1)
    second.settle_down()
    assert [job.task.name for job in second.jobs] == ["right"]
    second.run_all()
    second.step()
    first.run_all()
    first.step()
    assert _joins() == {TaskStatus.RUNNING}
    world.drain()
    assert world.violations() == []


def test_a_move_of_a_task_that_is_no_longer_pending_does_nothing(world):
    """A move was decided on an old state of its run: the task's row has the last word."""
    left, right = _two_branches(world, 1)
    settle_all(world.operator, [*left, *right])
    world.workers[0].work()
    assert _joins() == {TaskStatus.COMPLETED}
    join = TaskExecution.objects.get(name="join")
    move = TaskMove(join.id, TaskStatus.READY)
    with world.operator.transaction():
        world.operator.move_tasks([move], None)
    assert _joins() == {TaskStatus.COMPLETED}
    assert world.violations() == []
