"""Puts the dense clock in the place of the walk, and death between the statements of firing."""

from __future__ import annotations

import os
import random
import signal
from typing import Any

from django.apps import AppConfig

# How likely a process dies before one statement of a firing transaction.
DEADLY = 0.03


class DenseConfig(AppConfig):
    """Only in the settings of a process that shall fire densely."""

    name = "tests.crash.dense"

    def ready(self) -> None:
        from cloaca_django.core import cron
        from cloaca_django.dialect import Session, sql_schedules
        from tests.crash.dense import walk

        cron.next_fires = walk.next_fires
        cron.newest_fires = walk.newest_fires
        run = Session.run
        deadly = {sql_schedules.insert_fires, sql_schedules.advance_schedules}

        def dying(session: Session, builder: Any, /, *arguments: Any, **params: Any) -> Any:
            if builder in deadly and random.random() < DEADLY:
                os.kill(os.getpid(), signal.SIGKILL)
            return run(session, builder, *arguments, **params)

        Session.run = dying
