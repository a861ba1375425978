"""The how-to page on schemas: its program runs on a server and prints what the page says."""

from __future__ import annotations

from tests.contract.source import ROOT
from tests.contract.test_code_blocks import blocks, check_output
from tests.tenancy.conftest import needs_server

PAGE = ROOT / "docs" / "how-to" / "schemas.md"
URL = "postgresql://shop:secret@db.internal/shop"


@needs_server
def test_the_page_on_schemas_works(url, role, run_alone, tmp_path):
    login = role()
    found = blocks(PAGE)
    program = "".join(block.code for block in found if block.language == "python")
    printed = "".join(block.code for block in found if block.mark == "printed")
    assert URL in program
    for name, of_test in ((URL, url), ('"initech"', f'"{login}"')):
        program = program.replace(name, of_test)
    said = run_alone(program, tmp_path)
    check_output(printed.replace("'initech'", f"'{login}'").splitlines(), [said], PAGE)
