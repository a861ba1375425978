"""Graphs as they are stored: a version of a workflow, or a run with its states."""

from __future__ import annotations

import json
from uuid import UUID

from cloaca_django.core.drawing import Node, Picture, of_definition
from cloaca_django.engine import inputs
from cloaca_django.errors import RunNotFound, VersionNotFound
from cloaca_django.models import PipelineExecution, TaskExecution, WorkflowDefinition


def of_version(alias: str, name: str, version: str) -> Picture:
    """Return a stored version of a workflow; the start of a version will do if only one has it.

    Raises VersionNotFound.
    """
    definitions = WorkflowDefinition.objects.using(alias)
    found = list(definitions.of(name, version)[:2])
    if len(found) != 1:
        known = definitions.of(name).values_list("version", flat=True)
        raise VersionNotFound(name, version, known)
    return of_definition(found[0].name, found[0].version, found[0].graph)


def of_run(alias: str, run: UUID | str) -> Picture:
    """Return a run's graph with the state of each task. Raises InvalidIdentifier, RunNotFound."""
    runs = PipelineExecution.objects.using(alias).with_shown_status()
    row = runs.filter(pk=inputs.run_id(run)).first()
    if row is None:
        raise RunNotFound(run)
    tasks = TaskExecution.objects.using(alias).filter(run=row).in_graph_order()
    status: str = row.shown_status
    return Picture(
        row.workflow_name,
        tuple(map(_node, tasks)),
        f"run {row.pk}, {status}, version {row.workflow_version}",
    )


def _node(task: TaskExecution) -> Node:
    return Node(
        task.name,
        tuple(json.loads(task.dependencies)),
        detail=", ".join(_details(task)),
        state=task.status,
    )


def _details(task: TaskExecution) -> list[str]:
    words = []
    if task.attempt > 1:
        words.append(f"attempt {task.attempt}")
    if task.claimed_at and task.finished_at:
        words.append(f"{(task.finished_at - task.claimed_at).total_seconds():.1f} s")
    if task.reason:
        words.append(task.reason)
    return words
