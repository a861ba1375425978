"""The hard stops on length. Reviewers do not enforce them, so this does."""

from __future__ import annotations

import ast

from tests.contract.source import hand_written_files, name_of, syntax

LINES_OF_A_FUNCTION = 50
LINES_OF_A_FILE = 450


def test_no_function_is_longer_than_a_page():
    found = [
        f"{name_of(file)}:{node.lineno} {node.name}: {node.end_lineno - node.lineno + 1} lines"
        for file in hand_written_files()
        for node in ast.walk(syntax(file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno >= LINES_OF_A_FUNCTION
    ]
    assert found == []


def test_no_file_is_longer_than_one_reads():
    lengths = {name_of(file): len(file.read_text().splitlines()) for file in hand_written_files()}
    assert {name: lines for name, lines in lengths.items() if lines > LINES_OF_A_FILE} == {}


def test_no_file_is_called_by_what_it_is_not():
    vague = {"utils", "helpers", "common", "manager", "managers", "base", "services", "misc"}
    assert [name_of(file) for file in hand_written_files() if file.stem in vague] == []
