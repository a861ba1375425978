"""The sweep and the retention for many tenants: only where there is somebody to give up.

A schema is watched while a worker is registered in it, or a task is left of one that was. Old runs
are deleted in one tenant after another.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection

from cloaca_django import clock
from cloaca_django.dialect import DRIVER_ERRORS, Trunk, is_disconnected, sql_tenants
from cloaca_django.engine import notices
from cloaca_django.engine.retention import Keeper
from cloaca_django.engine.upkeep import Sweep
from cloaca_django.errors import NotInTenant

logger = logging.getLogger("cloaca_django.worker")

# How often the old runs of one tenant are deleted.
RETENTION_SECONDS = 60.0


class TenantUpkeep:
    """Remembers what is due where. The heartbeats' thread tends; others may ``watch``."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._watched: dict[str, Sweep] = {}
        self._round: list[str] = []
        self._next_keep = clock.monotonic() + RETENTION_SECONDS
        # Guards the map of watched schemas.
        self._lock = threading.Lock()

    def watch(self, schema: str) -> None:
        """Sweep a schema from now on: a worker may be registered there."""
        if schema not in self._watched:
            with self._lock:
                self._watched.setdefault(schema, Sweep())

    def forget(self, schema: str) -> None:
        """Sweep a schema no more."""
        with self._lock:
            self._watched.pop(schema, None)

    def seconds_to_next(self) -> float:
        """Return when the next sweep is due, of whichever schema."""
        sweeps = list(self._watched.values())
        return min((sweep.seconds_to_next() for sweep in sweeps), default=float("inf"))

    def postpone(self) -> None:
        """Give nobody up before a lease has passed; see ``Sweep``."""
        for sweep in list(self._watched.values()):
            sweep.postpone()

    def tend(self, trunk: Trunk, schemas: Collection[str]) -> list[str]:
        """Do what is due; returns the schemas in which runs moved on by it."""
        moved = [schema for schema in list(self._watched) if self._sweep(trunk, schema)]
        self._keep(trunk, schemas)
        return moved

    def _sweep(self, trunk: Trunk, schema: str) -> bool:
        sweep = self._watched.get(schema)
        if sweep is None or not sweep.is_due():
            return False
        try:
            session = trunk.session(schema)
            with notices.within(self._alias, schema):
                moved = sweep.carry_out(session)
            if not session.run(sql_tenants.needs_sweep)[0][0]:
                self.forget(schema)
        except NotInTenant:
            self.forget(schema)
            return False
        except DRIVER_ERRORS as error:
            # What is amiss with one tenant must not keep the others from being swept.
            if is_disconnected(error):
                raise
            logger.warning("%r could not be swept: %s", schema, error, extra={"schema": schema})
            return False
        return moved

    def _keep(self, trunk: Trunk, schemas: Collection[str]) -> None:
        now = clock.monotonic()
        if now < self._next_keep:
            return
        self._next_keep = now + RETENTION_SECONDS
        self._round = self._round or sorted(schemas, reverse=True)
        if not self._round:
            return
        schema = self._round.pop()
        try:
            if Keeper().tend(trunk.session(schema)):
                # A heartbeat has room for some of them only.
                self._round.append(schema)
                self._next_keep = now
        except NotInTenant:
            return
