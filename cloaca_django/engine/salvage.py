"""When a turn's transaction fails: lost connections, unknown commits, poisoned batches.

Nothing is ever dropped because something beside it failed.
"""

from __future__ import annotations

import contextlib
import enum
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from cloaca_django.core.states import TaskStatus
from cloaca_django.dialect import Session, is_disconnected, is_transient, sql
from cloaca_django.engine import recovery
from cloaca_django.engine.capture import storable
from cloaca_django.engine.messages import Batch
from cloaca_django.engine.settlement import Failure, Outcome, Settled

logger = logging.getLogger("cloaca_django.worker")


class Verdict(enum.Enum):
    """What a failed transaction means for the next try."""

    LOST = "the connection is gone and a COMMIT may have happened"
    BUSY = "everything was rolled back; the same may succeed"
    BROKEN = "everything was rolled back; the same will fail again"


def verdict(error: Exception) -> Verdict:
    """Judge a failed transaction."""
    if is_disconnected(error):
        return Verdict.LOST
    return Verdict.BUSY if is_transient(error) else Verdict.BROKEN


def resolve(session: Session, outcomes: Sequence[Outcome]) -> Settled:
    """Read what became of outcomes whose COMMIT has an unknown result.

    As we wrote it, with our token: accepted. Running with our token: it did not happen, settle
    again. Else the claim no longer holds. The row decides; a body is never run again for it.
    """
    settled = Settled()
    if not outcomes:
        return settled
    found = {
        id: (token and session.uuid(token), status)
        for id, token, status in session.run(
            sql.resolve_tokens, [(outcome.task_id,) for outcome in outcomes]
        )
    }
    for outcome in outcomes:
        token, status = found.get(outcome.task_id, (None, ""))
        if token != outcome.token:
            settled.fenced.append(outcome)
        elif status == TaskStatus.RUNNING:
            settled.waiting.append(outcome)
        elif status == outcome.status:
            settled.accepted.append(outcome)
        else:
            settled.fenced.append(outcome)
    return settled


def reconcile(session: Session, worker: UUID, live: Mapping[int, UUID]) -> None:
    """Take back claims that were committed and whose reply was lost, before claiming again."""
    recovery.reconcile(session, worker, live, grace=0.0)


def close(session: Session | None) -> None:
    """Close a broken connection; that it cannot be closed properly is no news."""
    if session is not None:
        with contextlib.suppress(Exception):
            session.close()


def one_by_one(batch: Batch, run: Callable[[Batch], None]) -> Batch:
    """Run a broken batch run by run, a broken run outcome by outcome; returns what must wait.

    What breaks alone fails alone. Raises nothing: what fails for a passing reason is carried on.
    """
    rest = Batch()
    for outcomes in _by_run(batch.outcomes).values():
        _alone(Batch(outcomes=outcomes), run, rest)
    for ask in batch.asks:
        _alone(Batch(asks=[ask]), run, rest)
    for deferral in batch.deferrals:
        _alone(Batch(deferrals=[deferral]), run, rest)
    return rest


def _alone(part: Batch, run: Callable[[Batch], None], rest: Batch) -> None:
    try:
        run(part)
    except Exception as error:
        if verdict(error) is not Verdict.BROKEN:
            rest.add(part)
        elif len(part.outcomes) > 1:
            for outcome in part.outcomes:
                _alone(Batch(outcomes=[outcome]), run, rest)
        else:
            rest.dropped += _condemn(part, error, run)


def _condemn(part: Batch, error: Exception, run: Callable[[Batch], None]) -> list[Outcome]:
    """Fail the tasks of a part that cannot be stored, naming the cause; returns what is lost."""
    for ask in part.asks:
        if ask.done.set_running_or_notify_cancel():
            ask.done.set_exception(error)
    if not part.outcomes:
        return []
    logger.error("an outcome could not be stored; its task fails: %s", error, exc_info=error)
    text = storable(f"{type(error).__name__}: {error}", 1_000)
    failure = Failure("SettleError", f"The outcome of the task could not be stored: {text}")
    failed = [
        replace(o, status=TaskStatus.FAILED, writes=(), changes=None, failure=failure, log="",
                charges_attempt=False, delay_seconds=0.0, seconds=None)
        for o in part.outcomes
    ]  # fmt: skip
    try:
        run(Batch(outcomes=failed))
    except Exception:
        # Not even that: the claims stay with this worker's row and reconcile takes them back.
        logger.exception("a failure could not be stored either")
        return failed
    return []


def _by_run(outcomes: Sequence[Outcome]) -> dict[UUID, list[Outcome]]:
    grouped: dict[UUID, list[Outcome]] = {}
    for outcome in outcomes:
        grouped.setdefault(outcome.run_id, []).append(outcome)
    return grouped
