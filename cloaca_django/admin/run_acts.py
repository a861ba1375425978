"""What a person may do to a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cloaca_django.admin import access, logged, vocabulary
from cloaca_django.admin.confirming import Act, Doing, Done, Why
from cloaca_django.conf import settings
from cloaca_django.core import registry
from cloaca_django.core.states import RUN_FINAL, RunStatus, TaskStatus
from cloaca_django.dialect import open_session
from cloaca_django.engine import retention
from cloaca_django.models import PipelineExecution, TaskExecution
from cloaca_django.runner import DefaultRunner

SHOWN = 12


def runner() -> DefaultRunner:
    """Return the site's runner. It starts no thread: nothing is executed here."""
    return DefaultRunner(using=settings.DATABASE)


def _if_open(run: Any) -> str:
    if run.status in RUN_FINAL:
        return _("This run has ended: %s.") % str(vocabulary.word(run.status).word)
    return ""


def _if_pausable(run: Any) -> str:
    return _("This run is paused already.") if run.status == RunStatus.PAUSED else _if_open(run)


def _if_paused(run: Any) -> str:
    return "" if run.status == RunStatus.PAUSED else _("This run is not paused.")


def _if_repeatable(run: Any) -> str:
    if run.status not in RUN_FINAL:
        return _("This is possible once the run has ended.")
    if registry.snapshot().get(run.workflow_name) is None:
        return str(_("No workflow “%s” is registered in this process.") % run.workflow_name)
    return ""


def _if_retryable(run: Any) -> str:
    if run.status == RunStatus.COMPLETED:
        return _("Nothing failed in this run; it can be run again from the start.")
    return _if_repeatable(run)


def _if_deletable(run: Any) -> str:
    if not settings.ADMIN_DELETE_RUNS:
        return _("Runs are not deleted here: the site's settings do not allow it.")
    if run.status not in RUN_FINAL:
        return _("This run has not ended; only runs that ended are deleted.")
    return ""


def _explain_delete(run: Any) -> Iterator[str]:
    yield _(
        "It goes for good, with its tasks, attempts, logs and contexts. Runs that it led to stay."
    )


def _explain_cancel(run: Any) -> Iterator[str]:
    yield _(
        "It ends at once as cancelled: open tasks start no more, and what is running now is not"
        " recorded. Runs that its tasks started end too. What has been done stays done."
    )


def _explain_pause(run: Any) -> Iterator[str]:
    yield _("No further task of it starts until it is resumed. Tasks that run now finish.")


def _explain_resume(run: Any) -> Iterator[str]:
    yield _("Its waiting tasks may start again.")
    if run.pause_reason:
        facts = {"by": run.paused_by or "?", "reason": run.pause_reason}
        yield _("It was paused by %(by)s: %(reason)s") % facts


def _explain_rerun(run: Any) -> Iterator[str]:
    yield _(
        "A new run with the same initial context does every task again. This one stays as it is."
    )
    yield from _version_note(run)


def _explain_retry(run: Any) -> Iterator[str]:
    yield _(
        "A new run takes over what completed and does the rest again. This one stays as it ended."
    )
    tasks = TaskExecution.objects.using(settings.DATABASE).filter(run=run).in_graph_order()
    names = tasks.values_list("name", "status")
    kept = [name for name, status in names if status == TaskStatus.COMPLETED]
    again = [name for name, status in names if status != TaskStatus.COMPLETED]
    yield _("Runs again: %s") % _listed(again)
    if kept:
        yield _("Results kept: %s") % _listed(kept)
    yield from _version_note(run)


def _version_note(run: Any) -> Iterator[str]:
    workflow = registry.snapshot().get(run.workflow_name)
    if workflow is not None and workflow.version != run.workflow_version:
        yield _("The workflow has changed since: the new run follows today's definition.")


def _listed(names: list[str]) -> str:
    more = len(names) - SHOWN
    text = ", ".join(names[:SHOWN])
    return text + (" " + _("and %d more") % more if more > 0 else "")


def _cancel(doing: Doing) -> Done:
    runner().cancel(doing.row.pk, by=doing.by, reason=doing.reason)
    return Done(_("The run was cancelled."), logged.entry(str(RunStatus.CANCELLED), doing.reason))


def _pause(doing: Doing) -> Done:
    runner().pause(doing.row.pk, by=doing.by, reason=doing.reason)
    return Done(_("The run is paused."), logged.entry(str(RunStatus.PAUSED), doing.reason))


def _resume(doing: Doing) -> Done:
    runner().resume(doing.row.pk, by=doing.by)
    return Done(_("The run goes on."), logged.entry("Resumed"))


def _delete(doing: Doing) -> Done:
    with closing(open_session(settings.DATABASE)) as session:
        retention.delete_run(session, doing.row.pk, by=doing.by)
    told = logged.entry("Deleted", doing.reason)
    return Done(_("The run was deleted."), told, is_gone=True)


def made_by(key: str | None) -> UUID | None:
    """Return the run that a form made which is sent once more."""
    runs = PipelineExecution.objects.using(settings.DATABASE)
    found: UUID | None = (
        runs.filter(idempotency_key=key).values_list("pk", flat=True).first() if key else None
    )
    return found


def made_before(run: UUID) -> Done:
    """Return what came of a form that is sent once more: nothing, and that is not logged."""
    return Done(_("This run was started already: %s") % run, "", run, is_repeat=True)


def _again(text: str, *, from_start: bool) -> Callable[[Doing], Done]:
    def perform(doing: Doing) -> Done:
        if (before := made_by(doing.key)) is not None:
            return made_before(before)
        made = runner().replay(
            doing.row.pk, from_start=from_start, idempotency_key=doing.key, by=doing.by,
            reason=doing.reason,
        )  # fmt: skip
        says = _("A new run was started: %s") % made.id
        return Done(says, logged.entry(text, doing.reason, run=made.id), made.id)

    return perform


CANCEL = Act(
    "cancel", access.CANCEL, gettext_lazy("Cancel…"), gettext_lazy("Cancel %(what)s?"),
    gettext_lazy("Yes, cancel it"), _explain_cancel, _if_open, _cancel, is_grave=True,
)  # fmt: skip
PAUSE = Act(
    "pause", access.PAUSE, gettext_lazy("Pause…"), gettext_lazy("Pause %(what)s?"),
    gettext_lazy("Yes, pause it"), _explain_pause, _if_pausable, _pause, Why.ALWAYS,
)  # fmt: skip
RESUME = Act(
    "resume", access.PAUSE, gettext_lazy("Resume…"), gettext_lazy("Resume %(what)s?"),
    gettext_lazy("Yes, let it go on"), _explain_resume, _if_paused, _resume, Why.NEVER,
)  # fmt: skip
RETRY = Act(
    "retry", access.RETRY, gettext_lazy("Retry from failure…"),
    gettext_lazy("Retry %(what)s from where it failed?"), gettext_lazy("Yes, retry it"),
    _explain_retry, _if_retryable, _again("Retried as %(run)s", from_start=False),
)  # fmt: skip
RERUN = Act(
    "rerun", access.RUN, gettext_lazy("Run again…"),
    gettext_lazy("Run %(what)s again from the start?"), gettext_lazy("Yes, run it again"),
    _explain_rerun, _if_repeatable, _again("Run again as %(run)s", from_start=True),
)  # fmt: skip

DELETE = Act(
    "delete", access.DELETE_RUN, gettext_lazy("Delete…"), gettext_lazy("Delete %(what)s?"),
    gettext_lazy("Yes, delete it"), _explain_delete, _if_deletable, _delete, is_grave=True,
)  # fmt: skip

ACTS = {act.slug: act for act in (CANCEL, PAUSE, RESUME, RETRY, RERUN, DELETE)}
