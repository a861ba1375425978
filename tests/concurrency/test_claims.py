"""Many claimers at one table: no task is claimed twice, none is left, none claims over its room."""

from __future__ import annotations

import uuid

from cloaca_django.core.states import TaskStatus
from cloaca_django.engine import claiming
from cloaca_django.engine.claiming import Claimer
from cloaca_django.models import TaskExecution
from tests.crash.graphs import Node

CLAIMERS = 8
TASKS = 60


def _claim_until_nothing_is_left(session, room):
    claimer = Claimer(worker=uuid.uuid4())
    claimed = []
    while True:
        claimer.renew(room)
        with session.transaction():
            found = claiming.claim(session, claimer)
        assert len(found) <= room
        if not found:
            return claimed
        claimed += [(claim.task_id, claimer.token) for claim in found]


def test_eight_claimers_share_sixty_tasks_without_overlap(world, together):
    world.define("one", {"only": Node()})
    for _ in range(TASKS):
        world.submit("one")
    sessions = [world.session() for _ in range(CLAIMERS)]
    claims = together(*(lambda s=s: _claim_until_nothing_is_left(s, 4) for s in sessions))
    ids = [task for claimed in claims for task, _ in claimed]
    assert sorted(ids) == sorted(set(ids))
    # A claimer that met only locked rows stopped early; what it left is still there to claim.
    ids += [task for task, _ in _claim_until_nothing_is_left(world.session(), 4)]
    assert len(ids) == len(set(ids)) == TASKS
    stored = dict(TaskExecution.objects.values_list("id", "claim_token"))
    assert all(stored[task] == token for claimed in claims for task, token in claimed)


def test_claimers_of_their_own_runs_stay_within_their_room(world, together):
    """A plan that repeats the sub-select would claim more than its limit."""
    world.define("wide", {f"t{n}": Node() for n in range(40)})
    runs = [world.submit("wide") for _ in range(2)]

    def claim(session):
        with session.transaction():
            return session.claim_own(runs, token=uuid.uuid4(), worker=uuid.uuid4(), room=7)

    sessions = [world.session() for _ in range(4)]
    found = together(*(lambda s=s: claim(s) for s in sessions))
    ids = [claimed.task_id for claims in found for claimed in claims]
    assert all(len(claims) <= 7 for claims in found)
    assert len(ids) == len(set(ids))
    running = TaskExecution.objects.filter(status=TaskStatus.RUNNING)
    assert set(running.values_list("id", flat=True)) == set(ids)
