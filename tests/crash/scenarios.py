"""What a crashed operation consists of: how it begins, what it does, who tries again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from cloaca_django.dialect import Session
from tests.crash.faults import Plan
from tests.crash.world import LogicalWorker, World


@dataclass
class Stage:
    """One performance of a scenario."""

    world: World
    plan: Plan
    victim: LogicalWorker
    runs: list[UUID] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def run(self) -> UUID:
        """The first run."""
        return self.runs[0]

    def submit(self, name: str, **options: Any) -> UUID:
        """Submit a run, without faults."""
        self.runs.append(self.world.submit(name, **options))
        return self.runs[-1]

    def claim(self, name: str, **options: Any) -> UUID:
        """Submit a run and let the victim claim what is ready."""
        run = self.submit(name, **options)
        self.victim.settle_down()
        assert self.victim.jobs
        return run

    def operate(self, act: Callable[[Session], object]) -> None:
        """Do what an operator does, on a connection that follows the plan."""
        session = self.world.session(self.plan)
        try:
            act(session)
        finally:
            session.close()


Act = Callable[[Stage], object]


def nothing(stage: Stage) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Scenario:
    """An operation. ``retry`` is what its caller does next, not knowing what became of it;
    ``check`` asserts what must be true when everything has ended. ``ends_alike``: every task then
    ends as it does without the crash. ``fires``: the workers fire schedules.
    """

    name: str
    prepare: Act
    operate: Act
    retry: Act = nothing
    check: Act = nothing
    ends_alike: bool = True
    fires: bool = False

    def __str__(self) -> str:
        return self.name


def step(stage: Stage) -> None:
    """Let the victim take one turn."""
    stage.victim.step()
