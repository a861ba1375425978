"""What is shown of a traceback, and what is folded."""

from __future__ import annotations

import sys
import traceback

import pytest

from cloaca_django.admin.tracebacks import parts_of

OWN = '  File "/srv/shop/workflows.py", line 41, in charge\n    gateway.charge(order)'
LIBRARY = (
    '  File "/usr/lib/python3.11/json/decoder.py", line 355, in decode\n    raise x\n    ^^^^^^^'
)
PACKAGE = (
    '  File "/env/lib/python3.11/site-packages/requests/api.py", line 59, in get\n    return x'
)
HEAD = "Traceback (most recent call last):"
END = "TimeoutError: gateway did not answer\nsecond line"


def shown(*pieces):
    return [(part.text, part.frames) for part in parts_of("\n".join(pieces))]


def test_frames_of_libraries_that_follow_each_other_are_folded_together():
    assert shown(HEAD, LIBRARY, PACKAGE, OWN, LIBRARY, END) == [
        (HEAD, 0), (f"{LIBRARY}\n{PACKAGE}", 2), (OWN, 0), (LIBRARY, 1), (END, 0),
    ]  # fmt: skip


def test_what_has_no_frame_of_the_sites_own_is_left_whole():
    whole = f"{HEAD}\n{LIBRARY}\n{PACKAGE}\n{END}"
    assert shown(whole) == [(whole, 0)]
    assert shown("no traceback at all") == [("no traceback at all", 0)]
    assert shown("") == [("", 0)]


def test_an_error_that_led_to_another_is_split_too():
    between = "\nDuring handling of the above exception, another exception occurred:\n"
    found = shown(HEAD, OWN, END, between, HEAD, PACKAGE, OWN, END)
    assert [frames for _text, frames in found] == [0, 1, 0]


@pytest.mark.parametrize("cut", [1, 7, 40, 90, 150])
def test_no_line_is_lost_wherever_the_beginning_was_cut_off(cut):
    text = "\n".join([HEAD, LIBRARY, OWN, PACKAGE, END])[cut:]
    assert "\n".join(part.text for part in parts_of(text)) == text


def test_the_frames_of_python_and_of_this_package_are_those_of_libraries():
    from cloaca_django.core.context import decode

    try:
        decode("{")
    except ValueError:
        found = parts_of("".join(traceback.format_exception(*sys.exc_info())))
    assert any(part.frames for part in found)
    assert "test_tracebacks.py" in "".join(part.text for part in found if not part.frames)
    assert "context.py" not in "".join(part.text for part in found if not part.frames)
