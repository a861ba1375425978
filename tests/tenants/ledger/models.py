from __future__ import annotations

from django.db import models


class Mark(models.Model):
    """One row of one tenant. It names the tenant, so that a stray one is recognised."""

    tenant = models.CharField(max_length=63)
    text = models.CharField(max_length=200)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "text"], name="ledger_mark_once"),
            models.CheckConstraint(condition=~models.Q(tenant="public"), name="ledger_not_public"),
        ]
        indexes = [models.Index(fields=["text"], name="ledger_text")]

    def __str__(self) -> str:
        return f"{self.tenant}: {self.text}"
