"""A small Django site: the home of the Django-based peers' tasks."""
