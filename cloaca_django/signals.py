"""Signals for the site's code. The package itself listens to none of them.

They are sent after the commit that made them true, on one callback thread, at most once: a crash in
between loses them, so work that must happen belongs in a task. ``sender`` is the workflow's name.
"""

from __future__ import annotations

from django.dispatch import Signal

# run_id: UUID, status: str, error_message: str
run_finished = Signal()
# run_id: UUID, task: str, attempt: int
task_completed = Signal()
# run_id: UUID, task: str, attempt: int, error: str, will_retry: bool
task_failed = Signal()
# schedule_id: UUID, error: str; the sender is the schedule's id as text
schedule_parked = Signal()
