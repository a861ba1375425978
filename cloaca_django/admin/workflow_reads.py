"""What is read for the pages of workflows: samples of recent runs, never the whole history."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.apps import apps
from django.db.models import Min
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cloaca_django.admin import graphs, spans, vocabulary
from cloaca_django.core import registry
from cloaca_django.core.drawing import Picture, of_definition
from cloaca_django.core.states import RUN_FINAL, RunStatus, TaskStatus
from cloaca_django.core.workflow import Workflow
from cloaca_django.models import (
    CronSchedule,
    PipelineExecution,
    TaskExecution,
    WorkflowControl,
    WorkflowDefinition,
)

# The catalogue looks at so many runs of all workflows, a workflow's page at so many of its own.
SAMPLE = 2_000
OWN_SAMPLE = 200
SHOWN = 40
IN_CATALOGUE = 20
HEALTH_RUNS = 30
HEALTH_TASKS = 6_000
BAR_HEIGHT = 48
LATELY_DAYS = 7

STANDINGS: Mapping[str, vocabulary.Text] = {
    "active": gettext_lazy("active"),
    "paused": gettext_lazy("paused"),
    "unknown": gettext_lazy("not registered here"),
}


@dataclass(frozen=True, slots=True)
class Bar:
    """One run in a strip: its height is its duration, its tone its result."""

    x: int
    y: int
    height: int
    tone: str
    title: str
    run: UUID


@dataclass(frozen=True, slots=True)
class Record:
    """How the runs of a sample went. ``middle`` and ``slow`` are percentiles in seconds.

    ``level`` is where a line of the median is drawn across the bars; None: nowhere.
    """

    bars: Sequence[Bar]
    count: int
    completed: int
    middle: float | None
    slow: float | None
    label: str
    level: int | None

    @property
    def success(self) -> str:
        """The share of completed among ended runs."""
        return f"{self.completed / self.count:.0%}" if self.count else ""


@dataclass(frozen=True, slots=True)
class Lately:
    """How the runs of the last days ended, of those that were looked at."""

    completed: int
    count: int

    @property
    def success(self) -> str:
        """The share of completed among ended runs."""
        return f"{self.completed / self.count:.0%}" if self.count else ""

    @property
    def label(self) -> str:
        """The same in numbers."""
        facts = {"completed": self.completed, "count": self.count, "days": LATELY_DAYS}
        text = _("%(completed)d of %(count)d runs of the last %(days)d days completed")
        return text % facts if self.count else ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the catalogue."""

    name: str
    workflow: Workflow | None
    control: WorkflowControl | None
    record: Record
    lately: Lately
    next_run: datetime | None
    is_scheduled: bool

    @property
    def row(self) -> WorkflowControl:
        """The row that acts take; before any worker wrote one, an unsaved one."""
        return self.control or WorkflowControl(name=self.name)

    @property
    def state(self) -> str:
        """Paused, or empty."""
        return str(RunStatus.PAUSED) if self.row.paused_at is not None else ""

    @property
    def standing(self) -> str:
        """What may be expected of it: a key of ``STANDINGS``."""
        if self.state:
            return "paused"
        return "unknown" if self.workflow is None else "active"

    @property
    def app(self) -> str:
        """The app that has its code, as people call it; empty when nobody knows."""
        module = module_of(self.workflow)
        config = apps.get_containing_app_config(module) if module else None
        return str(config.verbose_name) if config is not None else module.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Health:
    """How one task does in the last runs."""

    name: str
    count: int
    failed: int
    retries: int
    middle: float | None
    slow: float | None
    share: float


def module_of(workflow: Workflow | None) -> str:
    """Return where the code of a workflow is, as Python calls the place."""
    first = workflow.tasks[0].function if workflow is not None and workflow.tasks else None
    return str(getattr(first, "__module__", "") or "")


def catalogue(alias: str, at: datetime) -> Sequence[Entry]:
    """Return every workflow that code or a row knows, by name."""
    known = registry.snapshot()
    controls = {row.pk: row for row in WorkflowControl.objects.using(alias)}
    runs: dict[str, list[Any]] = defaultdict(list)
    for run in _runs(alias)[:SAMPLE]:
        runs[run.workflow_name].append(run)
    enabled = CronSchedule.objects.using(alias).enabled().order_by().values("workflow_name")
    planned = enabled.annotate(first=Min("next_run_at")).values_list("workflow_name", "first")
    fires = dict(planned)
    names = sorted({*known, *controls})
    return [
        Entry(
            name, known.get(name), controls.get(name), record(runs[name], shown=IN_CATALOGUE),
            _lately(runs[name], at), fires.get(name), name in fires,
        )
        for name in names
    ]  # fmt: skip


def _lately(runs: Sequence[Any], at: datetime) -> Lately:
    since = at - timedelta(days=LATELY_DAYS)
    ended = [run.status for run in runs if run.finished_at and run.finished_at >= since]
    return Lately(ended.count(RunStatus.COMPLETED), len(ended))


def _runs(alias: str) -> Any:
    found = PipelineExecution.objects.using(alias).newest_first()
    columns = ("workflow_name", "workflow_version", "status", "created_at", "finished_at")
    return found.only(*columns)


def runs_of(alias: str, name: str) -> Sequence[Any]:
    """Return the newest runs of a workflow."""
    return list(_runs(alias).filter(workflow_name=name)[:OWN_SAMPLE])


def by_version(
    stored: Sequence[WorkflowDefinition], runs: Sequence[Any]
) -> list[tuple[WorkflowDefinition, int]]:
    """Return each version with how many of some runs are of it."""
    counts = Counter(run.workflow_version for run in runs)
    return [(version, counts[version.version]) for version in stored]


def record(runs: Sequence[Any], *, shown: int = SHOWN) -> Record:
    """Judge runs, newest first."""
    ended = [run for run in runs if run.status in RUN_FINAL]
    lengths = sorted(
        spans.between(run.created_at, run.finished_at) or 0.0
        for run in ended if run.status == RunStatus.COMPLETED
    )  # fmt: skip
    completed = len(lengths)
    facts = {"completed": completed, "count": len(ended)}
    return Record(
        bars=_bars(runs[:shown][::-1], shown),
        count=len(ended),
        completed=completed,
        middle=statistics.median(lengths) if lengths else None,
        slow=percentile(lengths, 0.95),
        label=_("%(completed)d of the last %(count)d runs completed") % facts,
        level=_level(runs[:shown], statistics.median(lengths)) if lengths else None,
    )


def _level(runs: Sequence[Any], middle: float) -> int | None:
    longest = _longest([spans.between(run.created_at, run.finished_at) for run in runs])
    return BAR_HEIGHT - round(BAR_HEIGHT * middle / longest) if middle <= longest else None


def _longest(lengths: Sequence[float | None]) -> float:
    return max([length for length in lengths if length], default=1.0)


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """Return the value below which a share of sorted values lies."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def _bars(runs: Sequence[Any], room: int) -> Sequence[Bar]:
    lengths = [spans.between(run.created_at, run.finished_at) for run in runs]
    longest = _longest(lengths)
    bars = []
    for at, (run, length) in enumerate(zip(runs, lengths, strict=True), room - len(runs)):
        height = max(4, round(BAR_HEIGHT * (length or 0.0) / longest))
        shown = vocabulary.word(run.status)
        title = f"{shown.label}, {spans.exact(run.created_at)}"
        title += f", {spans.span(length)}" if length is not None else ""
        bars.append(Bar(at * 12, BAR_HEIGHT - height, height, shown.tone, title, run.pk))
    return bars


def health(alias: str, runs: Sequence[Any]) -> Sequence[Health]:
    """Return how each task did in the newest runs, the slowest first."""
    tasks = TaskExecution.objects.using(alias).filter(run__in=[r.pk for r in runs[:HEALTH_RUNS]])
    found: dict[str, list[Any]] = defaultdict(list)
    columns = ("name", "status", "attempt", "claimed_at", "finished_at")
    for row in tasks.order_by("-run_id", "position").values_list(*columns, named=True)[
        :HEALTH_TASKS
    ]:
        found[row.name].append(row)
    lengths = {name: _lengths(rows) for name, rows in found.items()}
    total = sum(map(sum, lengths.values())) or 1.0
    judged = [_health(name, rows, lengths[name], total) for name, rows in found.items()]
    return sorted(judged, key=lambda one: (-one.failed, -one.share))


def _lengths(rows: Sequence[Any]) -> Sequence[float]:
    found = (
        spans.between(row.claimed_at, row.finished_at)
        for row in rows if row.status == TaskStatus.COMPLETED
    )  # fmt: skip
    return sorted(length for length in found if length is not None)


def _health(name: str, rows: Sequence[Any], lengths: Sequence[float], total: float) -> Health:
    return Health(
        name=name,
        count=sum(row.claimed_at is not None for row in rows),
        failed=sum(row.status == TaskStatus.FAILED for row in rows),
        retries=sum(row.attempt - 1 for row in rows),
        middle=statistics.median(lengths) if lengths else None,
        slow=percentile(lengths, 0.95),
        share=sum(lengths) / total,
    )


def drawing(
    request: HttpRequest, name: str, workflow: Workflow | None,
    stored: Sequence[WorkflowDefinition], judged: Mapping[str, Health],
) -> graphs.Graph | None:  # fmt: skip
    """Draw a workflow as code declares it, else as it was stored last."""
    if workflow is None and not stored:
        return None
    text = workflow.graph_text() if workflow is not None else stored[0].graph
    version = workflow.version if workflow is not None else stored[0].version
    picture: Picture = of_definition(name, version, text)
    nodes = [
        graphs.Node(
            node.name, node.dependencies, words=_words(node.detail, judged.get(node.name)),
            title=": ".join(part for part in (node.name, node.detail) if part),
        )
        for node in picture.nodes
    ]  # fmt: skip
    return graphs.shown(nodes, request, label=_("Graph: %s") % name)


def _words(detail: str, judged: Health | None) -> str:
    failed = judged.failed if judged else 0
    return _("failed %d times lately") % failed if failed > 1 else detail
