"""The one way to change anything: a page that asks, a POST that acts, an entry in the log.

GET shows what would happen and changes nothing. POST checks the permission and the state again;
the engine checks the state once more under its lock, and a change in between is a message.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from django import forms
from django.contrib import messages
from django.contrib.admin.models import DELETION, LogEntry
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from cloaca_django.admin import access
from cloaca_django.admin.read_only import ReadOnlyAdmin
from cloaca_django.admin.vocabulary import Text
from cloaca_django.errors import CloacaError

SHOWN = 20
MAX_REASON = 2000


@dataclass(frozen=True, slots=True)
class Counting:
    """How the pages that act on many rows say how many those are."""

    possible: Callable[[int], str]
    consent: Callable[[int], str]
    done: Callable[[int], str]


class Why(enum.Enum):
    """Whether an act wants a reason."""

    NEVER = enum.auto()
    IF_YOU_LIKE = enum.auto()
    ALWAYS = enum.auto()


@dataclass(frozen=True, slots=True)
class Doing:
    """Who does it, to what, and why. By its ``key`` a form that is sent twice makes one run."""

    row: Any
    by: str
    reason: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What came out: a sentence for people, one for the log, and the run that was made, if any.

    ``is_gone`` says that the row does not exist any more; ``is_repeat`` that a form was sent once
    more, and did nothing. An empty ``logged`` is not logged.
    """

    says: str
    logged: str
    run: UUID | None = None
    is_gone: bool = False
    is_repeat: bool = False


@dataclass(frozen=True, slots=True)
class Act:
    """One thing a person may do to a row. ``refusal`` says why not now; empty when it may be."""

    slug: str
    permission: str
    label: Text
    question: Text
    consent: Text
    explains: Callable[[Any], Iterable[str]]
    refusal: Callable[[Any], str]
    perform: Callable[[Doing], Done]
    why: Why = Why.IF_YOU_LIKE
    is_grave: bool = False


RUNS = Counting(
    lambda count: (
        ngettext(
            "It can be done for %(count)s of the chosen runs.",
            "It can be done for %(count)s of the chosen runs.",
            count,
        )
        % {"count": count}
    ),
    lambda count: ngettext("Yes, for %d run", "Yes, for %d runs", count) % count,
    lambda count: ngettext("Done for %d run.", "Done for %d runs.", count) % count,
)


class OnceForm(forms.Form):
    """A form that may be sent twice and acts once: what it makes is known by its key."""

    required_css_class = "required"

    once = forms.UUIDField(required=False, initial=uuid4, widget=forms.HiddenInput)

    def key_for(self, row: Any) -> str | None:
        """Return the key of what this form makes for a row; None for a form without its field."""
        once = self.cleaned_data.get("once")
        return f"admin:{once.hex}:{row.pk}"[:255] if once else None


class ReasonForm(OnceForm):
    """Why somebody does it."""

    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=MAX_REASON,
        widget=forms.Textarea(attrs={"rows": 2, "cols": 60, "dir": "auto"}),
    )

    def __init__(self, *args: Any, why: Why, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if why is Why.NEVER:
            del self.fields["reason"]
        else:
            self.fields["reason"].required = why is Why.ALWAYS
            if why is Why.IF_YOU_LIKE:
                self.fields["reason"].label = _("Reason (if you like)")


def ask(page: ReadOnlyAdmin, request: HttpRequest, object_id: str, *, act: Act) -> HttpResponse:
    """Answer for one row: the page that asks, or what came of a yes."""
    row = page.row_or_none(request, object_id)
    if not access.may(request, act.permission):
        raise PermissionDenied
    if row is None:
        return page.gone(request, object_id)
    refusal = act.refusal(row)
    form = ReasonForm(request.POST if request.method == "POST" else None, why=act.why)
    if request.method == "POST" and refusal:
        messages.warning(request, refusal)
        return HttpResponseRedirect(page.url("change", row.pk))
    if request.method == "POST" and form.is_valid():
        done = attempt(page, request, row, act=act, form=form)
        if done is not None:
            tell = messages.warning if done.is_repeat else messages.success
            tell(request, done.says)
        return HttpResponseRedirect(_place_after(page, row, done))
    return page.page(
        request,
        "confirm.html",
        title=act.question % {"what": str(row)},
        original=row,
        act=act,
        form=form,
        explains=[] if refusal else list(act.explains(row)),
        refusal=refusal,
        back=page.url("change", row.pk),
    )


def _place_after(page: ReadOnlyAdmin, row: Any, done: Done | None) -> str:
    """Return where somebody goes on: to the run that was made, or back to the row if it is left."""
    if done is not None and done.run is not None:
        return page.run_url(done.run)
    if done is not None and done.is_gone:
        return page.url("changelist")
    return page.url("change", row.pk)


def attempt(
    page: ReadOnlyAdmin, request: HttpRequest, row: Any, *, act: Act, form: ReasonForm
) -> Done | None:
    """Do it and log it; None, after a message, when the engine refused. The form is valid."""
    reason = form.cleaned_data.get("reason", "").strip()
    try:
        done = act.perform(Doing(row, access.name_of(request), reason, form.key_for(row)))
    except CloacaError as error:
        # Somebody, or the run itself, was faster.
        messages.warning(request, _("%(what)s: %(error)s") % {"what": row, "error": error})
        return None
    if done.is_gone:
        _log_deletion(request, row, done.logged)
    elif done.logged:
        page.log_change(request, row, done.logged)
    return done


def _log_deletion(request: HttpRequest, row: Any, message: str) -> None:
    user: Any = request.user
    LogEntry.objects.log_actions(
        user_id=user.pk, queryset=[row], action_flag=DELETION, change_message=message,
        single_object=True,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sorted:
    """Chosen rows by whether an act is possible now; ``refused`` are pairs with the reason."""

    eligible: Sequence[Any]
    refused: Sequence[tuple[Any, str]]


def sort_out(rows: Iterable[Any], act: Act) -> Sorted:
    """Tell rows that an act can be done to from those it cannot."""
    eligible: list[Any] = []
    refused: list[tuple[Any, str]] = []
    for row in rows:
        refusal = act.refusal(row)
        if refusal:
            refused.append((row, refusal))
        else:
            eligible.append(row)
    return Sorted(eligible, refused)


def ask_for_many(
    page: ReadOnlyAdmin, request: HttpRequest, rows: Sequence[Any], *, act: Act, limit: int,
    counting: Counting = RUNS,
) -> HttpResponse:  # fmt: skip
    """Show what an act would do to chosen rows, and ask."""
    chosen = sort_out(rows[:limit], act)
    return page.page(
        request,
        "confirm_many.html",
        title=f"{str(act.label).rstrip('…')}?",
        act=act,
        explains=list(act.explains(chosen.eligible[0]))[:1] if chosen.eligible else [],
        form=ReasonForm(why=act.why),
        chosen=chosen,
        limit=limit if len(rows) > limit else 0,
        ids=",".join(str(row.pk) for row in chosen.eligible),
        shown=chosen.eligible[:SHOWN],
        more=max(0, len(chosen.eligible) - SHOWN),
        refused=chosen.refused[:SHOWN],
        more_refused=max(0, len(chosen.refused) - SHOWN),
        possible=counting.possible(len(chosen.eligible)),
        consent=counting.consent(len(chosen.eligible)),
        target=page.url(f"bulk_{act.slug}"),
        back=page.url("changelist"),
    )


def do_to_many(
    page: ReadOnlyAdmin, request: HttpRequest, rows: Iterable[Any], *, act: Act,
    counting: Counting = RUNS,
) -> HttpResponse:  # fmt: skip
    """Act on every row that it is still possible for, and say how many those were."""
    form = ReasonForm(request.POST, why=act.why)
    if not form.is_valid():
        messages.error(request, _("Nothing was done: a reason is needed."))
        return HttpResponseRedirect(page.url("changelist"))
    chosen = sort_out(rows, act)
    done = [attempt(page, request, row, act=act, form=form) for row in chosen.eligible]
    count = sum(one is not None and not one.is_repeat for one in done)
    text = counting.done(count)
    if repeats := sum(one is not None and one.is_repeat for one in done):
        text += " " + ngettext("%d was sent already.", "%d were sent already.", repeats) % repeats
    if left := len(chosen.refused):
        text += " " + ngettext("%d was left alone.", "%d were left alone.", left) % left
    messages.success(request, text) if count else messages.warning(request, text)
    return HttpResponseRedirect(page.url("changelist"))
