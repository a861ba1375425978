"""Runs for times of a schedule that have passed: which, how many, and after a yes they start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.timezone import get_current_timezone_name
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from cloaca_django.admin import access, logged, schedule_acts, schedule_preview
from cloaca_django.admin.confirming import MAX_REASON
from cloaca_django.admin.read_only import ReadOnlyAdmin
from cloaca_django.admin.run_acts import runner
from cloaca_django.admin.schedule_fields import WallTimeField
from cloaca_django.conf import settings
from cloaca_django.core import catchup, cron
from cloaca_django.dialect import site_session
from cloaca_django.engine import backfill
from cloaca_django.errors import CloacaError
from cloaca_django.models import CronSchedule

# A request ends within seconds, and a hand slips: the command has a higher limit.
MAX_RUNS = 1_000
SHOWN = 20
SLUG = "backfill"
LABEL = gettext_lazy("Backfill…")


class BackfillForm(forms.Form):
    """From when to when, on the clock of the schedule."""

    required_css_class = "required"

    start = WallTimeField(label=gettext_lazy("From"))
    end = WallTimeField(label=gettext_lazy("To"))
    reason = forms.CharField(
        label=gettext_lazy("Reason (if you like)"), required=False, max_length=MAX_REASON
    )

    def __init__(self, *args: Any, zone: ZoneInfo, now: datetime, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._zone, self._now = zone, now
        text = _("Included. On the clock of the schedule: %s.") % zone.key
        for name in ("start", "end"):
            self.fields[name].help_text = text

    def clean_start(self) -> datetime:
        """Return the moment; years before 1970 are refused."""
        return self._moment("start")

    def clean_end(self) -> datetime:
        """Return the moment, which has passed."""
        end = self._moment("end")
        if end > self._now:
            raise forms.ValidationError(_("It has not passed yet."))
        return end

    def clean(self) -> dict[str, Any]:
        """Check that there is something between both."""
        super().clean()
        given: dict[str, Any] = self.cleaned_data
        if not self.errors and given["start"] > given["end"]:
            self.add_error("end", _("It ends before it starts."))
        return given

    def _moment(self, name: str) -> datetime:
        wall: datetime = self.cleaned_data[name]
        moment = wall.replace(tzinfo=self._zone)
        if wall.year == 9999 or moment < backfill.EARLIEST:
            raise forms.ValidationError(_("Give a date of the years 1970 to 9998."))
        return moment


@dataclass(frozen=True, slots=True)
class Plan:
    """What a backfill would do. ``refusal`` says why not; empty when it may be done."""

    times: Sequence[schedule_preview.Fire]
    count: int
    done: int
    refusal: str = ""

    @property
    def more(self) -> int:
        """How many times there are beyond those that are listed."""
        return self.count - len(self.times)

    @property
    def consent(self) -> str:
        """What the button says."""
        return ngettext("Yes, start %d run", "Yes, start %d runs", self.count) % self.count


def ask(page: ReadOnlyAdmin, request: HttpRequest, row: CronSchedule) -> HttpResponse:
    """Answer the three steps: the range, the count, and what came of a yes."""
    back = page.url("change", row.pk)
    schedule = _readable(row)
    refusal = schedule_acts.if_registered(row) if schedule else _("It cannot be planned.")
    if refusal or schedule is None:
        messages.warning(request, refusal)
        return HttpResponseRedirect(back)
    now = site_session(settings.DATABASE).clock()
    data = request.POST if request.method == "POST" else None
    form = BackfillForm(data, zone=schedule.zone, now=now)
    plan = None
    if data is not None and form.is_valid():
        plan = _plan(row, schedule, form.cleaned_data, now)
        # A yes is one to the number that was shown: the range may have been edited since.
        if plan.count and data.get("confirmed") == str(plan.count) and not plan.refusal:
            _start(page, request, row, form.cleaned_data)
            return HttpResponseRedirect(back)
    return page.page(
        request, "backfill.html", title=_("Start runs of %s for the past?") % row, original=row,
        form=form, plan=plan, sentence=schedule_preview.sentence(row), back=back,
        limit=MAX_RUNS, zone=schedule.timezone, here=get_current_timezone_name(),
    )  # fmt: skip


def _readable(row: CronSchedule) -> cron.Schedule | None:
    try:
        return cron.parse(row.cron_expression, row.timezone)
    except CloacaError:
        return None


def _plan(row: CronSchedule, schedule: cron.Schedule, given: dict[str, Any], now: datetime) -> Plan:
    """Count the times that have no run yet, before anything is read or made of them."""
    start, end = given["start"], given["end"]
    count = cron.count_fires(schedule, start - catchup.TICK, end)
    if count > backfill.MAX_TIMES:
        return Plan([], 0, 0, _too_many(count))
    alias = settings.DATABASE
    times = backfill.open_times(alias, site_session(alias), row, start=start, end=end)
    refusal = _too_many(len(times)) if len(times) > MAX_RUNS else ""
    shown = schedule_preview.fires_of(times[:SHOWN], schedule.zone, now)
    return Plan(shown, len(times), count - len(times), refusal)


def _too_many(count: int) -> str:
    facts = {"count": count, "limit": MAX_RUNS}
    text = _(
        "These are %(count)d times; here at most %(limit)d runs are started at once."
        " Take the range in parts, or use the command:"
    )
    return text % facts


def _start(
    page: ReadOnlyAdmin, request: HttpRequest, row: CronSchedule, given: dict[str, Any]
) -> None:
    """Start the runs and log it; those that somebody else has started meanwhile are left out."""
    reason, by = given["reason"].strip(), access.name_of(request)
    try:
        made = runner().backfill(
            row.pk, given["start"], given["end"], by=by, reason=reason or "backfill"
        )
    except CloacaError as error:
        messages.warning(request, _("%(what)s: %(error)s") % {"what": row, "error": error})
        return
    told = ngettext("%d run was started.", "%d runs were started.", len(made)) % len(made)
    messages.success(request, told)
    entry = logged.entry(
        "Started %(count)s runs from %(start)s to %(end)s", reason, count=len(made),
        start=given["start"].isoformat(), end=given["end"].isoformat(),
    )  # fmt: skip
    page.log_change(request, row, entry)
