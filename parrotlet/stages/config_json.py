"""Configurations as the JSON that recipe.json keeps, and back, with paths that last. Torch-free."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from parrotlet.core.errors import UsageError

T = TypeVar("T")


def with_absolute_paths(config: T) -> T:
    """The same with every path but --runs absolute, so that resuming works from any folder."""
    old: Any = config
    changes: dict[str, Any] = {}
    for each in dataclasses.fields(old):
        value = getattr(config, each.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            changes[each.name] = with_absolute_paths(value)
        elif isinstance(value, Path) and each.name != "runs":
            changes[each.name] = value.absolute()
        elif each.name == "data":
            changes[each.name] = tuple(path.absolute() for path in value)
    return typing.cast(T, dataclasses.replace(old, **changes))


def to_json(value: Any) -> Any:
    """A configuration as plain JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: to_json(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [to_json(each) for each in value]
    return value


def from_json(kind: type[T], value: Mapping[str, Any]) -> T:
    """The configuration that to_json turned into `value`.

    Raises UsageError naming a field that this version does not have.
    """
    hints = typing.get_type_hints(kind)
    unknown = sorted(value.keys() - hints.keys())
    if unknown:
        raise UsageError(f"unknown settings {unknown} for {kind.__name__}; they are from elsewhere")
    return kind(**{name: _typed(hints[name], each) for name, each in value.items()})


def _typed(hint: Any, value: Any) -> Any:
    """One JSON value as the type its field wants."""
    if isinstance(hint, types.UnionType):
        if value is None:
            return None
        hint = next(each for each in typing.get_args(hint) if each is not types.NoneType)
    if dataclasses.is_dataclass(hint):
        return from_json(typing.cast(type[Any], hint), value)
    if hint is Path:
        return Path(value)
    if typing.get_origin(hint) is tuple:
        return tuple(_typed(typing.get_args(hint)[0], each) for each in value)
    return value
