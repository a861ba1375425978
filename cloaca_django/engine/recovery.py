"""Off the path: heartbeats, reconcile and the sweep. A dead worker's tasks come back.

Every statement is conditional on the claim that was seen, so it may run anywhere, at any time and
twice. Which worker is alive is decided by the database's clock.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from cloaca_django.core.states import AttemptOutcome, TaskStatus
from cloaca_django.core.task import Policy
from cloaca_django.dialect import Session, sql_workers
from cloaca_django.dialect.rows import Attempt, Orphan, Tally, WorkerRow
from cloaca_django.engine import meter
from cloaca_django.engine.memory import Memory
from cloaca_django.engine.settlement import Failure, Outcome, Settled, settle

logger = logging.getLogger("cloaca_django.recovery")

NOTHING = Tally()


@dataclass(frozen=True, slots=True)
class Reconciled:
    """``requeued`` tasks were owned but not run; ``lost`` ones are run but no longer owned."""

    requeued: int
    lost: frozenset[int]


def register(session: Session, worker: WorkerRow) -> None:
    """Insert a worker's row. Its id is new at every start, and never comes back."""
    session.run(
        sql_workers.register_worker,
        id=worker.id, kind=worker.kind, hostname=worker.hostname, pid=worker.pid,
        concurrency=worker.concurrency, queues=worker.queues, workflows=worker.workflows,
        version=worker.version, lease=worker.lease_seconds,
    )  # fmt: skip


def renew(session: Session, worker: UUID, tally: Tally = NOTHING) -> str:
    """Renew a lease; returns the state in the worker's row, Draining when somebody asked for that.

    Empty when it lapsed and the worker was given up, so it must register anew.
    """
    found = session.run(sql_workers.renew_lease, worker=worker, **tally._asdict())
    return str(found[0][0]) if found else ""


def say_state(session: Session, worker: UUID, state: str, tally: Tally = NOTHING) -> None:
    """Say that a worker drains or stopped."""
    session.run(sql_workers.set_worker_state, worker=worker, state=state, **tally._asdict())


def reconcile(
    session: Session, worker: UUID, live: Mapping[int, UUID], *, grace: float
) -> Reconciled:
    """Compare what a worker owns with what it runs.

    ``live`` maps task ids to tokens and was taken before this call. A claim younger than ``grace``
    seconds may be on its way to the worker, so it is left alone. Tasks that are owned but not run
    go back to ready, and nobody is charged: their claim committed and its reply was lost.
    """
    owned = session.run(sql_workers.owned, worker=worker, grace=grace)
    rows = [(_orphan(session, row), bool(row[6])) for row in owned]
    strays = [row for row, is_old in rows if is_old and live.get(row.task_id) != row.token]
    held = {row.task_id: row.token for row, _ in rows}
    lost = frozenset(id for id, token in live.items() if held.get(id) != token)
    requeued = requeue(session, strays, charge=False) if strays else 0
    if requeued:
        logger.warning(
            "%d tasks were owned but not run; they are ready again", requeued,
            extra={"worker_id": str(worker)},
        )  # fmt: skip
    return Reconciled(requeued, lost)


def requeue(session: Session, orphans: Iterable[Orphan], *, charge: bool) -> int:
    """Put running tasks back, each only while the claim that was seen holds; returns how many.

    A run that somebody has locked is left for the next sweep. A deferred task is never charged.
    """
    by_run: dict[UUID, list[Orphan]] = {}
    for orphan in orphans:
        by_run.setdefault(orphan.run_id, []).append(orphan)
    with session.transaction():
        free = session.ids(sql_workers.share_runs, ((run_id,) for run_id in by_run))
        taken = [orphan for run_id in free for orphan in by_run[run_id]]
        charges = {o.task_id: int(charge and not o.is_deferred) for o in taken}
        batch = [(o.task_id, o.token, charges[o.task_id]) for o in taken]
        done = {row[0] for row in session.run(sql_workers.requeue, batch)}
        lost = [_lost(o) for o in taken if o.task_id in done and charges[o.task_id]]
        if lost:
            session.insert_attempts(lost, None)
    meter.count(meter.RECOVERED, session.schema, by=len(done))
    return len(done)


def sweep(session: Session, *, max_crashes: int) -> Settled:
    """Give up workers whose lease lapsed and take their tasks back.

    A task that took ``max_crashes`` workers with it fails instead of coming back for ever.
    """
    session.run(sql_workers.clamp_leases)
    buried = session.ids(sql_workers.bury_workers)
    if buried:
        logger.warning("gave up %d workers without heartbeat", len(buried))
    orphans = [_orphan(session, row) for row in session.run(sql_workers.orphans)]
    spent = [o for o in orphans if o.crashes >= max_crashes and not o.is_deferred]
    if orphans:
        again = [o for o in orphans if o not in spent]
        count = requeue(session, again, charge=True) if again else 0
        logger.warning("took back %d tasks of lost workers", count)
    _release_strays(session)
    return _abandon(session, spent)


def _release_strays(session: Session) -> None:
    """Let held tasks go that a late commit left behind: no state is without a query that finds it.

    Under a share lock of their runs, so that a pause that comes now is seen.
    """
    strays = session.ids(sql_workers.stray_runs)
    if strays:
        with session.transaction():
            free = session.ids(sql_workers.share_runs, ((run_id,) for run_id in strays))
            session.run(sql_workers.release_held, ((run_id,) for run_id in free))
            session.announce()


def forget_workers(session: Session) -> None:
    """Delete the rows of workers that ended a day ago."""
    session.run(sql_workers.forget_workers)


def has_overdue(session: Session, worker: UUID, *, limit: float, beyond: float) -> bool:
    """Say whether a worker holds a task ``beyond`` seconds past its time limit.

    ``limit`` is the limit of tasks that have none of their own.
    """
    held = session.run(sql_workers.held, worker=worker)
    return any(
        float(seconds) > (Policy.from_text(policy).timeout_seconds or limit) + beyond
        for policy, seconds in held
    )


def give_up(session: Session, worker: UUID, *, charge: bool, max_crashes: int) -> int:
    """Take back the tasks of a worker that is known to be dead; returns how many.

    With ``charge`` its end counts as a crash of each of them. Those that took ``max_crashes``
    workers with them stay for the next sweep, which fails them.
    """
    session.run(sql_workers.bury_worker, worker=worker)
    orphans = [
        _orphan(session, row) for row in session.run(sql_workers.owned, worker=worker, grace=0.0)
    ]
    again = [o for o in orphans if not charge or o.crashes < max_crashes or o.is_deferred]
    count = requeue(session, again, charge=charge) if again else 0
    if count:
        session.announce()
        logger.warning("took back %d tasks of worker %s", count, worker)
    return count


def _abandon(session: Session, spent: list[Orphan]) -> Settled:
    """Fail tasks that were lost too often."""
    if not spent:
        return Settled()
    with session.transaction():
        places = session.places(orphan.task_id for orphan in spent)
        outcomes = [
            Outcome(
                o.task_id, o.run_id, places[o.task_id].position, o.token, o.attempt,
                TaskStatus.FAILED,
                failure=Failure(
                    "WorkerLost",
                    f"ABANDONED: its worker was lost {o.crashes + 1} times;"
                    " the task may crash or starve its process",
                    outcome=AttemptOutcome.LOST,
                ),
                workflow_name=places[o.task_id].workflow_name,
                task_name=places[o.task_id].name,
            )
            for o in spent
        ]  # fmt: skip
        return settle(session, outcomes, Memory(0), worker=None, wait=False)


def _lost(orphan: Orphan) -> Attempt:
    message = "The worker that ran this attempt was lost"
    return Attempt(orphan.task_id, orphan.attempt, AttemptOutcome.LOST, "WorkerLost", message, "")


def _orphan(session: Session, row: tuple[object, ...]) -> Orphan:
    id, run_id, token, attempt, crashes, is_deferred = row[:6]
    return Orphan(
        int(str(id)), session.uuid(run_id), session.uuid(token), int(str(attempt)),
        int(str(crashes)), bool(is_deferred),
    )  # fmt: skip
