"""The same runners and people that the tests of the interface have."""

from __future__ import annotations

from tests.interface.admin.conftest import _strict_site, boss
from tests.interface.conftest import database_url, make_runner, workflows_of_test

__all__ = ["_strict_site", "boss", "database_url", "make_runner", "workflows_of_test"]
