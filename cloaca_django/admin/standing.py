"""The figures at the top of the first page, and the line that says how the engine is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec

from django.db import connections
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from cloaca_django.admin import spans, vocabulary
from cloaca_django.admin.run_reads import WorkerFacts
from cloaca_django.admin.throughput import Throughput
from cloaca_django.core.states import RunStatus
from cloaca_django.dialect import facts
from cloaca_django.dialect.history import Glance
from cloaca_django.engine import overview
from cloaca_django.models import CronSchedule

MAX_COUNTED = 100_000


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure. ``url`` leads to the rows that it counts; empty: no link."""

    label: str
    figure: str
    note: str
    tone: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Sign:
    """One thing about the engine's health."""

    tone: str
    text: str


def _list(name: str, query: str) -> str:
    return f"{reverse(f'admin:cloaca_django_{name}_changelist')}?{query}"


def tiles(
    glance: Glance, ended: Throughput, unfinished: Mapping[str, int],
    late: Sequence[CronSchedule], *, sees_schedules: bool,
) -> Iterator[Tile]:  # fmt: skip
    """Yield the figures. ``unfinished`` counts open runs by the status that people see."""
    running, paused = (unfinished.get(s, 0) for s in (RunStatus.RUNNING, RunStatus.PAUSED))
    good, bad = (ended.counts.get(s, 0) for s in (RunStatus.COMPLETED, RunStatus.FAILED))
    yield Tile(
        vocabulary.word(RunStatus.RUNNING).label, capped(running),
        ngettext("%d paused", "%d paused", paused) % paused if paused else "",
        "run" if running else "", _list("pipelineexecution", f"status={RunStatus.RUNNING}"),
    )  # fmt: skip
    yield Tile(
        _("Waiting tasks"), capped(glance.waiting), _waits(glance), "",
        _list("pipelineexecution", "status=open"),
    )  # fmt: skip
    yield Tile(
        _("Failed in 24 h"), _counted(bad, ended), f"{bad / (good + bad):.1%}" if bad else "",
        "bad" if bad else "",
        _list("pipelineexecution", f"status={RunStatus.FAILED}&finished=day"),
    )  # fmt: skip
    yield Tile(
        _("Completed in 24 h"), _counted(good, ended), "", "good" if good else "",
        _list("pipelineexecution", f"status={RunStatus.COMPLETED}&finished=day"),
    )  # fmt: skip
    yield Tile(
        _("Late schedules"), str(len(late)), _latest(late, glance.at), "bad" if late else "",
        _list("cronschedule", "state=late") if sees_schedules else "",
    )  # fmt: skip


def capped(count: int) -> str:
    """Return a figure, of which no more was counted than is counted at most."""
    return str(count) if count < MAX_COUNTED else f"{MAX_COUNTED // 1000}k+"


def _counted(count: int, ended: Throughput) -> str:
    return f"{count}+" if ended.is_cut else str(count)


def _waits(glance: Glance) -> str:
    if glance.waited_since is None:
        return _("ready for a worker")
    length = spans.span(spans.between(glance.waited_since, glance.at) or 0.0)
    return _("the first for %s") % length


def _latest(late: Sequence[CronSchedule], at: datetime) -> str:
    due = late[0].next_run_at if late else None
    return f"{late[0]} · {spans.distance(due, at)}" if due else ""


def signs(glance: Glance, workers: Sequence[WorkerFacts], alias: str) -> Iterator[Sign]:
    """Yield what there is to say of workers, schedules, recovery and the database."""
    heard = [worker for worker in workers if worker.is_heard_of]
    # One of many tenants has a row here only while there is something to do.
    is_served = not workers and overview.is_tenant_served(alias)
    if is_served:
        yield Sign("good", _("Workers: one is there, and has nothing to do here"))
    elif not workers:
        yield Sign("bad", _("Workers: none"))
    else:
        text = _("Workers: %(heard)d of %(all)d heard of") % {
            "heard": len(heard),
            "all": len(workers),
        }
        yield Sign("good" if len(heard) == len(workers) else "bad", text)
    yield _of_schedules(heard, glance, is_served=is_served)
    orphans = ngettext("Recovery: %d orphan", "Recovery: %d orphans", glance.stalled)
    lost = ngettext("%d task lost its worker in 24 h", "%d tasks lost their worker in 24 h",
                    glance.lost) % glance.lost  # fmt: skip
    yield Sign("bad" if glance.stalled else "good", f"{orphans % glance.stalled} ({lost})")
    yield Sign("good", _("Database: %s") % facts.title(connections[alias]))
    if find_spec("prometheus_client") is None:
        yield Sign("off", _("Metrics: not installed"))
    else:
        yield Sign("good", _("Metrics: installed"))


def _of_schedules(heard: Sequence[WorkerFacts], glance: Glance, *, is_served: bool) -> Sign:
    claiming = [worker for worker in heard if worker.is_claiming]
    if claiming:
        # Every worker fires schedules; there is no leader.
        last = max(claiming, key=lambda worker: worker.heartbeat_at)
        when = spans.distance(last.heartbeat_at, glance.at)
        text = _("Schedules: %(worker)s, heard of %(when)s")
        return Sign("good", text % {"worker": last.name, "when": when})
    if is_served:
        return Sign("good", _("Schedules: fired when they are due"))
    return Sign("bad", _("Schedules: nobody fires them"))


def notice(alias: str) -> str:
    """Return what a reader should know of the database; empty: nothing."""
    if not facts.has_one_writer(connections[alias]):
        return ""
    return _("Embedded mode: one process writes at a time, so one worker process is recommended.")
