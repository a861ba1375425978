"""The calls of ``DefaultRunner`` that concern schedules, one short method each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from cloaca_django.calls.ground import Ground
from cloaca_django.core import moments, options
from cloaca_django.core.context import Context
from cloaca_django.engine import backfill, declarations, inputs, schedule_reads, timetable
from cloaca_django.errors import CronDisabled, InvalidContextType
from cloaca_django.handles import RunHandle


class ScheduleCalls(Ground):
    """What a runner offers about schedules. Ids are the UUID or its text.

    Schedules are written in the caller's transaction, on the caller's connection. Every call
    raises CronDisabled when the runner's configuration has no cron scheduling.
    """

    def register_cron_workflow(
        self,
        workflow_name: str,
        cron_expression: str,
        timezone: str = "UTC",
        *,
        name: str | None = None,
        **facts: Any,
    ) -> str:
        """Create a schedule and return its id; a ``name`` that exists is changed instead.

        ``facts``: ``context`` (a Context for its runs), ``catchup_policy`` ("all", "latest",
        "skip"), ``overlap_policy`` ("start", "skip"), ``deadline_seconds``, ``start_date`` and
        ``end_date`` (aware), ``queue``, ``priority``, ``enabled``. Raises InvalidCronExpression,
        InvalidTimezone, InvalidOption, UnknownOption, InvalidContext, InvalidParams.
        """
        given = {"cron_expression": cron_expression, "timezone": timezone, "name": name, **facts}
        with self._timetable():
            return str(timetable.register(self.alias, workflow_name, given).pk)

    def register_workflow_instance(
        self,
        workflow_name: str,
        instance_name: str,
        cron_expression: str,
        timezone: str,
        params: Context,
    ) -> str:
        """Create a schedule whose runs start from ``params``; returns its id.

        Its name is ``workflow_name/instance_name``; raises ScheduleExists if that is taken, and
        what ``register_cron_workflow`` raises.
        """
        owner = "register_workflow_instance()"
        if not isinstance(params, Context):
            raise InvalidContextType("$", f"params must be a Context, not {type(params).__name__}")
        workflow = options.text(owner, "workflow_name", workflow_name, low=1, high=255)
        name = options.text(owner, "instance_name", instance_name, low=1, high=255)
        given = {
            "cron_expression": cron_expression, "timezone": timezone, "context": params,
            "name": f"{workflow}/{name}",
        }  # fmt: skip
        with self._timetable():
            made = timetable.register(self.alias, workflow_name, given, owner=owner, replaces=False)
            return str(made.pk)

    def update_cron_schedule(
        self,
        schedule_id: UUID | str,
        cron_expression: str | None = None,
        timezone: str | None = None,
        **facts: Any,
    ) -> None:
        """Change a schedule; what is not given stays. Its next run is planned from now on.

        Raises ScheduleNotFound and what ``register_cron_workflow`` raises.
        """
        times = {"cron_expression": cron_expression, "timezone": timezone}
        given = {**{name: value for name, value in times.items() if value is not None}, **facts}
        with self._timetable():
            timetable.update(self.alias, inputs.schedule_id(schedule_id), given)

    def set_cron_schedule_enabled(
        self, schedule_id: UUID | str, enabled: bool, *, by: str = "", reason: str = ""
    ) -> None:
        """Enable or disable a schedule; what it misses while disabled is not made up for.

        Raises ScheduleNotFound.
        """
        with self._timetable():
            timetable.set_enabled(
                self.alias, inputs.schedule_id(schedule_id), enabled=enabled, by=by, reason=reason
            )

    def delete_cron_schedule(self, schedule_id: UUID | str) -> None:
        """Delete a schedule and its history; runs it started go on. Raises ScheduleNotFound."""
        with self._timetable():
            timetable.delete(self.alias, inputs.schedule_id(schedule_id))

    def get_cron_schedule(self, schedule_id: UUID | str) -> dict[str, Any]:
        """Return a schedule as a dict. Raises ScheduleNotFound."""
        with self._cron_reading():
            return schedule_reads.get_schedule(self.alias, inputs.schedule_id(schedule_id))

    def list_cron_schedules(
        self,
        enabled_only: bool | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> list[dict[str, Any]]:
        """Return schedules as dicts, by workflow and age; without ``limit`` all of them."""
        if enabled_only is not None:
            options.boolean("list_cron_schedules()", "enabled_only", enabled_only)
        with self._cron_reading():
            return schedule_reads.list_schedules(
                self.alias, enabled_only=bool(enabled_only), limit=limit, offset=offset
            )

    def get_cron_execution_history(
        self, schedule_id: UUID | str, limit: int | None = None, offset: int | None = None
    ) -> list[dict[str, Any]]:
        """Return what a schedule fired as dicts, newest time first; 100 without ``limit``."""
        with self._cron_reading():
            return schedule_reads.history(
                self.alias, inputs.schedule_id(schedule_id), limit=limit, offset=offset
            )

    def get_cron_execution_stats(self, since: str | datetime) -> dict[str, Any]:
        """Count what all schedules fired since a moment; ``success_rate`` lies in [0, 1].

        Raises InvalidTimestamp for text that is not ISO 8601.
        """
        moment = moments.read_moment(since)
        with self._cron_reading():
            return schedule_reads.stats(self.alias, moment)

    def trigger_cron_schedule(
        self,
        schedule_id: UUID | str,
        *,
        by: str = "",
        reason: str = "",
        idempotency_key: str | None = None,
    ) -> RunHandle:
        """Start a run of a schedule now, enabled or not; none of its times counts as fired.

        An ``idempotency_key`` that a run of the schedule holds returns that run's.
        """
        with self._cron_reading():
            schedule = timetable.find(self.alias, inputs.schedule_id(schedule_id))
        with self._operating() as session:
            run_id = backfill.trigger(
                session,
                schedule,
                timeout_seconds=self._run_limit(),
                by=by,
                reason=reason,
                idempotency_key=idempotency_key,
            )
        self._wake()
        return self.handle(run_id)

    def backfill(
        self,
        schedule_id: UUID | str,
        start: str | datetime,
        end: str | datetime,
        *,
        by: str = "",
        reason: str = "backfill",
    ) -> list[RunHandle]:
        """Start a run for each time from ``start`` to ``end``, both included, that has none yet.

        Moments as for ``get_cron_execution_stats``; returns handles of the new runs by time.
        Raises ScheduleNotFound, and InvalidOption for a range that is not over or too long.
        """
        first, last = moments.read_moment(start, "start"), moments.read_moment(end, "end")
        with self._cron_reading():
            schedule = timetable.find(self.alias, inputs.schedule_id(schedule_id))
        with self._operating() as session:
            made = backfill.backfill(
                session,
                schedule,
                start=first,
                end=last,
                timeout_seconds=self._run_limit(),
                by=by,
                reason=reason,
            )
        self._wake()
        return [self.handle(run_id) for run_id in made]

    # -- the steps of the above

    def _sync_schedules(self) -> None:
        """Bring in what code declared so far, as a worker of a site does when it starts."""
        if self._has_cron():
            with self._reading():
                declarations.sync(self.alias)

    @contextmanager
    def _cron_reading(self) -> Iterator[None]:
        self._check_open()
        if not self._has_cron():
            raise CronDisabled()
        with self._reading():
            yield

    @contextmanager
    def _timetable(self) -> Iterator[None]:
        """Let the block change schedules, and have this runner's own worker look at them."""
        with self._cron_reading():
            yield
            self._look_at_schedules()
