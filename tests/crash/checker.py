"""The invariants of a store, read from its rows and the journal. Returns what is wrong, in words.

Numbers name the promises: I1 every run ends, I2 once and rightly, I3 and I4 effects exactly once,
I5 legal moves, I6 one end a task, I7 order, I8 nothing left running, I9 one start a claim, I10 to
I12 schedules (in ``fires``), I13 bounds, I17 contexts.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

from cloaca_django.core.context import decode
from cloaca_django.core.states import (
    RUN_FINAL,
    RUN_MOVES,
    TASK_FINAL,
    TASK_MOVES,
    Origin,
    RunStatus,
    TaskStatus,
)
from cloaca_django.dialect import Session
from cloaca_django.engine import results
from cloaca_django.models import PipelineExecution, TaskExecution
from tests.crash import fires
from tests.crash.fires import Timetable
from tests.crash.graphs import MARK, expected_marks

MOST_PARAMETERS = 10_000
_OPEN_STARTS = {
    TaskStatus.PENDING, TaskStatus.READY, TaskStatus.HELD, TaskStatus.SCHEDULED,
    TaskStatus.RUNNING, TaskStatus.SKIPPED, TaskStatus.COMPLETED,
}  # fmt: skip


@dataclass
class Store:
    """Everything the invariants speak of, read at one moment."""

    runs: dict[str, Any]
    tasks: dict[int, Any]
    by_run: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    moves: list[tuple[int, str, str, str, str]] = field(default_factory=list)
    effects: list[tuple[int, str]] = field(default_factory=list)
    started: list[tuple[int, str]] = field(default_factory=list)
    timetable: Timetable = field(default_factory=lambda: Timetable({}, []))


def read(connection: Any) -> Store:
    """Read the store."""
    store = _rows(PipelineExecution.objects.all(), TaskExecution.objects.all())
    with connection.cursor() as cursor:
        cursor.execute("SELECT seq, kind, row_id, old, new FROM crash_journal ORDER BY seq")
        entries = list(cursor.fetchall())
        cursor.execute("SELECT task_id, token FROM crash_effect")
        store.effects = list(cursor.fetchall())
    store.moves = [entry for entry in entries if entry[1] in ("run", "task")]
    store.timetable = fires.read(store.runs, entries)
    return store


def read_runs(connection: Any, ids: Collection[UUID]) -> Store:
    """Read what concerns some runs, and nothing of schedules: a large store is read in parts."""
    store = _rows(
        PipelineExecution.objects.filter(pk__in=ids), TaskExecution.objects.filter(run_id__in=ids)
    )
    with connection.cursor() as cursor:
        rows = [("run", id) for id in store.runs] + [("task", str(id)) for id in store.tasks]
        store.moves = _found(
            cursor,
            "SELECT seq, kind, row_id, old, new FROM crash_journal WHERE kind = '{}' AND row_id IN",
            rows,
        )
        noted = "SELECT task_id, token FROM {} WHERE task_id IN"
        store.effects = _found(cursor, noted, [("crash_effect", id) for id in store.tasks])
        store.started = _found(cursor, noted, [("crash_started", id) for id in store.tasks])
    store.moves.sort()
    return store


def read_timetable(connection: Any) -> Timetable:
    """Read what schedules did, and the runs that they started."""
    runs = PipelineExecution.objects.filter(origin=Origin.SCHEDULE)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT seq, kind, row_id, old, new FROM crash_journal"
            " WHERE kind IN ('edit', 'fire', 'plan') ORDER BY seq"
        )
        return fires.read({run.id.hex: run for run in runs}, cursor.fetchall())


def _rows(runs: Any, tasks: Any) -> Store:
    store = Store(
        {run.id.hex: run for run in runs},
        {task.id: task for task in tasks.order_by("run_id", "position")},
    )
    for task in store.tasks.values():
        store.by_run[task.run_id.hex].append(task)
    return store


def _found(cursor: Any, query: str, keys: Iterable[tuple[str, Any]]) -> list[Any]:
    """Return what a query finds for keys, which come with what its ``{}`` stands for."""
    found = []
    for word, group in groupby(keys, itemgetter(0)):
        values = [key for _, key in group]
        # SQLite takes 32,766 parameters at most.
        for at in range(0, len(values), MOST_PARAMETERS):
            some = values[at : at + MOST_PARAMETERS]
            cursor.execute(f"{query.format(word)} ({', '.join(['%s'] * len(some))})", some)
            found += cursor.fetchall()
    return found


def always(
    store: Store, started: Iterable[tuple[int, str]] = (), *, cap: int = fires.CAP
) -> list[str]:
    """Return the violations of what holds at every moment.

    ``cap``: how many missed times schedules make up for.
    """
    return [
        *_legal_moves(store), *_ends(store), *_order(store), *_run_status(store),
        *_effects(store), *_bounds(store), *_starts(started),
        *fires.always(store.timetable, cap=cap),
    ]  # fmt: skip


def drained(store: Store, session: Session, expected: Iterable[str] = ()) -> list[str]:
    """Return the violations of what holds once nothing is left to do.

    ``expected`` are the runs whose submission was acknowledged.
    """
    found = [f"I1 run {run} is gone" for run in expected if run not in store.runs]
    for id, run in store.runs.items():
        if run.status not in RUN_FINAL:
            found.append(f"I1 run {id} {run.workflow_name} is left {run.status}")
        else:
            found += _context(store, session, run)
    found += [
        f"I8 task {task.id} {task.name} is left {task.status}"
        for task in store.tasks.values()
        if task.status not in TASK_FINAL
    ]
    return found


def _legal_moves(store: Store) -> list[str]:
    found = []
    for seq, kind, row, old, new in store.moves:
        if kind == "task":
            legal = new in _OPEN_STARTS if not old else new in TASK_MOVES[TaskStatus(old)]
        else:
            legal = not old or new in RUN_MOVES[RunStatus(old)]
        if not legal:
            found.append(f"I5 {kind} {row} moved from {old or 'nothing'} to {new} ({seq})")
    return found


def _ends(store: Store) -> list[str]:
    final = {"task": TASK_FINAL, "run": RUN_FINAL}
    ends = Counter((kind, row) for _, kind, row, _, new in store.moves if new in final[kind])
    return [
        f"{'I6' if kind == 'task' else 'I2'} {kind} {row} ended {times} times"
        for (kind, row), times in ends.items()
        if times > 1
    ]


def _order(store: Store) -> list[str]:
    """A task runs only after everything it depends on ended."""
    ended: dict[str, int] = {}
    found = []
    for seq, kind, row, _, new in store.moves:
        if kind != "task":
            continue
        if new in TASK_FINAL:
            ended.setdefault(row, seq)
        if new != TaskStatus.RUNNING or int(row) not in store.tasks:
            continue
        task = store.tasks[int(row)]
        ids = {one.name: str(one.id) for one in store.by_run[task.run_id.hex]}
        found += [
            f"I7 task {row} {task.name} ran before {name} had ended ({seq})"
            for name in json.loads(task.dependencies)
            if ids[name] not in ended
        ]
    return found


def _run_status(store: Store) -> list[str]:
    found = []
    for id, run in store.runs.items():
        statuses = [task.status for task in store.by_run[id]]
        is_over = all(status in TASK_FINAL for status in statuses)
        if not statuses:
            found.append(f"I1 run {id} has no tasks")
        if (run.status in RUN_FINAL) != is_over:
            found.append(f"I2 run {id} is {run.status} and its tasks are {statuses}")
        if not is_over or run.status == RunStatus.CANCELLED or "timeout" in run.error_message:
            continue
        failed = {TaskStatus.FAILED, TaskStatus.CANCELLED} & set(statuses)
        due = RunStatus.FAILED if failed else RunStatus.COMPLETED
        if run.status != due:
            found.append(f"I2 run {id} is {run.status} and its tasks are {statuses}")
    return found


def _effects(store: Store) -> list[str]:
    """An atomic task's writes are there exactly if it completed, and once, by its last claim."""
    found = []
    counted: Counter[int] = Counter()
    for task_id, token in store.effects:
        counted[task_id] += 1
        task = store.tasks.get(task_id)
        if task is None or task.status != TaskStatus.COMPLETED:
            found.append(f"I4 effect of task {task_id}, which has not completed")
        elif task.claim_token is None or task.claim_token.hex != token:
            found.append(f"I4 effect of task {task_id} by a claim that did not complete it")
    for task in store.tasks.values():
        is_ours = '"atomic"' in task.policy and task.claim_token is not None
        if is_ours and task.status == TaskStatus.COMPLETED and counted[task.id] != 1:
            found.append(f"I3 completed task {task.id} has {counted[task.id]} effects")
    return found


def _bounds(store: Store) -> list[str]:
    return [
        f"I13 task {task.id}: attempt {task.attempt} of {task.max_attempts}"
        for task in store.tasks.values()
        if task.attempt > task.max_attempts
    ]


def _starts(started: Iterable[tuple[int, str]]) -> list[str]:
    return [
        f"I9 claim {claim} was started {times} times"
        for claim, times in Counter(started).items()
        if times > 1
    ]


def _context(store: Store, session: Session, run: Any) -> list[str]:
    tasks = store.by_run[run.id.hex]
    dependencies = {task.name: json.loads(task.dependencies) for task in tasks}
    completed = [task.name for task in tasks if task.status == TaskStatus.COMPLETED]
    result = results.read_result(session, run.id)
    assert result is not None
    seen = result.final_context.to_dict()
    marks = {key: value for key, value in seen.items() if key.startswith(MARK)}
    given = {key: value for key, value in seen.items() if not key.startswith(MARK)}
    found = []
    if marks != expected_marks(dependencies, completed):
        found.append(f"I17 run {run.id.hex}: {marks}, its completed tasks are {completed}")
    if given != decode(run.context):
        found.append(f"I17 run {run.id.hex} lost what it was given: {given}")
    return found
