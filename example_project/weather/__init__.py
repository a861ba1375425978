"""Daily weather observations: models, workflows and pages."""
