"""Answers within a time limit, for pages that a dead database must not hang."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

from django.db import connections

Answer = TypeVar("Answer")

_asked: dict[Hashable, Future[Any]] = {}
# Guards the map: of two who ask the same at once one starts the thread.
_lock = threading.Lock()


def within(seconds: float, question: Hashable, answer: Callable[[], Answer]) -> Answer:
    """Return what ``answer`` returns, or raise what it raises. TimeoutError: it takes longer.

    It runs on a thread with connections of its own, which nobody can stop; so whoever asks the same
    ``question`` meanwhile waits for the same answer, and no more than one thread hangs for it.
    """
    with _lock:
        future = _asked.get(question)
        if future is None:
            future = _started(question, answer)
    found: Answer = future.result(timeout=seconds)
    return found


def _started(question: Hashable, answer: Callable[[], Any]) -> Future[Any]:
    future: Future[Any] = Future()
    thread = threading.Thread(
        target=_find, args=(future, question, answer), name="cloaca-deadline", daemon=True
    )
    thread.start()
    _asked[question] = future
    return future


def _find(future: Future[Any], question: Hashable, answer: Callable[[], Any]) -> None:
    found, error = None, None
    try:
        try:
            found = answer()
        finally:
            connections.close_all()
    except BaseException as raised:  # whoever asked hears of it
        error = raised
    # Before it is answered: who asks from now on is to hear of what is, not of what was.
    with _lock:
        _asked.pop(question, None)
    if error is None:
        future.set_result(found)
    else:
        future.set_exception(error)
