"""Names of schemas, users and tenants that nobody would give: none gets any further."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from cloaca_django import DatabaseAdmin, TenantConfig
from cloaca_django.dialect import schemas
from tests.fuzz.hostile import CANARY, judged, letters, mixed, things

# Nobody answers there, and nobody is asked: what is fine is told apart before.
NOWHERE = f"postgresql://user:{CANARY}@localhost:1/dbname?connect_timeout=1"
ALLOWED = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}", re.ASCII)
PIECES = [
    "a", "Z", "0", "_", "-", ".", " ", "\n", "\x00", "\ud800", '"', "'", ";", "--", "/*", "$user",
    "public", "pg_", "PG_", "information_schema", "select", ",", "%s", "{}", "\\", "é", "\uff41",
    "\u0661", "\u212a", "x" * 60, "DROP SCHEMA public CASCADE",
]  # fmt: skip
names = mixed(PIECES, most=5) | letters | things


@given(names)
def test_any_name_of_a_schema(name):
    if judged(lambda: schemas.check_name(name)):
        assert ALLOWED.fullmatch(name)
        assert name.lower() not in {"public", "information_schema"}
        assert not name.lower().startswith("pg_")


@given(names, names, st.sampled_from(["", None]) | letters | things)
def test_any_tenant(schema, user, password):
    made = []
    judged(lambda: made.append(TenantConfig(schema, user, password)))
    for config in made:
        assert CANARY not in repr(config) or CANARY in f"{schema} {user}"
        if not (_is_plain(schema) and _is_plain(user)):
            assert not judged(lambda config=config: DatabaseAdmin(NOWHERE).create_tenant(config))


@given(names, names)
def test_any_tenant_that_is_to_go(schema, user):
    if not (_is_plain(schema) and _is_plain(user)):
        assert not judged(lambda: DatabaseAdmin(NOWHERE).remove_tenant(schema, user))


def _is_plain(name: object) -> bool:
    return isinstance(name, str) and ALLOWED.fullmatch(name) is not None
