"""What the dense schedules start."""

from __future__ import annotations

import cloaca_django as cloaca

with cloaca.WorkflowBuilder("dense"):

    @cloaca.task(id="only", dependencies=[])
    def only(context: cloaca.Context) -> None:
        """Say for which time it ran."""
        context["ran_for"] = context["scheduled_time"]
