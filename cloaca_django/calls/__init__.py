"""Groups of the calls of ``DefaultRunner``, which puts them together."""
