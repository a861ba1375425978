"""The how-to page on tenants: the site it builds, on a server, prints what the page says."""

from __future__ import annotations

import pytest

from tests.contract.source import ROOT
from tests.contract.test_code_blocks import TENANTS, work_through
from tests.tenants.test_example import environment

__all__ = ["environment"]

PAGES = [page for page in (ROOT / "docs").rglob("*.md") if TENANTS in page.read_text()]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_says_works(page, environment, tmp_path):
    # Without a host the path of a socket is taken as Django's settings take it.
    url = environment["DATABASE_URL"].replace("@localhost/", "@/")
    work_through(page, tmp_path, DATABASE_URL=url, TEST_DATABASE="", CLOACA_TESTS_URL="")
