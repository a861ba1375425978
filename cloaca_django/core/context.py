"""Context, the JSON object that travels through a run, and its stored text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from cloaca_django.core.merge import REMOVED, Write, diff, diff_keys
from cloaca_django.core.redaction import redacted
from cloaca_django.core.values import (
    checked_item,
    checked_items,
    checked_object,
    same,
    text_of,
)
from cloaca_django.core.wording import said
from cloaca_django.errors import (
    ContextKeyExists,
    ContextKeyNotFound,
    ContextTooLarge,
    InvalidContext,
    InvalidContextType,
    MalformedContext,
    UnreadableContext,
    shown,
)

__all__ = [
    "Context",
    "decode",
    "decode_writes",
    "encode",
    "encode_writes",
]

_UNSET: Final = object()


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


# Reused, as the encoder is. Without the argument NaN and Infinity would be read.
_parsed = json.JSONDecoder(parse_constant=_refuse_constant).decode


class Context(Mapping[str, Any]):
    """The data of a run: text keys and JSON values.

    What goes in is checked and copied. A list or a dict that comes out is this context's own:
    changing it changes the context, and what was put there is checked when the context is stored,
    copied or turned into text. A key that holds ``None`` is present.
    """

    # _data is never shared for writing and its values are never changed in place: they may be
    # everybody's. _opened holds the copies that were handed out, which stand for those in _data.
    # _touched is complete with respect to _base only, so it counts only against that very dict.
    __slots__ = ("_base", "_data", "_opened", "_touched")

    _data: dict[str, Any]
    _base: dict[str, Any] | None
    _touched: dict[str, None]
    _opened: dict[str, Any]

    def __init__(self, data: Mapping[str, Any] | None = None) -> None:
        # Most are a dict, and the questions about abstract classes take longer than a small one.
        if type(data) is dict:
            self._data = checked_object(data)
        elif data is None:
            self._data = {}
        elif isinstance(data, Context):
            self._data = data.snapshot()
        elif isinstance(data, Mapping):
            self._data = checked_object(data)
        else:
            raise InvalidContextType(
                "$", f"context must be a mapping with str keys, not {type(data).__name__}"
            )
        self._base = None
        self._touched = {}
        self._opened = {}

    def set(self, key: str, value: Any) -> None:
        """Insert or replace. Raises InvalidContext for what JSON cannot hold."""
        name, item = checked_item(key, value)
        # ``context["n"] += [1]`` sets the very list that came out; it stays the context's own.
        if self._opened and self._opened.get(name) is not value:
            self._opened.pop(name, None)
        self._data[name] = item
        self._touched[name] = None

    def insert(self, key: str, value: Any) -> None:
        """Set a key that must be absent."""
        if key in self:
            raise ContextKeyExists(key)
        self.set(key, value)

    def update(self, key: str, value: Any) -> None:
        """Set a key that must be present."""
        if key not in self:
            raise ContextKeyNotFound(key, self._data)
        self.set(key, value)

    def remove(self, key: str) -> Any:
        """Remove a key and return its value; None if it is absent."""
        if key not in self:
            return None
        self._touched[key] = None
        value = self._data.pop(key)
        return self._opened.pop(key) if key in self._opened else _copied(value)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value, or ``default`` if the key is absent."""
        try:
            value = self._data.get(key, _UNSET)
        except Exception:  # what cannot be hashed is no text either
            value = _UNSET
        if value is _UNSET:
            _require_text(key)
            return default
        kind = type(value)
        return self._own(key, value) if kind is dict or kind is list else value

    def update_from_dict(self, data: Mapping[str, Any]) -> None:
        """Set every item; none if one of them is refused."""
        if not isinstance(data, Mapping):
            raise InvalidContextType("$", f"a mapping is needed, not {type(data).__name__}")
        items = data.snapshot() if isinstance(data, Context) else checked_object(data)
        self._data.update(items)
        self._touched.update(dict.fromkeys(items))
        for key in items:
            self._opened.pop(key, None)

    def to_dict(self) -> dict[str, Any]:
        """Return a copy that is the caller's to change."""
        return {key: _copied(value) for key, value in self._settled().items()}

    def to_json(self) -> str:
        """Return compact JSON; letters outside ASCII stay as they are."""
        return text_of(self._settled())

    @staticmethod
    def from_json(text: str) -> Context:
        """Read a JSON object. A key given twice has its last value."""
        if not isinstance(text, str):
            raise InvalidContextType("$", f"JSON text is needed, not {type(text).__name__}")
        try:
            data = _parsed(text)
        except RecursionError:  # thousands of brackets
            raise MalformedContext(said("nested too deeply")) from None
        except ValueError as error:  # also an integer of too many digits
            raise MalformedContext(_reason(error)) from None
        if type(data) is not dict:
            kind = type(data).__name__
            raise MalformedContext(said("a JSON object is needed, not %(kind)s", kind=kind))
        try:
            return Context(data)
        except InvalidContext as error:
            raise MalformedContext(str(error), of=error) from None

    def __getitem__(self, key: str) -> Any:
        try:
            value = self._data[key]
        except Exception:  # as in get(); KeyError in our own words, with the nearest key
            _require_text(key)
            raise ContextKeyNotFound(key, self._data) from None
        kind = type(value)
        return self._own(key, value) if kind is dict or kind is list else value

    def __setitem__(self, key: str, value: Any) -> None:
        self.set(key, value)

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise ContextKeyNotFound(key, self._data)
        self.remove(key)

    def __contains__(self, key: object) -> bool:
        try:
            found = key in self._data
        except Exception:  # as in get()
            found = False
        if not found:
            _require_text(key)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Context):
            return self._seen() == other._seen()
        if isinstance(other, Mapping):
            return self._seen() == dict(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # equal contexts may change and differ

    def __repr__(self) -> str:
        try:
            return f"Context({text_of(redacted(self._settled()))})"
        except InvalidContext as error:  # whoever looks for it must not be stopped by it
            return f"Context(<{error}>)"

    def copy(self) -> Context:
        """Return an independent context with the same content."""
        twin = Context.trusted(self._settled())
        twin._base = self._base
        twin._touched = dict(self._suspects())
        return twin

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> Context:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        return Context.trusted, (self.snapshot(),)

    @staticmethod
    def trusted(data: dict[str, Any]) -> Context:
        """Wrap what ``snapshot``, ``decode`` or ``fold`` gave; nothing is checked or copied.

        The caller must not change ``data`` or anything in it afterwards.
        """
        context = Context.__new__(Context)
        context._data = dict(data)
        context._base = data
        context._touched = {}
        context._opened = {}
        return context

    def snapshot(self) -> dict[str, Any]:
        """Return the content for the engine: values are shared and must not be changed.

        Raises InvalidContext for what was put in place and JSON cannot hold.
        """
        return dict(self._settled())

    def writes_since(self, base: dict[str, Any]) -> tuple[Write, ...]:
        """Return what differs from ``base``; as ``snapshot``.

        Cheap if this was made by ``trusted(base)``.
        """
        data = self._settled()
        if self._base is not base:
            return diff(base, data)
        keys = self._suspects()
        return diff_keys(base, data, keys=keys) if keys else ()

    def _own(self, key: str, value: Any) -> Any:
        """Return this context's own copy of a value, always the same one."""
        if key in self._opened:
            return self._opened[key]
        # Two threads of a task may read it first; setdefault lets one copy win.
        return self._opened.setdefault(key, _copied(value))

    def _seen(self) -> dict[str, Any]:
        """Return the content as it stands, unchecked."""
        return {**self._data, **self._opened} if self._opened else self._data

    def _settled(self) -> dict[str, Any]:
        """Return the content without a value that anybody outside can change.

        What was only read is still the shared value; what was changed in place is checked.
        """
        if not self._opened:
            return self._data
        changed = {
            key: own for key, own in list(self._opened.items()) if not same(own, self._data[key])
        }
        return {**self._data, **checked_items(changed)} if changed else self._data

    def _suspects(self) -> dict[str, None]:
        """Return the keys that may differ from the base."""
        return {**self._touched, **dict.fromkeys(self._opened)} if self._opened else self._touched


def encode(data: Mapping[str, Any], *, limit: int | None = None) -> str:
    """Return the stored text of checked data. ``limit`` is in bytes of UTF-8."""
    text = text_of(data if type(data) is dict else dict(data))
    _check_size(text, limit)
    return text


def decode(text: str, *, what: str = "context") -> dict[str, Any]:
    """Read what ``encode`` wrote. Raises UnreadableContext for anything else."""
    data = _loaded(text, what)
    if type(data) is not dict:
        raise UnreadableContext(what, "not a JSON object")
    return data


def encode_writes(writes: Iterable[Write], *, limit: int | None = None) -> str:
    """Return the stored text: a JSON list of [path, value], or [path] for a removal."""
    rows = [[path] if value is REMOVED else [path, value] for path, value in writes]
    text = text_of(rows) if rows else "[]"
    _check_size(text, limit)
    return text


def decode_writes(text: str | None, *, what: str = "changes of a task") -> tuple[Write, ...]:
    """Read what ``encode_writes`` wrote; None and the empty list are no writes."""
    if text is None or text == "[]":
        return ()
    rows = _loaded(text, what)
    if type(rows) is not list:
        raise UnreadableContext(what, "not a list of writes")
    return tuple(_write(row, what) for row in rows)


def _write(row: Any, what: str) -> Write:
    match row:
        case [[str(), *_] as path, value]:
            return Write(tuple(path), value)
        case [[str(), *_] as path]:
            return Write(tuple(path), REMOVED)
        case _:
            raise UnreadableContext(what, "not a list of writes")


def _check_size(text: str, limit: int | None) -> None:
    # No character takes more than four bytes, so small texts need no second look.
    if limit is None or len(text) * 4 <= limit:
        return
    size = len(text) if text.isascii() else len(text.encode())
    if size > limit:
        raise ContextTooLarge(size, limit)


def _loaded(text: str, what: str) -> Any:
    try:
        return _parsed(text)
    except (ValueError, TypeError, RecursionError) as error:  # edited by hand
        raise UnreadableContext(what, _reason(error)) from None


def _reason(error: Exception) -> str:
    # A JSONDecodeError's own text has no part of the document in it; other texts may.
    if isinstance(error, json.JSONDecodeError):
        return str(error)
    return said("a number that JSON does not have, or of too many digits")


def _require_text(key: object) -> None:
    if not isinstance(key, str):
        raise InvalidContextType("$", f"keys are str, not {type(key).__name__} {shown(key)}")


def _copied(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return {key: _copied(item) for key, item in value.items()}
    if kind is list:
        return [_copied(item) for item in value]
    return value
