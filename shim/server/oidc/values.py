"""Claims as expressions see them: every number is a double, and ``claims.a__dot__b`` is the claim ``a.b``. Pure."""

from __future__ import annotations

from typing import Any

from shim.cel.openapi import unescape


class Escaped(dict[str, Any]):
    """A map whose keys may be asked for as fields, by names that stand for them."""

    def __contains__(self, key: object) -> bool:
        return super().__contains__(_plain(key))

    def __getitem__(self, key: str) -> Any:
        return super().__getitem__(_plain(key))


def as_seen(value: Any) -> Any:
    """A value of JSON, as upstream hands it to an expression."""
    if isinstance(value, dict):
        return Escaped((key, as_seen(item)) for key, item in value.items())
    if isinstance(value, list):
        return [as_seen(item) for item in value]
    return float(value) if value.__class__ is int else value


def _plain(key: Any) -> Any:
    return (unescape(key) or key) if isinstance(key, str) and "__" in key else key
