"""What a person may do to a worker: let it take no more tasks, and forget one that has ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cloaca_django.admin import access, logged, vocabulary
from cloaca_django.admin.confirming import Act, Doing, Done
from cloaca_django.conf import settings
from cloaca_django.core.states import WorkerState
from cloaca_django.dialect import open_session
from cloaca_django.engine import operations
from cloaca_django.errors import InvalidTransition

_LIVING = frozenset({WorkerState.ALIVE, WorkerState.DRAINING})


def _if_alive(worker: Any) -> str:
    if worker.state == WorkerState.ALIVE:
        return ""
    return _("This worker is %s.") % vocabulary.word(worker.state).word


def _explain_drain(worker: Any) -> Iterator[str]:
    yield _(
        "It claims nothing more from its next heartbeat on, within %d s; what it runs goes on to"
        " its end. It takes tasks again when it is started anew."
    ) % max(1, round(settings.HEARTBEAT_SECONDS))


def _drain(doing: Doing) -> Done:
    with closing(open_session(settings.DATABASE)) as session:
        if not operations.drain(session, doing.row.pk, by=doing.by):
            doing.row.refresh_from_db()
            raise InvalidTransition("worker", doing.row.state, WorkerState.DRAINING)
    return Done(_("The worker takes no more tasks."), logged.entry("Drained", doing.reason))


DRAIN = Act(
    "drain", access.DRAIN, gettext_lazy("Drain…"), gettext_lazy("Let %(what)s take no more tasks?"),
    gettext_lazy("Yes, drain it"), _explain_drain, _if_alive, _drain,
)  # fmt: skip


def _if_ended(worker: Any) -> str:
    if worker.state not in _LIVING:
        return ""
    return _("This worker is %s; only those that ended are forgotten.") % (
        vocabulary.word(worker.state).word
    )


def _explain_forget(worker: Any) -> Iterator[str]:
    yield _("Its line goes from the list. What it did stays with the runs.")


def _forget(doing: Doing) -> Done:
    with closing(open_session(settings.DATABASE)) as session:
        if not operations.forget(session, doing.row.pk, by=doing.by):
            raise InvalidTransition("worker", _("still the owner of tasks"), _("forgotten"))
    told = logged.entry("Forgotten", doing.reason)
    return Done(_("The worker is forgotten."), told, is_gone=True)


FORGET = Act(
    "forget", access.FORGET, gettext_lazy("Forget…"), gettext_lazy("Forget %(what)s?"),
    gettext_lazy("Yes, forget it"), _explain_forget, _if_ended, _forget,
)  # fmt: skip

ACTS = {act.slug: act for act in (DRAIN, FORGET)}
