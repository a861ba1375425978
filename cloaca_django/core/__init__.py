"""Plain Python: what a workflow is and what its state means. Nothing here knows a database."""
