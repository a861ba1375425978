"""Stage 1 for many runs of one workflow: what they share is sent once, not once a run."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from uuid import UUID

from cloaca_django import ids
from cloaca_django.core.context import Context
from cloaca_django.core.workflow import Workflow
from cloaca_django.dialect import Session
from cloaca_django.engine import submission
from cloaca_django.engine.submission import Options, Submission

# What one statement takes: memory stays bounded on both sides however many runs there are.
CHUNK_RUNS = 2_000
CHUNK_BYTES = 4 << 20


def takes(session: Session, workflow: Workflow) -> bool:
    """Say whether runs of a workflow all begin alike, whatever their contexts are."""
    roots = (task for task in workflow.tasks if not task.dependencies)
    return session.repeats_runs and all(task.rule is None for task in roots)


def submit(
    session: Session,
    workflow: Workflow,
    contexts: Iterable[Context],
    options: Options,
    *,
    traceparent: str | None = None,
) -> list[UUID]:
    """Write one run per context, all or none, and announce them; returns their ids in order."""
    model = Submission(UUID(int=0), workflow, {}, "{}", options, traceparent)
    run, tasks = submission.pattern(model)
    news = submission.news_of([model])
    texts = (submission.encoded(workflow, context)[1] for context in contexts)
    chunks = _chunks(texts)
    first = list(itertools.islice(chunks, 2))
    written: list[UUID] = []
    # One statement is a transaction by itself.
    with session.transaction() if len(first) > 1 else nullcontext():
        for chunk in itertools.chain(first, chunks):
            keys = [ids.new_run_id() for _ in chunk]
            session.insert_alike(run, tasks, keys, chunk, news=None if written else news)
            written += keys
    return written


def _chunks(texts: Iterator[str]) -> Iterator[list[str]]:
    while chunk := list(_chunk(texts)):
        yield chunk


def _chunk(texts: Iterator[str]) -> Iterator[str]:
    size = 0
    for text in itertools.islice(texts, CHUNK_RUNS):
        yield text
        size += len(text)
        if size > CHUNK_BYTES:
            return
