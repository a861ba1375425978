"""What the tests' tenants run: bodies that write rows of their tenant's, by the path alone."""

from __future__ import annotations

from django.db import connection

from cloaca_django import Context, WorkflowBuilder, task
from tests.tenants.ledger.models import Mark

with WorkflowBuilder("mark", params={"tenant": str, "text": str}):

    @task(id="write", atomic=True)
    def write(context: Context) -> None:
        """Write the row that the context asks for, wherever the engine has put this thread."""
        Mark.objects.create(tenant=context["tenant"], text=context["text"])

    @task(id="look", dependencies=[write])
    def look(context: Context) -> None:
        """Tell where this thread is, and whose rows it sees."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_schema()")
            context["schema"] = cursor.fetchone()[0]
        context["sees"] = sorted(set(Mark.objects.values_list("tenant", flat=True)))
