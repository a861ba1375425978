"""Scenarios of the turn: submit, claim, settle of every kind, promote, expire, admit."""

from __future__ import annotations

from collections.abc import Callable

from cloaca_django.core.states import RunStatus
from cloaca_django.engine.messages import Deferral, HandBack
from cloaca_django.models import PipelineExecution
from tests.crash.graphs import Node, chain, diamond
from tests.crash.scenarios import Scenario, Stage, step
from tests.crash.world import World


def define(world: World) -> None:
    """Register the workflows of these scenarios."""
    world.define("one", {"only": Node()})
    world.define("chain", chain("a", "b", "c"))
    world.define("diamond", diamond())
    world.define("retried", {"flaky": Node((), {"retry_attempts": 3}), "next": Node(("flaky",))})
    world.define("hasty", {"hasty": Node((), {"retry_attempts": 3, "retry_delay_ms": 0})})
    world.define("limited", chain("first", "second"), max_running=1)


def _ask(stage: Stage) -> None:
    stage.victim.settle_down()
    stage.facts["ask"] = stage.world.ask(stage.victim, "diamond")


def _ask_a_site(stage: Stage) -> None:
    """A site's runner drives what it executes, and leaves everything else alone."""
    stage.victim.die()
    stage.victim = stage.world.worker(plan=stage.plan, claims_only_own=True)
    stage.submit("chain")
    _ask(stage)


def _claim_of_a_site(stage: Stage) -> None:
    _ask_a_site(stage)
    stage.victim.settle_down()
    assert stage.victim.run_all() == 1


def _is_answered(stage: Stage) -> None:
    ask = stage.facts["ask"]
    if stage.victim.is_alive:
        assert ask.done.result(0).status == RunStatus.COMPLETED


def _submit_two(stage: Stage) -> None:
    stage.victim.settle_down()
    stage.submit("chain")
    stage.submit("diamond")
    stage.victim.turn.agenda.wake()


def _end_bodies(name: str, **failing: int) -> Callable[[Stage], None]:
    def prepare(stage: Stage) -> None:
        stage.world.failing = failing
        stage.claim(name)
        stage.victim.run_all()

    return prepare


def _end_branches(stage: Stage) -> None:
    _end_bodies("diamond")(stage)
    stage.victim.settle_down()
    assert stage.victim.run_all() == 2


def _end_many(stage: Stage) -> None:
    stage.world.failing = {"a": 1, "flaky": 1}
    for name in ("chain", "retried", "one", "diamond"):
        stage.submit(name)
    stage.victim.settle_down()
    for job in list(stage.victim.jobs):
        job.log_lines.append("a line the body logged")
        stage.victim.run(job)


def _begin_deferral(stage: Stage) -> None:
    stage.claim("one")
    stage.victim.turn.post(Deferral(stage.victim.jobs[0], is_deferred=True))


def _hand_back(stage: Stage) -> None:
    stage.claim("diamond")
    stage.victim.turn.post(HandBack(running_too=True))
    stage.victim.slots.jobs.clear()


def _let_retry_fall_due(stage: Stage) -> None:
    _end_bodies("retried", flaky=1)(stage)
    stage.victim.settle_down()
    stage.world.advance(5.0)


def _let_deadline_pass(stage: Stage) -> None:
    stage.claim("diamond", timeout_seconds=20.0)
    stage.submit("chain", timeout_seconds=20.0)
    stage.world.advance(25.0)


def _expired(stage: Stage) -> None:
    found = PipelineExecution.objects.filter(pk__in=stage.runs).values_list("status", flat=True)
    assert set(found) == {RunStatus.FAILED}


def _end_the_admitted(stage: Stage) -> None:
    stage.submit("limited")
    stage.submit("limited")
    stage.victim.settle_down()
    for last in (False, True):
        assert stage.victim.run_all() == 1, "one run at a time"
        if not last:
            stage.victim.settle_down()


SCENARIOS = [
    Scenario("submit", _ask, step, check=_is_answered),
    Scenario("submit in a site", _ask_a_site, step, check=_is_answered),
    Scenario("settle in a site", _claim_of_a_site, step, check=_is_answered),
    Scenario("claim", _submit_two, step),
    Scenario("settle completed", _end_bodies("chain"), step),
    Scenario("settle fan-out", _end_bodies("diamond"), step),
    Scenario("settle fan-in", _end_branches, step),
    Scenario("settle the last task", _end_bodies("one"), step),
    Scenario("settle failed, skip the rest", _end_bodies("diamond", root=9), step),
    Scenario("settle failed branch", _end_bodies("chain", a=9), step),
    Scenario("retry later", _end_bodies("retried", flaky=2), step),
    Scenario("retry at once", _end_bodies("hasty", hasty=2), step),
    Scenario("settle a mixed batch", _end_many, step),
    Scenario("defer", _begin_deferral, step),
    Scenario("hand back", _hand_back, step),
    Scenario("promote", _let_retry_fall_due, step),
    Scenario("expire", _let_deadline_pass, step, check=_expired),
    Scenario("settle and admit", _end_the_admitted, step),
]
