"""What a task changed, and how the changes of many tasks become one context.

Values are never changed in place, so results share everything that nobody wrote.

A write is a value or a removal at a path into objects. A task replaces what it could see: of two
writes on one path, or on a path and one of its prefixes, the one of the ancestor is void. Writes
of tasks that could not see each other merge. With that,

* a task that saw everything leaves exactly what its successor gets, and
* the result depends on the graph and on nothing that happened at run time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from itertools import pairwise
from typing import Any, Final, NamedTuple, TypeAlias

from cloaca_django.core.values import Json, same, sorted_text

Path: TypeAlias = tuple[str, ...]
Data: TypeAlias = dict[str, Any]


class Removed(Enum):
    """The type of REMOVED, so that it survives a copy and a pickle as itself."""

    REMOVED = "removed"

    def __repr__(self) -> str:
        return "REMOVED"


REMOVED: Final = Removed.REMOVED


class Write(NamedTuple):
    """One change. An object as the value means: there was none here, and now there is this one."""

    path: Path
    value: Json | Removed


class Contribution(NamedTuple):
    """What one completed task changed. ``ancestors`` holds the positions of all it waited for."""

    position: int
    writes: tuple[Write, ...]
    ancestors: frozenset[int]


def diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Write, ...]:
    """Return the writes that turn ``before`` into ``after``. Equal values are no write."""
    return diff_keys(before, after, keys={**before, **after})


def diff_keys(
    before: Mapping[str, Any], after: Mapping[str, Any], *, keys: Iterable[str]
) -> tuple[Write, ...]:
    """As ``diff``, looking at these top-level keys only."""
    return tuple(_changes(before, after, keys, ()))


def apply(data: Data, writes: Iterable[Write]) -> Data:
    """Return ``data`` after ``writes`` of a task that saw all of it."""
    state = _State(data)
    for path, value in writes:
        state.replace(path, value)
    return state.data


def fold(initial: Data, contributions: Sequence[Contribution]) -> Data:
    """Return ``initial`` with every contribution, given in topological order.

    Source: ruling 18 of the design. Keys that one chain of tasks wrote are simply written in
    order; only the others need to know who could see whom.
    """
    contributions = [one for one in contributions if one.writes]
    if _is_chain(contributions):
        return apply(initial, (write for one in contributions for write in one.writes))
    state = _State(initial)
    for writers in _by_key(contributions).values():
        if _is_chain(writers):
            for one in writers:
                for path, value in one.writes:
                    state.replace(path, value)
        else:
            _merge(state, writers)
    return state.data


def _changes(
    before: Mapping[str, Any], after: Mapping[str, Any], keys: Iterable[str], path: Path
) -> Iterator[Write]:
    for key in keys:
        if key not in after:
            if key in before:
                yield Write((*path, key), REMOVED)
            continue
        new = after[key]
        if key not in before:
            yield Write((*path, key), new)
            continue
        old = before[key]
        if old is new:
            continue
        # An object that lost its last key is written whole: as a list of removals it would
        # leave nothing behind that says there is still an object.
        if new and type(new) is dict and type(old) is dict:
            yield from _changes(old, new, {**old, **new}, (*path, key))
        elif not same(old, new):
            yield Write((*path, key), new)


def _is_chain(contributions: Sequence[Contribution]) -> bool:
    # Ancestry is transitive, so looking one back is enough.
    return all(earlier.position in later.ancestors for earlier, later in pairwise(contributions))


def _by_key(contributions: Sequence[Contribution]) -> dict[str, list[Contribution]]:
    """Return for each top-level key what each task wrote there, in topological order."""
    result: dict[str, list[Contribution]] = {}
    for one in contributions:
        written: dict[str, list[Write]] = {}
        for write in one.writes:
            written.setdefault(write.path[0], []).append(write)
        for key, writes in written.items():
            part = Contribution(one.position, tuple(writes), one.ancestors)
            result.setdefault(key, []).append(part)
    return result


def _merge(state: _State, writers: Sequence[Contribution]) -> None:
    """Apply what is not void. Everybody saw the initial data, so written paths lose theirs."""
    writers = _with_parts(writers)
    overseen = _overseen(writers)
    for path in overseen:
        state.replace(path, REMOVED)
    for one in writers:
        for path, value in one.writes:
            if value is not REMOVED and not _is_void(path, one.position, overseen):
                state.unite(path, value)


def _overseen(writers: Sequence[Contribution]) -> dict[Path, frozenset[int]]:
    """Return for each written path the positions that one of its writers could see."""
    result: dict[Path, frozenset[int]] = {}
    for one in writers:
        for path, _ in one.writes:
            seen = result.get(path)
            result[path] = one.ancestors if seen is None else seen | one.ancestors
    return result


def _is_void(path: Path, position: int, overseen: Mapping[Path, frozenset[int]]) -> bool:
    return any(position in overseen.get(path[:length], ()) for length in range(1, len(path) + 1))


def _with_parts(writers: Sequence[Contribution]) -> list[Contribution]:
    """Return the same with objects taken apart wherever somebody wrote inside of them."""
    inner = {
        write.path[:length]
        for one in writers
        for write in one.writes
        for length in range(1, len(write.path))
    }
    if not inner:
        return list(writers)
    return [
        one._replace(writes=tuple(part for write in one.writes for part in _parts(write, inner)))
        for one in writers
    ]


def _parts(write: Write, inner: set[Path]) -> Iterator[Write]:
    if type(write.value) is dict and write.value and write.path in inner:
        yield Write(write.path, {})
        for key, value in write.value.items():
            yield from _parts(Write((*write.path, key), value), inner)
    else:
        yield write


class _State:
    """A context under construction: copies an object when it first writes into it."""

    def __init__(self, initial: Data) -> None:
        self.data: Data = dict(initial)
        # By id. Holding the objects keeps their ids from being used again.
        self._own: dict[int, Data] = {id(self.data): self.data}

    def replace(self, path: Path, value: Any) -> None:
        """Set or remove what is at ``path``."""
        if value is REMOVED:
            holder = self._existing(path)
            if holder is not None:
                holder.pop(path[-1], None)
        else:
            self._holder(path)[path[-1]] = value

    def unite(self, path: Path, value: Any) -> None:
        """Set ``value`` where tasks that did not see this one may have written already."""
        holder = self._holder(path)
        key = path[-1]
        if key in holder:
            self._unite_into(holder, key, value)
        else:
            holder[key] = value

    def _unite_into(self, holder: Data, key: str, value: Any) -> None:
        present = holder[key]
        if type(value) is dict and type(present) is dict:
            inner = self._opened(holder, key)
            for name, item in value.items():
                if name in inner:
                    self._unite_into(inner, name, item)
                else:
                    inner[name] = item
        elif type(value) is list and type(present) is list:
            holder[key] = _united(present, value)
        else:
            holder[key] = value

    def _holder(self, path: Path) -> Data:
        """Return the object that ``path`` ends in, ours to change, making it where needed."""
        holder = self.data
        for key in path[:-1]:
            holder = self._opened(holder, key)
        return holder

    def _existing(self, path: Path) -> Data | None:
        """As ``_holder``, or None if there is nothing at ``path``."""
        present: Any = self.data
        for key in path:
            if type(present) is not dict or key not in present:
                return None
            present = present[key]
        return self._holder(path)

    def _opened(self, holder: Data, key: str) -> Data:
        inner = holder.get(key)
        if type(inner) is dict and id(inner) in self._own:
            return inner
        inner = dict(inner) if type(inner) is dict else {}
        self._own[id(inner)] = inner
        holder[key] = inner
        return inner


def _united(first: list[Any], second: list[Any]) -> list[Any]:
    """Return the first's elements, then the second's that are new, each once."""
    seen = {_identity(item) for item in first}
    result = list(first)
    for item in second:
        identity = _identity(item)
        if identity not in seen:
            seen.add(identity)
            result.append(item)
    return result


def _identity(item: Json) -> object:
    # Apart from each other: "1", 1, 1.0 and True.
    kind = type(item)
    return (kind, item) if kind is str or kind is int else sorted_text(item)
