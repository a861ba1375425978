"""What the outside learns of a commit: one log record a transition, and the site's signals."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from django.db import connections
from django.dispatch import Signal

from cloaca_django import signals
from cloaca_django.core.states import TaskStatus
from cloaca_django.engine.execution import tidy_connections
from cloaca_django.engine.messages import Effects
from cloaca_django.engine.settlement import Outcome

run_log = logging.getLogger("cloaca_django.run")
task_log = logging.getLogger("cloaca_django.task")


def publish(effects: Effects) -> None:
    """Log and signal what a committed transaction did."""
    names = {state.id: state for state in effects.settled.states}
    for outcome in effects.settled.accepted:
        state = names.get(outcome.run_id)
        workflow = state.workflow_name if state else ""
        task = state.tasks[outcome.position].name if state else str(outcome.task_id)
        _publish_task(workflow, task, outcome)
    for state, _ in effects.settled.finished:
        run_log.info(
            "run %s", state.status.lower(),
            extra={"run_id": str(state.id), "workflow": state.workflow_name,
                   "status": str(state.status)},
        )  # fmt: skip
        _send(
            signals.run_finished, state.workflow_name, run_id=state.id,
            status=str(state.status), error_message=state.error_message,
        )  # fmt: skip


def _publish_task(workflow: str, task: str, outcome: Outcome) -> None:
    facts = {
        "run_id": str(outcome.run_id), "task_id": outcome.task_id, "task": task,
        "workflow": workflow, "attempt": outcome.attempt,
    }  # fmt: skip
    failure = outcome.failure
    if failure is None:
        if outcome.status is TaskStatus.COMPLETED:
            task_log.debug("task completed", extra=facts)
            _send(signals.task_completed, workflow, run_id=outcome.run_id, task=task,
                  attempt=outcome.attempt)  # fmt: skip
        return
    will_retry = outcome.status is not TaskStatus.FAILED
    task_log.warning(
        "task %s", "will be retried" if will_retry else "failed",
        extra=facts | {"error": failure.message},
    )  # fmt: skip
    _send(
        signals.task_failed, workflow, run_id=outcome.run_id, task=task,
        attempt=outcome.attempt, error=failure.message, will_retry=will_retry,
    )  # fmt: skip


class Courier:
    """Sends signals in order on one thread, which ends when nothing is left to send."""

    def __init__(self) -> None:
        self._pending: deque[Callable[[], object]] = deque()
        self._lock = threading.Lock()
        self._is_running = False

    def send(self, signal: Signal, sender: str, **facts: object) -> None:
        """Send soon; an exception of a receiver is logged by Django and goes no further."""
        with self._lock:
            self._pending.append(lambda: signal.send_robust(sender, **facts))
            if self._is_running:
                return
            self._is_running = True
        threading.Thread(target=self._deliver, name="cloaca-signals", daemon=True).start()

    def _deliver(self) -> None:
        while True:
            with self._lock:
                if not self._pending:
                    self._is_running = False
                    break
                send = self._pending.popleft()
            tidy_connections()
            send()
        connections.close_all()


_courier = Courier()


def _send(signal: Signal, sender: str, **facts: object) -> None:
    if signal.receivers:
        _courier.send(signal, sender, **facts)
