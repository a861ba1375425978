"""``DatabaseAdmin``: makes and removes tenants, each a schema with a login of its own."""

from __future__ import annotations

import re
import secrets
import string
from dataclasses import dataclass, field

from cloaca_django.dialect import roles, schemas, urls
from cloaca_django.errors import InvalidSchemaName, InvalidTenant, shown

PASSWORD_LENGTH = 32
_ALPHABET = string.ascii_letters + string.digits
# What no client can send, or no URL can hold.
_UNSENDABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class TenantConfig:
    """A tenant as it is to be made. Without a ``password`` one is generated."""

    schema_name: str
    username: str
    password: str | None = field(default="", repr=False)

    def __post_init__(self) -> None:
        for name in ("schema_name", "username", "password"):
            value = getattr(self, name)
            if not isinstance(value, str) and not (name == "password" and value is None):
                raise TypeError(f"TenantConfig: {name} is a str, not {type(value).__name__}")


@dataclass(frozen=True, slots=True)
class TenantCredentials:
    """How a tenant logs in. ``connection_string`` holds the password, percent-encoded."""

    username: str
    password: str = field(repr=False)
    schema_name: str
    connection_string: str = field(repr=False)


class DatabaseAdmin:
    """A login that may create roles and schemas: a superuser, or a role with CREATEROLE and CREATE.

    It holds no connection; each call opens its own.
    """

    def __init__(self, database_url: str) -> None:
        self._url = urls.parse(database_url).with_schemas()

    def __repr__(self) -> str:
        return f"DatabaseAdmin({self._url.redacted})"

    def create_tenant(self, config: TenantConfig) -> TenantCredentials:
        """Make a role and its schema and return how to log in; a failure leaves nothing behind.

        The password is nowhere else: keep it. Raises InvalidTenant for a name or a password that
        is not allowed, ProvisioningFailed for one that is taken and for what the server refuses.
        """
        if not isinstance(config, TenantConfig):
            raise TypeError(f"config must be a TenantConfig, not {type(config).__name__}")
        _check_names("create tenant", config.schema_name, config.username)
        password = config.password or generated_password()
        if _UNSENDABLE.search(password):
            raise InvalidTenant("create tenant", "a password has no control characters")
        roles.create(self._url, schema=config.schema_name, role=config.username, password=password)
        tenant = self._url.for_login(config.username, password)
        return TenantCredentials(
            config.username, password, config.schema_name, tenant.with_password()
        )

    def remove_tenant(self, schema_name: str, username: str) -> None:
        """Drop a tenant's schema with all in it, and its role; its sessions are ended.

        Raises InvalidTenant for what is no name, ProvisioningFailed when one of the two does not
        exist, when they do not belong together, and when the server refuses; nothing is gone then.
        """
        for name in (schema_name, username):
            if not isinstance(name, str):
                raise TypeError(f"remove_tenant: a name is a str, not {type(name).__name__}")
        _check_names("remove tenant", schema_name, username)
        roles.remove(self._url, schema=schema_name, role=username)


def generated_password() -> str:
    """Return a random password of letters and digits, which no URL has to escape."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(PASSWORD_LENGTH))


def _check_names(doing: str, schema_name: str, username: str) -> None:
    try:
        schemas.check_name(schema_name)
    except InvalidSchemaName as error:
        raise InvalidTenant(doing, str(error)) from None
    if broken := roles.broken_rule(username):
        raise InvalidTenant(doing, f"Invalid user name {shown(username)}: {broken}")
