"""Scenarios of schedules: fire, park, edit, delete, sync, trigger, backfill."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms

import cloaca_django as cloaca
from cloaca_django.engine import backfill, declarations, timetable
from cloaca_django.errors import ScheduleNotFound
from cloaca_django.models import CronExecution, CronSchedule, PipelineExecution
from tests.crash.faults import FaultyDjango
from tests.crash.fires import TRIGGERED, times_of
from tests.crash.graphs import Node, chain, diamond
from tests.crash.scenarios import Scenario, Stage, step
from tests.crash.world import ALIAS, World

HOUR = 3600.0
HOURLY = "0 * * * *"
EVERY_TEN = "*/10 * * * *"
BROKEN = ("tock", "picky")
DECLARED = ({"name": "first"}, {"name": "second", "catchup_policy": "latest"})


class Picky(forms.Form):
    """Inputs of a workflow whose own code cannot even look at them."""

    def clean(self) -> dict[str, Any]:
        raise RuntimeError("a defect of the site's own code")


def define(world: World) -> None:
    """Register the workflows of these scenarios."""
    world.define("tick", {"only": Node()})
    world.define("tock", chain("before", "after"))
    world.define("fork", diamond())
    world.define("picky", {"only": Node()}, params=Picky)


def make(world: World, expression: str = HOURLY, workflow: str = "tick", **facts: Any) -> UUID:
    """Make a schedule, as its owner would, without faults; returns its id."""
    given = {"cron_expression": expression, **facts}
    return timetable.register(ALIAS, workflow, given).pk


def _made(stage: Stage, *rest: Any, **facts: Any) -> CronSchedule:
    made = CronSchedule.objects.get(pk=make(stage.world, *rest, **facts))
    stage.facts.setdefault("schedule", made)
    return made


def _due(*rest: Any, seconds: float = HOUR, **facts: Any) -> Callable[[Stage], None]:
    """Prepare a schedule whose times of the next ``seconds`` have passed."""

    def prepare(stage: Stage) -> None:
        _made(stage, *rest, **facts)
        stage.victim.settle_down()
        stage.world.advance(seconds)
        stage.victim.beat()

    return prepare


def _several(stage: Stage) -> None:
    _made(stage, HOURLY)
    _made(stage, EVERY_TEN, "tock")
    _made(stage, "0,30 * * * *", "fork", catchup_policy="latest")
    _made(stage, "1 * * * *", catchup_policy="skip")
    _let_pass(stage)


def _let_pass(stage: Stage, seconds: float = HOUR) -> None:
    stage.victim.settle_down()
    stage.world.advance(seconds)
    stage.victim.beat()


def _one_is_broken(stage: Stage) -> None:
    """The zone of one is not known any more, since it was made."""
    _made(stage, HOURLY)
    _made(stage, HOURLY, "tock")
    CronSchedule.objects.filter(workflow_name="tock").update(timezone="Mars/Olympus")
    _made(stage, HOURLY, "fork")
    _let_pass(stage)


def _one_has_no_context(stage: Stage) -> None:
    _made(stage, HOURLY)
    _made(stage, HOURLY, "tock")
    CronSchedule.objects.filter(workflow_name="tock").update(context="[")
    _let_pass(stage)


def _one_breaks_the_transaction(stage: Stage) -> None:
    """Nobody expects what it raises, so the others are fired one by one, in the order of time."""
    _made(stage, "10 * * * *")
    _made(stage, "20 * * * *", "tock")
    _made(stage, "30 * * * *", "fork")
    CronSchedule.objects.filter(workflow_name="tock").update(workflow_name="picky")
    _let_pass(stage)


def _bad_one_is_parked(stage: Stage) -> None:
    rows = {row.workflow_name: row for row in CronSchedule.objects.all()}
    for name, row in rows.items():
        assert (row.parked_at is None) == (name not in BROKEN), name
        assert len(times_of(row.pk)) == (name not in BROKEN), name
        assert bool(row.error_message) == (name in BROKEN), name


def _steps(stage: Stage) -> None:
    for _ in range(6):
        stage.victim.step()


def _fired(count: int, **facts: Any) -> Callable[[Stage], None]:
    """Check how many times of the schedule had a run, and facts of its row."""

    def check(stage: Stage) -> None:
        row = CronSchedule.objects.get(pk=stage.facts["schedule"].pk)
        assert len(times_of(row.pk, only_run=True)) == count
        assert {name: getattr(row, name) for name in facts} == facts

    return check


def _ends_soon(stage: Stage) -> None:
    end = stage.world.now + timedelta(hours=2)
    _made(stage, HOURLY, end_date=end)
    _let_pass(stage, 4 * HOUR)


def _overlapping(stage: Stage) -> None:
    """The first of six times is fired and its run stays open for the others."""
    _due(EVERY_TEN, overlap_policy="skip")(stage)


def _stranger(stage: Stage) -> None:
    _made(stage, HOURLY, "of another site")
    _made(stage, HOURLY)
    stage.victim.settle_down()
    stage.world.advance(HOUR)
    stage.victim.beat()


def _muster_again(stage: Stage) -> None:
    """Whoever is left looks for strangers when its time comes."""
    stage.world.advance(40.0)
    for worker in [one for one in stage.world.workers if one.is_alive]:
        worker.beat()
        worker.step()


def _stranger_is_parked(stage: Stage) -> None:
    rows = {row.workflow_name: row.parked_at for row in CronSchedule.objects.all()}
    assert rows.pop("of another site") is not None
    assert set(rows.values()) == {None}


# -- edits, in the caller's transaction


def _in_transaction(act: Callable[[Stage], object]) -> Callable[[Stage], None]:
    """Do what a view does, on a connection that follows the plan."""

    def operate(stage: Stage) -> None:
        def call(wrapper: Any) -> None:
            with FaultyDjango(wrapper, stage.plan, stage.world.killer.drop):
                act(stage)

        stage.world.in_process(call)

    return operate


def _register(stage: Stage) -> None:
    make(stage.world, HOURLY, name="named", context=cloaca.Context({"given": 1}))


def _is_registered_once(stage: Stage) -> None:
    row = CronSchedule.objects.get()
    assert (row.name, row.cron_expression) == ("named", HOURLY)
    assert row.next_run_at is not None
    assert row.next_run_at > stage.world.now - timedelta(hours=1)


def _update(stage: Stage) -> None:
    facts = {"cron_expression": EVERY_TEN, "timezone": "Europe/Berlin", "catchup_policy": "latest"}
    timetable.update(ALIAS, stage.facts["schedule"].pk, facts)


def _is_updated(stage: Stage) -> None:
    row = CronSchedule.objects.get()
    assert (row.cron_expression, row.timezone, row.catchup_policy) == (
        EVERY_TEN, "Europe/Berlin", "latest",
    )  # fmt: skip


def _disable(stage: Stage) -> None:
    timetable.set_enabled(ALIAS, stage.facts["schedule"].pk, enabled=False, by="someone")


def _enable(stage: Stage) -> None:
    timetable.set_enabled(ALIAS, stage.facts["schedule"].pk, enabled=True)


def _disabled(stage: Stage) -> None:
    _made(stage, HOURLY)
    _disable(stage)
    _let_pass(stage)


def _is_enabled(stage: Stage) -> None:
    """What passed while it was disabled is gone; what comes is fired."""
    row = CronSchedule.objects.get()
    assert row.enabled
    assert not times_of(row.pk)
    stage.world.advance(HOUR)
    stage.world.drain()
    assert len(times_of(row.pk)) == 1


def _delete(stage: Stage) -> None:
    timetable.delete(ALIAS, stage.facts["schedule"].pk)


def _fired_before(stage: Stage) -> None:
    _due(EVERY_TEN)(stage)
    stage.victim.settle_down()
    assert CronExecution.objects.count() == 6


def _is_deleted(stage: Stage) -> None:
    """Its history is gone with it, its runs go on."""
    assert not CronSchedule.objects.exists()
    assert not CronExecution.objects.exists()
    assert PipelineExecution.objects.filter(schedule=None).count() == 6


def _again(act: Callable[[Stage], None]) -> Callable[[Stage], None]:
    """Whoever asked saw an error and asks again; that it was done already is fine."""

    def retry(stage: Stage) -> None:
        with contextlib.suppress(ScheduleNotFound):
            act(stage)

    return retry


@contextlib.contextmanager
def _declaring() -> Iterator[None]:
    """Let code declare schedules in the block, and forget them after it."""
    from cloaca_django.core import registry

    with registry.isolated():
        with cloaca.WorkflowBuilder("declaring") as builder:
            for facts in DECLARED:
                builder.schedule(HOURLY, **facts)

            @cloaca.task(id="only", dependencies=[])
            def only(context: cloaca.Context) -> None: ...

        yield


def _sync(stage: Stage) -> None:
    with _declaring():
        declarations.sync(ALIAS)


def _declared_before(stage: Stage) -> None:
    """One follows the code as it was, one is not there yet."""
    _sync(stage)
    CronSchedule.objects.filter(name="second").delete()


def _is_synced(stage: Stage) -> None:
    rows = CronSchedule.objects.order_by("name")
    assert [row.name for row in rows] == ["first", "second"]
    assert all(row.declared and not declarations.is_edited(row) for row in rows)


# -- runs that a person asks for


def _trigger(stage: Stage) -> None:
    def act(session: Any) -> None:
        backfill.trigger(session, stage.facts["schedule"], reason=TRIGGERED)

    stage.operate(act)


def _is_triggered(stage: Stage) -> None:
    """Whether or not it was, no time of the schedule counts as fired."""
    assert PipelineExecution.objects.filter(reason=TRIGGERED).count() <= 1
    assert not CronExecution.objects.exists()


def _backfill(stage: Stage) -> None:
    now = stage.world.now
    stage.operate(
        lambda session: backfill.backfill(
            session, stage.facts["schedule"], start=now - timedelta(hours=2), end=now
        )
    )


def _backfill_again(stage: Stage) -> None:
    now = stage.world.now
    backfill.backfill(
        stage.world.operator, stage.facts["schedule"], start=now - timedelta(hours=2), end=now
    )


def _half_fired(stage: Stage) -> None:
    """Some times have their run, some were passed over, some are from before it was made."""
    _due(EVERY_TEN, overlap_policy="skip")(stage)
    stage.victim.work()
    assert CronExecution.objects.filter(reason="").count() == 1


def _all_have_runs(stage: Stage) -> None:
    assert CronExecution.objects.count() == 12
    assert CronExecution.objects.filter(reason="", run__status="Completed").count() == 12


def _scenario(*steps: Any, **facts: Any) -> Scenario:
    return Scenario(*steps, **facts, fires=True)


SCENARIOS = [
    _scenario("fire", _due(), step, check=_fired(1)),
    _scenario("fire several", _several, step, check=_fired(1)),
    _scenario("fire what was missed", _due(EVERY_TEN), step, check=_fired(6)),
    _scenario("fire without overlap", _overlapping, step, check=_fired(1, skipped_count=5)),
    _scenario("fire beside a broken one", _one_is_broken, step, check=_bad_one_is_parked),
    _scenario(
        "fire beside one without context", _one_has_no_context, step, check=_bad_one_is_parked
    ),
    _scenario(
        "fire what breaks", _one_breaks_the_transaction, _steps, check=_bad_one_is_parked
    ),
    _scenario("fire for the last time", _ends_soon, step, check=_fired(2, next_run_at=None)),
    _scenario("park strangers", _stranger, step, retry=_muster_again, check=_stranger_is_parked),
    _scenario(
        "register schedule", lambda stage: None, _in_transaction(_register), _again(_register),
        _is_registered_once,
    ),
    _scenario(
        "update schedule", _due(seconds=60.0), _in_transaction(_update), _again(_update),
        _is_updated,
    ),
    _scenario("enable", _disabled, _in_transaction(_enable), _again(_enable), _is_enabled),
    _scenario(
        "disable", _due(seconds=60.0), _in_transaction(_disable), _again(_disable),
        _fired(0, enabled=False),
    ),
    _scenario("delete", _fired_before, _in_transaction(_delete), _again(_delete), _is_deleted),
    _scenario(
        "sync declared", _declared_before, _in_transaction(_sync), _again(_sync), _is_synced
    ),
    _scenario("trigger", _due(seconds=60.0), _trigger, check=_is_triggered),
    _scenario("backfill", _half_fired, _backfill, _backfill_again, _all_have_runs),
]  # fmt: skip
