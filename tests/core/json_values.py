"""Hypothesis strategies for what contexts hold."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
keys = texts.filter(bool)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
contexts = st.dictionaries(keys, values, max_size=5)

# Few keys and few values, so that tasks meet; and values that Python thinks equal.
_few: st.SearchStrategy[Any] = st.sampled_from(
    [0, 1, True, 1.0, None, "1", [], [1], [1, 2], [True], [2, [1]], {}]
)
meeting_keys = st.sampled_from("abc")
meeting_values = st.recursive(
    _few, lambda inner: st.dictionaries(meeting_keys, inner, max_size=3), max_leaves=5
)
meeting_contexts = st.dictionaries(meeting_keys, meeting_values, max_size=3)


def fresh(value: Any) -> Any:
    """Return a copy that shares nothing, not even within itself as deepcopy's would."""
    if isinstance(value, dict):
        return {key: fresh(item) for key, item in value.items()}
    if isinstance(value, list):
        return [fresh(item) for item in value]
    return value


def exact(value: Any) -> Any:
    """Return a form in which 1, 1.0 and True differ, and 0.0 and -0.0; order of keys counts not."""
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    if isinstance(value, list):
        return [exact(item) for item in value]
    return type(value).__name__, repr(value)
