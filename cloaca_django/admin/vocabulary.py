"""How a status looks and is called, everywhere in the admin: glyph, word and tone together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from cloaca_django.core.states import AttemptOutcome, Origin, RunStatus, TaskStatus, WorkerState
from cloaca_django.engine.forecast import Standing

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

# Text that is translated when it is shown.
Text: TypeAlias = "str | _StrPromise"


@dataclass(frozen=True, slots=True)
class Word:
    """One status. ``word`` is as inside a sentence; ``tone`` names a colour of the stylesheet."""

    word: Text
    glyph: str
    tone: str
    meaning: Text = ""

    @property
    def label(self) -> str:
        """The word as it stands alone."""
        return str(capfirst(str(self.word)))


# What a run or a schedule is beside its status, where that needs somebody.
LATE = "late"
STALLED = "stalled"

UNKNOWN = Word(_("unknown"), "?", "off")

WORDS: Mapping[str, Word] = {
    TaskStatus.PENDING: Word(_("pending"), "○", "off", _("waits for its dependencies")),
    TaskStatus.READY: Word(_("ready"), "◌", "wait", _("could start now, waits for a free worker")),
    TaskStatus.SCHEDULED: Word(_("scheduled"), "↻", "wait", _("starts later, or is tried again")),
    TaskStatus.HELD: Word(_("held"), "‖", "wait", _("its run or workflow may not go on now")),
    TaskStatus.RUNNING: Word(_("running"), "▶", "run", _("a worker has it")),
    TaskStatus.COMPLETED: Word(_("completed"), "✓", "good"),
    TaskStatus.FAILED: Word(_("failed"), "✕", "bad"),
    TaskStatus.SKIPPED: Word(_("skipped"), "⤼", "off", _("was not to run")),
    TaskStatus.CANCELLED: Word(_("cancelled"), "⊘", "off"),
    RunStatus.PAUSED: Word(_("paused"), "‖", "wait", _("starts no further task")),
    AttemptOutcome.TIMED_OUT: Word(_("timed out"), "◷", "bad"),
    AttemptOutcome.LOST: Word(_("lost"), "⚡", "bad", _("its worker was lost")),
    WorkerState.ALIVE: Word(_("alive"), "●", "good"),
    WorkerState.DRAINING: Word(_("draining"), "◐", "wait", _("takes no more tasks")),
    WorkerState.STOPPED: Word(_("stopped"), "■", "off"),
    WorkerState.DEAD: Word(_("dead"), "✕", "bad", _("its heartbeat lapsed")),
    LATE: Word(_("late"), "◷", "bad", _("its time has come and nobody has taken it")),
    STALLED: Word(_("stalled"), "⚠", "bad", _("its worker is not heard of")),
    Standing.ENABLED.value: Word(_("enabled"), "●", "good"),
    Standing.DISABLED.value: Word(_("disabled"), "○", "off"),
    Standing.PARKED.value: Word(_("parked"), "✕", "bad", _("it cannot be planned")),
    Standing.ENDED.value: Word(_("ended"), "■", "off", _("it has no further time")),
}

ORIGINS: Mapping[str, Text] = {
    Origin.API: _("by code"),
    Origin.COMMAND: _("by command"),
    Origin.ADMIN: _("by hand"),
    Origin.SCHEDULE: _("by a schedule"),
    Origin.RETRY: _("as a retry"),
    Origin.TASK: _("by a task"),
}

# In this order people read counts: what needs them first.
READING_ORDER = (
    TaskStatus.FAILED, TaskStatus.RUNNING, TaskStatus.COMPLETED, TaskStatus.SCHEDULED,
    TaskStatus.HELD, TaskStatus.READY, TaskStatus.PENDING, TaskStatus.SKIPPED,
    TaskStatus.CANCELLED,
)  # fmt: skip


def word(status: str) -> Word:
    """Return how a status is shown, be it one of a later version."""
    return WORDS.get(status, UNKNOWN)


def counts_in_words(counts: Mapping[str, int]) -> str:
    """Return ``1 failed · 2 running · 4 completed``, without what there is none of."""
    return " · ".join(f"{counts[s]} {word(s).word}" for s in READING_ORDER if counts.get(s))
