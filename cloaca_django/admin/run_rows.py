"""What the rows of a list of runs say, read for a whole page at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count, Sum
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from cloaca_django.admin import attention, plain, schedule_preview, spans, vocabulary
from cloaca_django.admin.attention import Tag
from cloaca_django.core.states import TASK_FINAL, RunStatus, TaskStatus
from cloaca_django.engine import overview
from cloaca_django.models import PipelineExecution, TaskExecution, Worker

MAX_PIPS = 12
PIP = 8
MAX_RUNNING = 500
MAX_WORDS = 160


@dataclass(frozen=True, slots=True)
class Facts:
    """One row's cells. ``counts`` are of tasks by status."""

    status: SafeString
    tags: Sequence[Tag]
    pips: SafeString
    sentence: str
    submitted: SafeString
    duration: str
    counts: Mapping[str, int]
    done: int
    total: int
    due: str = ""

    @property
    def wrong(self) -> str:
        """Late or stalled, where it is: a word of the vocabulary."""
        if attention.STALLED in self.tags:
            return vocabulary.STALLED
        return vocabulary.LATE if attention.LATE in self.tags else ""


@dataclass(frozen=True, slots=True)
class Pip:
    """A piece of a strip."""

    x: float
    width: float
    tone: str


@dataclass(frozen=True, slots=True)
class _Running:
    name: str
    since: datetime
    worker: UUID


class RunRows:
    """Four queries for any number of rows; without time and workers if those are given."""

    def __init__(
        self, alias: str, rows: Sequence[PipelineExecution], *, at: datetime | None = None,
        heard_of: Collection[UUID] | None = None,
    ) -> None:  # fmt: skip
        self.at = at or overview.read_clock(alias)
        ids = [row.pk for row in rows]
        tasks = TaskExecution.objects.using(alias).filter(run__in=ids).order_by()
        self._counts: dict[UUID, dict[str, int]] = defaultdict(dict)
        self._crashes: dict[UUID, int] = defaultdict(int)
        grouped = tasks.values("run_id", "status").annotate(count=Count("pk"), lost=Sum("crashes"))
        for run, status, count, lost in grouped.values_list("run_id", "status", "count", "lost"):
            self._counts[run][status] = count
            self._crashes[run] += lost
        self._running: dict[UUID, list[_Running]] = defaultdict(list)
        columns = ("run_id", "name", "claimed_at", "worker_id")
        for run, name, since, worker in (
            tasks.running().order_by("position").values_list(*columns)[:MAX_RUNNING]
        ):
            self._running[run].append(_Running(name, since or self.at, worker))
        if heard_of is None:
            live = Worker.objects.using(alias).heard_of(self.at).values_list("pk", flat=True)
            heard_of = set(live) if self._running else set()
        self._heard_of = heard_of

    def facts(self, row: Any) -> Facts:
        """Return the cells of a row with its ``shown_status``, and perhaps when it was ``due``."""
        counts = self._counts.get(row.pk, {})
        total = sum(counts.values())
        done = sum(count for status, count in counts.items() if status in TASK_FINAL)
        took = spans.between(row.created_at, row.finished_at or self.at) or 0.0
        tags = self._tags(row, counts)
        return Facts(
            status=_status(row),
            tags=tags,
            pips=strip(counts, done, total),
            sentence=self._sentence(row),
            submitted=spans.shown(row.created_at, self.at),
            duration=spans.span(took),
            counts=counts,
            done=done,
            total=total,
            due=self._due_of(row, tags),
        )

    def _due_of(self, row: Any, tags: Sequence[Tag]) -> str:
        """Say when a late run of a schedule should have run."""
        due = getattr(row, "due", None) if attention.LATE in tags else None
        return _("due %s") % schedule_preview.clocks(due, None, self.at)[0] if due else ""

    def _tags(self, row: Any, counts: Mapping[str, int]) -> list[Tag]:
        owners = {running.worker for running in self._running.get(row.pk, ())}
        found = attention.tags(
            row, self.at, counts=counts, crashes=self._crashes[row.pk], owners=owners,
            heard_of=self._heard_of,
        )  # fmt: skip
        return list(found)

    def _sentence(self, row: Any) -> str:
        """Say in a sentence what happened last."""
        match row.shown_status:
            case RunStatus.FAILED | RunStatus.CANCELLED:
                return plain.first_line(row.error_message, MAX_WORDS)
            case RunStatus.PAUSED:
                text = _("paused by %s") % (row.paused_by or "?")
                words = f"{text}: {row.pause_reason}" if row.pause_reason else text
                return plain.first_line(words, MAX_WORDS)
            case RunStatus.RUNNING if running := self._running.get(row.pk):
                first = running[0]
                length = spans.span(spans.between(first.since, self.at) or 0.0)
                text = _("on %(task)s for %(span)s") % {"task": first.name, "span": length}
                more = len(running) - 1
                return text + (" " + _("and %d more") % more if more else "")
            case RunStatus.COMPLETED:
                return ""
            case _other:
                return self._waiting(row)

    def _waiting(self, row: Any) -> str:
        if row.is_waiting:
            return _("waits for a place among this workflow's runs")
        if row.start_at is not None and row.start_at > self.at:
            return _("starts %s") % spans.distance(row.start_at, self.at)
        held = self._counts.get(row.pk, {}).get(TaskStatus.HELD)
        return _("held: its workflow is paused") if held else _("waits for a worker")


def strip(counts: Mapping[str, int], done: int, total: int) -> SafeString:
    """Draw tasks as pips, or as one bar when they are many; with the numbers beside."""
    wide = min(total, MAX_PIPS) * PIP
    pips = list(_pips(counts, total, wide))
    label = vocabulary.counts_in_words(counts)
    facts = {"pips": pips, "width": wide, "label": label, "done": done, "total": total}
    return render_to_string("admin/cloaca_django/part_pips.html", facts)


def _pips(counts: Mapping[str, int], total: int, wide: int) -> Any:
    x = 0.0
    for status in vocabulary.READING_ORDER:
        count = counts.get(status, 0)
        tone = vocabulary.word(status).tone
        if total <= MAX_PIPS:
            for _one in range(count):
                yield Pip(x, PIP - 2, tone)
                x += PIP
        elif count:
            width = round(wide * count / total, 1)
            yield Pip(round(x, 1), max(1.0, width), tone)
            x += width


def _status(row: Any) -> SafeString:
    facts = {"word": vocabulary.word(row.shown_status)}
    return render_to_string("admin/cloaca_django/part_status.html", facts)
