"""What a person may do to a schedule: let it run, let it rest, run it now. ``engine`` does it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from cloaca_django.admin import access, logged, run_acts
from cloaca_django.admin.confirming import Act, Counting, Doing, Done, Why
from cloaca_django.conf import settings
from cloaca_django.core import registry
from cloaca_django.engine import timetable

COUNTING = Counting(
    lambda count: (
        ngettext(
            "It can be done for %d of the chosen schedules.",
            "It can be done for %d of the chosen schedules.",
            count,
        )
        % count
    ),
    lambda count: ngettext("Yes, for %d schedule", "Yes, for %d schedules", count) % count,
    lambda count: ngettext("Done for %d schedule.", "Done for %d schedules.", count) % count,
)


def _if_disabled(row: Any) -> str:
    return _("This schedule is enabled already.") if row.enabled else ""


def _if_enabled(row: Any) -> str:
    return "" if row.enabled else _("This schedule is disabled already.")


def if_registered(row: Any) -> str:
    """Return why no run of a schedule can be started here; empty when one can."""
    if registry.snapshot().get(row.workflow_name) is None:
        return _("No workflow of this name is registered in this process.")
    return ""


def _explain_enable(row: Any) -> Iterator[str]:
    yield _("It runs from its next time on. What passed while it was disabled is not made up for.")
    if row.disabled_by or row.disabled_reason:
        facts = {"by": row.disabled_by or "?", "reason": row.disabled_reason or "?"}
        yield _("It was disabled by %(by)s: %(reason)s") % facts


def _explain_disable(row: Any) -> Iterator[str]:
    yield _("It starts no run until it is enabled again. Runs that are open go on.")


def _explain_trigger(row: Any) -> Iterator[str]:
    yield _("A run starts now, with the context of the schedule, be it enabled or not.")
    yield _("It counts for none of the schedule's times: the next one comes as planned.")


def _enable(doing: Doing) -> Done:
    timetable.set_enabled(settings.DATABASE, doing.row.pk, enabled=True, by=doing.by)
    return Done(_("The schedule is enabled."), logged.entry("Enabled"))


def _disable(doing: Doing) -> Done:
    timetable.set_enabled(
        settings.DATABASE, doing.row.pk, enabled=False, by=doing.by, reason=doing.reason
    )
    return Done(_("The schedule is disabled."), logged.entry("Disabled", doing.reason))


def _trigger(doing: Doing) -> Done:
    if (before := run_acts.made_by(doing.key)) is not None:
        return run_acts.made_before(before)
    handle = run_acts.runner().trigger_cron_schedule(
        doing.row.pk, by=doing.by, reason=doing.reason, idempotency_key=doing.key
    )
    told = logged.entry("Triggered run %(run)s", doing.reason, run=handle.id)
    return Done(_("The run was started."), told, handle.id)


ENABLE = Act(
    "enable", access.CHANGE_SCHEDULE, gettext_lazy("Enable…"),
    gettext_lazy("Enable the schedule %(what)s?"), gettext_lazy("Yes, enable it"),
    _explain_enable, _if_disabled, _enable, Why.NEVER,
)  # fmt: skip
DISABLE = Act(
    "disable", access.CHANGE_SCHEDULE, gettext_lazy("Disable…"),
    gettext_lazy("Disable the schedule %(what)s?"), gettext_lazy("Yes, disable it"),
    _explain_disable, _if_enabled, _disable,
)  # fmt: skip
TRIGGER = Act(
    "trigger", access.RUN, gettext_lazy("Trigger now…"),
    gettext_lazy("Run the schedule %(what)s now?"), gettext_lazy("Yes, run it now"),
    _explain_trigger, if_registered, _trigger,
)  # fmt: skip

ACTS = {act.slug: act for act in (TRIGGER, DISABLE, ENABLE)}
