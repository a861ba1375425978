"""Which tenants a worker serves, which it skips and why, and whom it visits next."""

from __future__ import annotations

import logging
import threading

from cloaca_django import tenancy
from cloaca_django.dialect import Session, Trunk
from cloaca_django.engine.shift import TenantOptions

logger = logging.getLogger("cloaca_django.worker")

# How often the tenants are read, and those that are skipped are tried again.
REFRESH_SECONDS = 5.0


class Register:
    """The tenants as one worker knows them. The turns' thread owns it; others may ``expect``."""

    def __init__(self, alias: str, served: TenantOptions) -> None:
        self._alias = alias
        self._served = served
        self._admitted: dict[str, None] = {}
        self._skipped: dict[str, str] = {}
        # Which reasons the log has.
        self._said: dict[str, str] = {}
        # In the order in which they are to be visited; dicts, because those keep it.
        self._unvisited: dict[str, None] = {}
        self._walk: list[str] = []
        self._next_refresh = 0.0
        self.is_read = False
        # Guards what the listener's thread writes.
        self._lock = threading.Lock()
        self._must_refresh = True
        self._must_visit_all = False

    # -- for every thread

    def expect(self, schema: str) -> None:
        """Look soon whether there is a new tenant of that name."""
        if self._served.serves(schema):
            with self._lock:
                self._must_refresh = True

    def visit_all(self) -> None:
        """Let everybody be visited again."""
        with self._lock:
            self._must_visit_all = self._must_refresh = True

    def admitted(self) -> list[str]:
        """Return the schemas that are served."""
        return list(self._admitted)

    def skipped(self) -> dict[str, str]:
        """Return why schemas are not served."""
        return dict(self._skipped)

    # -- for the turns' thread

    def has_unvisited(self) -> bool:
        """Say whether somebody is to be visited now."""
        return bool(self._unvisited) or self._must_refresh

    def refresh(self, trunk: Trunk, now: float) -> list[str]:
        """Read the tenants, if it is time to; returns the schemas of those that are gone."""
        with self._lock:
            is_asked, self._must_refresh = self._must_refresh, False
            visits_all, self._must_visit_all = self._must_visit_all, False
        if now < self._next_refresh and not is_asked:
            return []
        try:
            names = self._read(trunk)
        except BaseException:
            with self._lock:
                self._must_refresh = True
                self._must_visit_all |= visits_all
            raise
        self._next_refresh = now + REFRESH_SECONDS
        self.is_read = True
        known = {**self._admitted, **self._skipped, **self._unvisited}
        gone = [schema for schema in known if schema not in names]
        for schema in gone:
            logger.info("schema %r is served no more", schema, extra={"schema": schema})
            self._forget(schema)
        for schema in names:
            if visits_all or schema not in self._admitted:
                self._unvisited.setdefault(schema)
        return gone

    def _read(self, trunk: Trunk) -> set[str]:
        session = trunk.session(tenancy.public_schema())
        rows = session.transport.execute(tenancy.list_statement(self._alias), {})
        return {
            name
            for (name,) in rows
            if name != tenancy.public_schema() and self._served.serves(name)
        }

    def next_visit(self) -> str | None:
        """Return whom to visit now: who has not been yet, or who is next in the round."""
        if self._unvisited:
            schema = next(iter(self._unvisited))
            del self._unvisited[schema]
            return schema
        while True:
            if not self._walk:
                self._walk = list(reversed(self._admitted))
                if not self._walk:
                    return None
            schema = self._walk.pop()
            if schema in self._admitted:
                return schema

    def is_admitted(self, schema: str) -> bool:
        """Say whether a schema is served."""
        return schema in self._admitted

    def missing_migrations(self, session: Session, schema: str) -> str:
        """Return which of our migrations a schema lacks, that is not served yet."""
        if schema in self._admitted:
            return ""
        return ", ".join(tenancy.missing_migrations(session))

    def admit(self, schema: str) -> None:
        """Serve a schema."""
        self._skipped.pop(schema, None)
        if self._said.pop(schema, None) is not None:
            logger.info("schema %r is served now", schema, extra={"schema": schema})
        self._admitted.setdefault(schema)

    def skip(self, schema: str, reason: str, *, may_pass: bool = False) -> None:
        """Serve a schema no more, until a later visit finds it in order. Said once a reason.

        With ``may_pass`` it is said when it is found again: a tenant is being made, or dropped.
        """
        self._admitted.pop(schema, None)
        is_new = self._skipped.get(schema) != reason
        self._skipped[schema] = reason
        if is_new and may_pass:
            return
        if self._said.get(schema) != reason:
            self._said[schema] = reason
            logger.warning("schema %r is skipped: %s", schema, reason, extra={"schema": schema})

    def postpone(self, schema: str) -> None:
        """Visit somebody again as soon as the database can be asked."""
        self._unvisited.setdefault(schema)

    def lose(self, schema: str) -> None:
        """Serve a schema no more that was found gone; whether its tenant is, is asked at once.

        A tenant that was dropped is nothing to warn of.
        """
        self._admitted.pop(schema, None)
        with self._lock:
            self._must_refresh = True

    def _forget(self, schema: str) -> None:
        for where in (self._admitted, self._skipped, self._said, self._unvisited):
            where.pop(schema, None)
