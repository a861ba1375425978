"""Who the tenants are, and at which hosts. In ``public``: nothing here belongs to one tenant."""

from __future__ import annotations

from django.db import models
from django_tenants.models import DomainMixin, TenantMixin


class Tenant(TenantMixin):  # type: ignore[misc]  # django-tenants ships no types
    """A company that watches its weather. Saving a new one makes and migrates its schema."""

    name = models.CharField(max_length=100)
    # Deleting the row drops the schema: right for an example, a decision for a site.
    auto_drop_schema = True

    def __str__(self) -> str:
        return self.name


class Domain(DomainMixin):  # type: ignore[misc]
    """A host at which a tenant's site is."""
