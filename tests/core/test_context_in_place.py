"""Lists and dicts that come out of a context are its own: changed in place, they change it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloaca_django.core.context import Context, decode_writes, encode_writes
from cloaca_django.core.merge import Contribution, Write, apply, diff, fold
from cloaca_django.errors import InvalidContext, InvalidContextType

from .json_values import contexts, exact, fresh, meeting_contexts, meeting_keys, meeting_values


def shop() -> dict[str, Any]:
    """What a task receives: shared with the engine and with other tasks."""
    return {"items": [1, [2]], "order": {"lines": [{"sku": "a"}], "total": 1}, "n": 1}


READS: dict[str, Callable[[Context], Any]] = {
    "an item": lambda context: context["items"],
    "get": lambda context: context.get("items"),
    "values": lambda context: next(iter(context.values())),
    "items": lambda context: dict(context.items())["items"],
    "a dict of it": lambda context: {**context}["items"],
}


@pytest.mark.parametrize("way", sorted(READS))
def test_what_is_read_is_the_contexts_own_and_always_the_same(way: str) -> None:
    base = shop()
    context = Context.trusted(base)
    READS[way](context).append(3)
    READS[way](context)[1].append(4)
    assert READS[way](context) is context["items"] is context.get("items")
    assert context["items"] == [1, [2, 4], 3]
    assert context == {**shop(), "items": [1, [2, 4], 3]}
    assert context.writes_since(base) == (Write(("items",), [1, [2, 4], 3]),)
    assert base == shop()


def test_the_writes_name_the_paths_that_changed() -> None:
    base = shop()
    context = Context.trusted(base)
    context["order"]["total"] += 1
    context["order"]["note"] = {"by": "ann"}
    del context["order"]["lines"]
    assert set(map(repr, context.writes_since(base))) == set(
        map(repr, diff(base, {**base, "order": {"total": 2, "note": {"by": "ann"}}}))
    )
    assert base == shop()


UNCHANGED: dict[str, Callable[[Context], object]] = {
    "read only": lambda context: (context["items"], context["order"]),
    "everything read": lambda context: list(context.items()),
    "changed and back": lambda context: (context["items"].append(1), context["items"].pop()),
    "another order of keys": lambda context: context["order"].update(
        lines=context["order"].pop("lines")
    ),
    "a tuple for its list": lambda context: context["items"].__setitem__(1, (2,)),
    "set as it is": lambda context: context.set("items", context["items"]),
}


@pytest.mark.parametrize("act", sorted(UNCHANGED))
def test_what_is_as_it_was_received_is_no_write(act: str) -> None:
    base = shop()
    context = Context.trusted(base)
    UNCHANGED[act](context)
    assert context.writes_since(base) == ()
    assert context.copy().writes_since(base) == ()


def test_one_and_one_point_naught_and_true_are_different_writes() -> None:
    base = {"a": [1], "b": [1.0], "c": [0.0]}
    context = Context.trusted(base)
    context["a"][0], context["b"][0], context["c"][0] = True, 1, -0.0
    assert exact(apply(base, context.writes_since(base))) == exact(
        {"a": [True], "b": [1], "c": [-0.0]}
    )
    assert exact(base) == exact({"a": [1], "b": [1.0], "c": [0.0]})


def test_a_value_that_was_set_is_the_contexts_own_too() -> None:
    given_list = [1]
    context = Context({"a": given_list})
    context["b"] = given_list
    context["a"].append(2)
    context["b"].append(3)
    assert given_list == [1]
    assert context == {"a": [1, 2], "b": [1, 3]}


def test_setting_the_very_list_that_came_out_keeps_it() -> None:
    context = Context({"a": [1]})
    held = context["a"]
    context["a"] += [2]
    held.append(3)
    assert context["a"] is held
    assert context == {"a": [1, 2, 3]}


@pytest.mark.parametrize(
    "replace",
    [
        lambda context: context.set("a", [9]),
        lambda context: context.update_from_dict({"a": [9]}),
        lambda context: context.update_from_dict(Context({"a": [9]})),
        lambda context: (context.remove("a"), context.insert("a", [9])),
    ],
)
def test_what_was_read_before_a_key_was_replaced_belongs_to_nobody(replace: Any) -> None:
    context = Context({"a": [1]})
    held = context["a"]
    replace(context)
    held.append(2)
    assert context == {"a": [9]}


def test_what_is_removed_is_no_longer_shared_with_anybody() -> None:
    base = shop()
    context = Context.trusted(base)
    context["items"].append(3)
    context.remove("items").append(4)
    context.remove("order")["lines"].clear()
    assert base == shop()
    assert {write.path for write in context.writes_since(base)} == {("items",), ("order",)}
    assert context == {"n": 1}


REFUSED: list[tuple[Callable[[Context], object], type[Exception], str]] = [
    (lambda c: c["items"].append({1}), InvalidContextType, r"\$\.items\[2\]: unsupported type"),
    (lambda c: c["items"].append(float("nan")), InvalidContext, r"\$\.items\[2\]: nan is not JSON"),
    (
        lambda c: c["order"]["lines"][0].update({1: 2}),
        InvalidContextType,
        r"\$\.order\.lines\[0\]: keys must be str",
    ),
    (lambda c: c["items"].append(c["items"]), InvalidContext, "depth over 64"),
]


@pytest.mark.parametrize(("put", "kind", "text"), REFUSED)
def test_what_json_cannot_hold_is_found_where_the_context_is_used(
    put: Any, kind: type[Exception], text: str
) -> None:
    base = shop()
    context = Context.trusted(base)
    put(context)
    uses: list[Callable[[], object]] = [
        lambda: context.writes_since(base), context.snapshot, context.to_json, context.to_dict,
        context.copy, lambda: Context(context), lambda: pickle.dumps(context),
        lambda: Context().update_from_dict(context),
    ]  # fmt: skip
    for use in uses:
        with pytest.raises(kind, match=text):
            use()
    assert "Invalid context" in repr(context)
    assert base == shop()


def test_a_snapshot_and_writes_do_not_change_any_more() -> None:
    base = shop()
    context = Context.trusted(base)
    context["items"].append([3])
    snapshot, writes = context.snapshot(), context.writes_since(base)
    context["items"][2].append(4)
    context["items"].clear()
    assert snapshot["items"] == [1, [2], [3]]
    assert writes == (Write(("items",), [1, [2], [3]]),)
    assert snapshot["order"] is base["order"]


@pytest.mark.parametrize(
    "twin_of",
    [
        copy.copy, copy.deepcopy, Context.copy, Context, lambda c: pickle.loads(pickle.dumps(c)),
        lambda c: Context.from_json(c.to_json()), lambda c: Context(c.to_dict()),
    ],
)  # fmt: skip
def test_copies_take_the_changes_and_share_nothing(twin_of: Any) -> None:
    base = shop()
    context = Context.trusted(base)
    context["items"].append([3])
    twin = twin_of(context)
    assert twin == context
    twin["items"][2].append(4)
    context["order"]["lines"].append(5)
    assert context["items"] == [1, [2], [3]]
    assert twin["order"] == shop()["order"]
    expected = {**shop(), "items": [1, [2], [3, 4]]}
    assert apply(base, twin.writes_since(base)) == expected
    assert base == shop()


# Properties


def changed_in_place(data: Any, draw: Any) -> None:
    """Change something inside of ``data``, which is a dict or a context."""
    holder, key = data, draw(meeting_keys)
    while isinstance(holder.get(key), dict) and draw(st.booleans()):
        holder, key = holder[key], draw(meeting_keys)
    inner = holder.get(key)
    if isinstance(inner, list) and draw(st.booleans()):
        inner.append(fresh(draw(meeting_values)))
    elif key not in holder or draw(st.booleans()):
        holder[key] = fresh(draw(meeting_values))
    else:
        del holder[key]


class Twice:
    """Draws once and gives it again, so that the same is done to a context and to a dict."""

    def __init__(self, draw: Any) -> None:
        self._draw = draw
        self._drawn: list[Any] = []
        self._at: int | None = None

    def __call__(self, strategy: Any) -> Any:
        if self._at is None:
            self._drawn.append(self._draw(strategy))
            return self._drawn[-1]
        self._at += 1
        return self._drawn[self._at - 1]

    def again(self) -> Twice:
        self._at = 0
        return self


def worked_on(seen: dict[str, Any], draw: Any) -> tuple[Context, dict[str, Any]]:
    """Return a context after some changes, and a plain dict after the same."""
    context, plain = Context.trusted(seen), fresh(seen)
    for _ in range(draw(st.integers(0, 4))):
        twice = Twice(draw)
        changed_in_place(plain, twice)
        changed_in_place(context, twice.again())
    return context, plain


@given(st.data())
def test_a_context_behaves_as_a_dict_and_never_changes_what_it_received(data: Any) -> None:
    seen = data.draw(meeting_contexts)
    before = exact(seen)
    context, plain = worked_on(seen, data.draw)
    assert exact(context.to_dict()) == exact(plain)
    writes = decode_writes(encode_writes(context.writes_since(seen)))
    assert exact(apply(seen, writes)) == exact(plain)
    assert sorted(map(repr, writes)) == sorted(map(repr, diff(seen, plain)))
    assert exact(seen) == before


@given(contexts)
def test_reading_everything_is_no_write(data: dict[str, Any]) -> None:
    context = Context.trusted(data)
    assert exact(dict(context.items())) == exact(data)
    assert context.writes_since(data) == ()
    assert all(context.snapshot()[key] is value for key, value in data.items())


@given(st.data())
def test_branches_that_work_in_place_merge_as_those_that_set(data: Any) -> None:
    initial = data.draw(meeting_contexts)
    before = exact(initial)
    in_place: list[Contribution] = []
    by_setting: list[Contribution] = []
    for position in range(data.draw(st.integers(1, 6))):
        earlier = st.sets(st.integers(0, position - 1)) if position else st.just(set())
        parents = data.draw(earlier)
        ancestors = frozenset(parents).union(*(in_place[one].ancestors for one in parents))
        seen = fold(initial, [in_place[one] for one in sorted(ancestors)])
        context, plain = worked_on(seen, data.draw)
        in_place.append(Contribution(position, context.writes_since(seen), ancestors))
        by_setting.append(Contribution(position, diff(fresh(seen), plain), ancestors))
        # What a task holds on to after its end changes nothing any more.
        for value in context.values():
            if isinstance(value, list | dict):
                value.clear()
    assert exact(fold(initial, in_place)) == exact(fold(initial, by_setting))
    assert exact(initial) == before
