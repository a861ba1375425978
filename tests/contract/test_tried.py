"""Every kind of bad input that is known has a line in the docs, and a test that exists."""

from __future__ import annotations

import re

from tests.contract.source import ROOT
from tests.contract.test_docs import TEST

PAGE = ROOT / "docs" / "explanation" / "bad-input.md"
# From studies of what breaks engines of this kind. A line may go only together with its number.
KNOWN = """
1 3 4 5 7 8 9 11 12 13 15 16 17 19 20 21 23 24 25 27 28 29 31 32 33 35 36 37 39 40 41 43 44 45 47
48 49 51 52 53 55 56 57 59 60 61 63 64 65 67 68 69 71 72 73 75 76 77 79 80 81 83 84 85 87 88 89 91
92 93 95 96 97 99 100 101 103 104 105 107 108 109 111 112 113 115 116 117 119 120 121 123 124 125
127 128 129 131 132 133 135 136 137 139 140 141 143 144 145 147 148 149 151 152 153 155 156 157 159
160 161 163 164 165 167 168 169 171 172 173 175 176 177 179 180 181 183 184 185 187 188 189 191 192
193 195 196 197 199 200 201 203 204 205 207 208 209 211 212 213 215 216 217 219 220 221 223 224
"""


def lines() -> list[tuple[list[int], str]]:
    """Return the numbers of each line of the page, and where it is tried."""
    found = re.findall(r"^\| (I\d+(?:, I\d+)*) \|.*\|.*\|(.+)\|$", PAGE.read_text(), re.MULTILINE)
    return [([int(one[1:]) for one in ids.split(", ")], tried) for ids, tried in found]


def test_every_known_input_has_one_line_that_says_where_it_is_tried_or_why_not() -> None:
    numbers = [number for ids, _ in lines() for number in ids]
    assert sorted(numbers) == [int(one) for one in KNOWN.split()]
    silent = [ids for ids, tried in lines() if not TEST.search(tried) and "no test: " not in tried]
    assert silent == []


def test_every_test_that_the_page_names_exists() -> None:
    named = list(TEST.finditer(PAGE.read_text()))
    assert len(named) > len(lines())
    missing = [
        match[0]
        for match in named
        if not (ROOT / match["file"]).is_file()
        or (match["test"] and f"def {match['test']}(" not in (ROOT / match["file"]).read_text())
    ]
    assert missing == []
