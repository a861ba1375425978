"""Why is this task waiting? One sentence for each state."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from cloaca_django.admin import spans
from cloaca_django.admin.run_reads import RunFacts
from cloaca_django.core.states import TASK_FINAL, RunStatus, TaskStatus
from cloaca_django.models import TaskExecution

SHOWN = 3


def sentence(task: TaskExecution, facts: RunFacts) -> str:
    """Return why a task is not done; empty for one that is, and says so by itself."""
    match task.status:
        case TaskStatus.PENDING:
            return _for_dependencies(task, facts)
        case TaskStatus.SCHEDULED:
            return _for_its_time(task, facts)
        case TaskStatus.HELD:
            return _for_permission(facts)
        case TaskStatus.READY:
            return _for_a_worker(task, facts)
        case TaskStatus.RUNNING:
            return _("waits in defer_until, without a slot") if task.is_deferred else ""
        case TaskStatus.COMPLETED if task.claimed_at is None:
            return _("taken over from the run that this one repeats")
        case _other:
            return task.reason


def _for_dependencies(task: TaskExecution, facts: RunFacts) -> str:
    names = [
        name for name in facts.dependencies(task)
        if name in facts.by_name and facts.by_name[name].status not in TASK_FINAL
    ]  # fmt: skip
    if not names:
        return _("about to be decided: its dependencies have ended")
    more = len(names) - SHOWN
    listed = ", ".join(names[:SHOWN])
    if more <= 0:
        return _("waits for %s") % listed
    text = ngettext(
        "waits for %(names)s and %(more)d more", "waits for %(names)s and %(more)d more", more
    )
    return text % {"names": listed, "more": more}


def _for_its_time(task: TaskExecution, facts: RunFacts) -> str:
    when = spans.distance(task.due_at, facts.at) if task.due_at else "?"
    if task.attempt > 1:
        return _("attempt %(attempt)d of %(most)d starts %(when)s") % {
            "attempt": task.attempt, "most": task.max_attempts, "when": when,
        }  # fmt: skip
    return _("starts %s") % when


def _for_permission(facts: RunFacts) -> str:
    run, control = facts.run, facts.control
    if run.status == RunStatus.PAUSED:
        return _paused(_("the run is paused"), run.paused_by, run.pause_reason)
    if control is not None and control.paused_at is not None:
        return _paused(_("the workflow is paused"), control.paused_by, control.pause_reason)
    if run.is_waiting:
        limit = control.max_running if control is not None and control.max_running else 0
        return ngettext(
            "waits for a place: at most %d run of this workflow at once",
            "waits for a place: at most %d runs of this workflow at once", limit,
        ) % limit  # fmt: skip
    return _("held; a worker lets it go in a moment")


def _paused(text: str, by: str, reason: str) -> str:
    if by:
        text += " " + _("by %s") % by
    return f"{text}: {reason}" if reason else text


def _for_a_worker(task: TaskExecution, facts: RunFacts) -> str:
    claiming = [worker for worker in facts.workers.values() if worker.is_claiming]
    if not claiming:
        return _("no worker is running; start one: python manage.py cloaca_worker")
    fitting = [worker for worker in claiming if task.queue in worker.queues]
    if not fitting:
        return _("no live worker serves the queue “%s”") % task.queue
    fitting = [worker for worker in fitting if task.workflow_name in worker.workflows]
    if not fitting:
        return _("no live worker has the code of “%s”") % task.workflow_name
    used, slots = (sum(getattr(w, name) for w in fitting) for name in ("running", "concurrency"))
    if used >= slots:
        return _("every slot is taken: %(used)d of %(slots)d") % {"used": used, "slots": slots}
    return _("a worker takes it in a moment")
