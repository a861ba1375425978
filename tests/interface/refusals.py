"""Tables of bad input: each line is tried, and every line that is not refused well is named.

One database for a whole table: hundreds of lines need not build hundreds of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cloaca_django.models import (
    CronExecution,
    CronSchedule,
    PipelineExecution,
    TaskExecution,
    Worker,
    WorkflowControl,
    WorkflowDefinition,
)

TABLES = (
    CronExecution,
    CronSchedule,
    PipelineExecution,
    TaskExecution,
    Worker,
    WorkflowControl,
    WorkflowDefinition,
)
LONGEST = 400

# What was called, the call, the exact class of its error, and words of its text.
Line = tuple[object, Callable[[], object], type[Exception], str]


def assert_all_refused(lines: Iterable[Line]) -> None:
    """Try every line; nothing may be written by any of them."""
    wrong, tried = [], 0
    for label, call, kind, words in lines:
        problem = _problem(call, kind, words)
        tried += 1
        if problem:
            wrong.append(f"{label!r:.200}: {problem}")
    assert wrong == []
    assert tried


def _problem(call: Callable[[], object], kind: type[Exception], words: str) -> str:
    before = counts()
    try:
        call()
    except Exception as error:  # whatever else is raised is what the table is for
        text = str(error)
        if type(error) is not kind or words not in text:
            return f"not {kind.__name__} with {words!r} but {type(error).__name__}: {text:.200}"
        if len(text) > LONGEST or not text.isprintable():
            return f"the text is too long or cannot be printed: {text!r:.200}"
    else:
        return "it was not refused"
    return "" if counts() == before else "something was written"


def counts() -> list[int]:
    """Return how many rows each table has."""
    return [table.objects.count() for table in TABLES]
