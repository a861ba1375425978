"""The call of ``DefaultRunner`` that writes many runs of one workflow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from cloaca_django.calls.ground import Ground
from cloaca_django.conf import settings
from cloaca_django.core import registry
from cloaca_django.core.context import Context
from cloaca_django.core.workflow import Workflow
from cloaca_django.dialect import site_session
from cloaca_django.engine import bulk, inputs, notices, spans
from cloaca_django.engine.submission import Options
from cloaca_django.handles import RunHandle


class ManyCalls(Ground):
    """Runs by the thousand: what they have in common is checked and sent once."""

    def enqueue_many(
        self, workflow_name: str, contexts: Iterable[Context | None], **options: Any
    ) -> list[RunHandle]:
        """Write one run per context in one go; options as for ``enqueue``, without a key."""
        if options.pop("idempotency_key", None) is not None:
            raise TypeError("enqueue_many takes no idempotency_key: a key names one run")
        self._check_open()
        same = self._checked_options("enqueue_many()", **options)
        workflow, wanted = registry.find(workflow_name), inputs.contexts(contexts)
        if not settings.EAGER and bulk.takes(site_session(self.alias), workflow):
            return self._enqueued_in_bulk(workflow, wanted, same)
        return self._enqueued(workflow_name, wanted, same)

    def _enqueued_in_bulk(
        self, workflow: Workflow, contexts: Iterable[Context | None], options: Options
    ) -> list[RunHandle]:
        wanted = (Context() if one is None else inputs.context(one) for one in contexts)
        with self._sending(workflow.name, options) as span, self._here():
            ids = bulk.submit(
                site_session(self.alias), workflow, wanted, options, traceparent=span.traceparent
            )
            spans.sent(span, ids)
            self._after_commit(lambda: self._committed_in_bulk(workflow, ids))
        self._release_connection()
        return [self.handle(run_id) for run_id in ids]

    def _committed_in_bulk(self, workflow: Workflow, ids: list[UUID]) -> None:
        with notices.within(self.alias, self.schema):
            notices.log_submitted(workflow.name, ids)
        if turn := self._own_turn():
            turn.hint()
