"""What a person may do to a workflow as a whole: pause it, and let it go on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cloaca_django.admin import access, logged
from cloaca_django.admin.confirming import Act, Doing, Done, Why
from cloaca_django.admin.run_acts import runner
from cloaca_django.core import registry
from cloaca_django.core.states import RunStatus


def _if_active(row: Any) -> str:
    if row.paused_at is not None:
        return _("This workflow is paused already.")
    if registry.snapshot().get(row.pk) is None:
        return _("No workflow of this name is registered in this process.")
    return ""


def _if_paused(row: Any) -> str:
    return "" if row.paused_at is not None else _("This workflow is not paused.")


def _explain_pause(row: Any) -> Iterator[str]:
    yield _(
        "No task of its runs starts until it is resumed; what runs now finishes. New runs are"
        " accepted and wait."
    )


def _explain_resume(row: Any) -> Iterator[str]:
    yield _("Its runs go on, except those that were paused one by one.")
    if row.pause_reason:
        facts = {"by": row.paused_by or "?", "reason": row.pause_reason}
        yield _("It was paused by %(by)s: %(reason)s") % facts


def _pause(doing: Doing) -> Done:
    runner().pause_workflow(doing.row.pk, by=doing.by, reason=doing.reason)
    return Done(_("The workflow is paused."), logged.entry(str(RunStatus.PAUSED), doing.reason))


def _resume(doing: Doing) -> Done:
    runner().resume_workflow(doing.row.pk, by=doing.by)
    return Done(_("The workflow goes on."), logged.entry("Resumed"))


PAUSE = Act(
    "pause", access.PAUSE, gettext_lazy("Pause…"), gettext_lazy("Pause the workflow %(what)s?"),
    gettext_lazy("Yes, pause it"), _explain_pause, _if_active, _pause, Why.ALWAYS,
)  # fmt: skip
RESUME = Act(
    "resume", access.PAUSE, gettext_lazy("Resume…"), gettext_lazy("Resume the workflow %(what)s?"),
    gettext_lazy("Yes, let it go on"), _explain_resume, _if_paused, _resume, Why.NEVER,
)  # fmt: skip

ACTS = {act.slug: act for act in (PAUSE, RESUME)}
