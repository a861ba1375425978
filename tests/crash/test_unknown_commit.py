"""A COMMIT was executed and its reply never came. The rows tell, and every outcome counts once."""

from __future__ import annotations

import pytest

from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.engine import completing, operations, salvage
from cloaca_django.engine.settlement import Settled
from cloaca_django.models import TaskExecution
from tests.crash.faults import ALONE, COMMIT, Crash, Plan
from tests.crash.graphs import Node, chain, diamond


class ReplyLost(Plan):
    """The reply of the next COMMIT is lost, whatever comes before it.

    Or of the next statement that commits itself.
    """

    def reach(self, point):
        is_alone = point.endswith(ALONE)
        if (point == COMMIT or is_alone) and self.is_armed and not self.has_fired:
            self.has_fired = True
            return Crash.DROPPED_AFTER if is_alone else Crash.REPLY_LOST
        return None


def _settle_with_lost_reply(world, name):
    """Let a worker end what it claimed, and lose the reply of the turn that settles it."""
    plan = ReplyLost()
    worker = world.worker(plan=plan)
    world.submit(name)
    worker.settle_down()
    worker.run_all()
    worker.published.clear()
    plan.is_armed = True
    worker.step()
    assert plan.has_fired
    return worker


def test_an_outcome_whose_commit_has_no_reply_is_accepted_once(world):
    world.define("one", {"only": Node()})
    worker = _settle_with_lost_reply(world, "one")
    worker.settle_down()
    settled = [effects.settled for effects in worker.published]
    assert sum(len(one.accepted) for one in settled) == 1
    assert sum(len(one.fenced) for one in settled) == 0
    assert worker.turn.running == {}
    assert world.violations() == []


def test_claims_whose_commit_has_no_reply_are_taken_back_before_the_next_claim(world):
    """The successors were claimed in the settle that got no reply: nobody runs them."""
    world.define("chain", chain("a", "b"))
    worker = _settle_with_lost_reply(world, "chain")
    second = TaskExecution.objects.get(name="b")
    assert (second.status, second.worker_id) == (TaskStatus.RUNNING, worker.id)
    worker.settle_down()
    assert [job.task.name for job in worker.jobs] == ["b"]
    assert worker.jobs[0].token != second.claim_token
    worker.work()
    assert world.violations() == []


def test_who_waits_for_a_run_whose_end_got_no_reply_is_answered(world):
    world.define("one", {"only": Node()})
    plan = ReplyLost()
    worker = world.worker(plan=plan)
    ask = world.ask(worker, "one")
    worker.settle_down()
    worker.run_all()
    plan.is_armed = True
    worker.settle_down()
    assert plan.has_fired
    assert ask.done.result(0).status == RunStatus.COMPLETED


def test_an_outcome_of_a_cancelled_task_is_never_called_accepted(world):
    """The COMMIT did not happen, then somebody cancelled the run: the row still has the token."""
    world.define("one", {"only": Node()})
    worker = world.worker()
    run = world.submit("one")
    worker.settle_down()
    worker.run_all()
    worker.turn._collect()
    operations.cancel(world.operator, run)
    known = salvage.resolve(world.operator, worker.turn.batch.outcomes)
    assert known.accepted == []
    assert len(known.fenced) == 1


def test_an_atomic_task_that_was_rolled_back_and_cancelled_is_never_called_accepted(world):
    world.define("one", {"only": Node((), {"atomic": True})})
    worker = world.worker()
    run = world.submit("one")
    worker.settle_down()
    outcome = worker.jobs[0].outcome(TaskStatus.COMPLETED)
    operations.cancel(world.operator, run)
    found = completing.resolve("default", Settled(accepted=[outcome]), outcome)
    assert (found.accepted, found.fenced) == ([], [outcome])


@pytest.mark.parametrize("name", ["diamond", "retried"])
def test_a_commit_that_did_not_happen_is_settled_again(world, name):
    """The connection broke before COMMIT reached the server: the row still runs with our token."""
    world.define("diamond", diamond())
    world.define("retried", {"flaky": Node((), {"retry_attempts": 3})})
    world.failing = {"flaky": 1}
    plan = Plan()
    worker = world.worker(plan=plan)
    world.submit(name)
    worker.settle_down()
    worker.run_all()
    world.killer.drop(worker.turn._session.transport.inner.connection)
    worker.turn._session.transport._is_cut = True
    worker.step()
    assert worker.turn.failures == 1
    worker.settle_down()
    settled = [effects.settled for effects in worker.published]
    assert sum(len(one.accepted) for one in settled) == 1
    world.drain()
    assert len(world.started) == (4 if name == "diamond" else 2)
    assert world.violations() == []
