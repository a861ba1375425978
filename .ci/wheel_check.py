"""Run a workflow with the installed wheel, in a folder that holds nothing else."""

from importlib import resources

import cloaca_django as cloaca

with cloaca.WorkflowBuilder("greeting") as builder:
    builder.description("Says hello")

    @cloaca.task(id="greet")
    def greet(context: cloaca.Context) -> cloaca.Context:
        """Add a greeting."""
        context.set("greeting", f"Hello, {context.get('name')}")
        return context


with cloaca.DefaultRunner("sqlite:///wheel.db") as runner:
    result = runner.execute("greeting", cloaca.Context({"name": "wheel"}))

if result.status != "Completed" or result.final_context.get("greeting") != "Hello, wheel":
    raise SystemExit(f"unexpected result: {result!r}")
if not resources.files("cloaca_django").joinpath("py.typed").is_file():
    raise SystemExit("py.typed is missing from the wheel")
print("the wheel works")  # noqa: T201
