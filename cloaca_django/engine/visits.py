"""The walk of one worker through its tenants: who is there, is in order, and has something to do.

It finds what nobody announced: new tenants and those that are gone, migrations that were applied,
schedules that code declares. What one tenant is not in order with keeps no other waiting.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from django.db import Error as DjangoError
from django.db import connections

from cloaca_django import clock, tenancy
from cloaca_django.dialect import DRIVER_ERRORS, Trunk, in_short
from cloaca_django.dialect.rows import Visit
from cloaca_django.engine import declarations, firing, salvage
from cloaca_django.engine.registers import Register
from cloaca_django.errors import CloacaError, NotInTenant

logger = logging.getLogger("cloaca_django.worker")

# How often one tenant is visited that nobody announced anything of.
VISIT_SECONDS = 3.0
# Until tenants are visited again when the database could not be asked.
AGAIN_SECONDS = 1.0

_AWAY: tuple[type[Exception], ...] = (*DRIVER_ERRORS, DjangoError)


@dataclass(slots=True)
class Walked:
    """What a step of the walk came to: tenants that are gone, and one that was found in order."""

    gone: list[str] = field(default_factory=list)
    schema: str = ""
    found: Visit | None = None


class Walk:
    """Visits one tenant at a time. The turns' thread owns it; ``fires`` brings schedules in."""

    def __init__(self, alias: str, register: Register, trunk: Trunk, *, fires: bool) -> None:
        self._alias = alias
        self._register = register
        self._trunk = trunk
        self._fires = fires
        self._next_visit = 0.0
        self._not_before = 0.0

    @property
    def next_moment(self) -> float:
        """Return when somebody is to be visited, on the monotonic clock."""
        return max(self._not_before, 0.0 if self._register.has_unvisited() else self._next_visit)

    def step(self) -> Walked:
        """Visit the next that nobody has visited yet, or the next in the round."""
        now = clock.monotonic()
        self._next_visit = now + VISIT_SECONDS
        walked = Walked()
        try:
            walked.gone += self._register.refresh(self._trunk, now)
            schema = self._register.next_visit()
            if schema is not None:
                self._visit(schema, walked)
        except _AWAY:
            # The database is away. Turns have a patience of their own, and are not kept waiting.
            logger.warning("tenants could not be visited; trying again", exc_info=True)
            self._not_before = clock.monotonic() + AGAIN_SECONDS
        if not self._register.has_unvisited():
            # The declared schedules came in through Django's own.
            connections[self._alias].close()
        return walked

    def _visit(self, schema: str, walked: Walked) -> None:
        try:
            found = self._asked(schema)
            if found is not None and not self._register.is_admitted(schema):
                self._sync_schedules(schema)
        except Exception as error:
            self._take_failure(schema, error, walked)
            return
        if found is not None:
            self._register.admit(schema)
            walked.schema, walked.found = schema, found

    def _asked(self, schema: str) -> Visit | None:
        """Ask a schema what there is to do; None if it cannot be served."""
        session = self._trunk.session(schema)
        with session.transaction(durable=False):
            missing = self._register.missing_migrations(session, schema)
            if missing:
                self._register.skip(schema, f"migrations are not applied: {missing}")
                return None
            return session.visit(firing.known_names(), patience=firing.STRANGER_SECONDS)

    def _sync_schedules(self, schema: str) -> None:
        if not self._fires or not declarations.declared_schedules():
            return
        try:
            with tenancy.entered(self._alias, schema):
                declarations.sync(self._alias)
        except NotInTenant:
            # That passes, or the schema is gone.
            raise
        except CloacaError as error:
            logger.error("schedules of %r are not brought in: %s", schema, error)  # noqa: TRY400 - it says all

    def _take_failure(self, schema: str, error: Exception, walked: Walked) -> None:
        """Decide what an error means: nobody else is to wait for a tenant that is not in order."""
        connections[self._alias].close()
        if isinstance(error, NotInTenant) and self._register.is_admitted(schema):
            self._register.lose(schema)
            walked.gone.append(schema)
            return
        verdict = salvage.verdict(error)
        if verdict is salvage.Verdict.LOST:
            self._register.postpone(schema)
            raise error
        if verdict is salvage.Verdict.BROKEN:
            may_pass = isinstance(error, NotInTenant)
            self._register.skip(schema, in_short(error), may_pass=may_pass)
        # Else its tables are locked, as while it is migrated: it has its turn in a later round.
