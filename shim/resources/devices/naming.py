"""How devices and all about them are named, and the shape all their lists have: so many at most, none twice."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from shim.api import names
from shim.api.status import FieldError
from shim.resources.causes import duplicate, invalid, named, required, too_long, too_many
from shim.resources.pods.sources import csi_driver

Rule = Callable[[str, Any], list[FieldError]]

LABEL_MAX = 63
POOL_MAX = names.SUBDOMAIN_MAX
_ID_MAX = 32
_KEY_MAX = 63 + 1 + _ID_MAX  # a domain, a slash and an identifier


def every(
    at: str, found: Sequence[Any] | None, rule: Rule, most: int = -1, key: Callable[[Any], Hashable] | None = None
) -> list[FieldError]:
    """A list: not more than ``most`` items, each in order, and no two with the same ``key``."""
    items = found or ()
    if 0 <= most < len(items):  # nothing more is looked at: that is what the limit is for
        return [too_many(at, len(items), most)]
    causes = [cause for index, item in enumerate(items) for cause in rule(f"{at}[{index}]", item)]
    if key is not None:
        seen: set[Hashable] = set()
        for index, item in enumerate(items):
            if key(item) in seen:
                causes.append(duplicate(f"{at}[{index}]", key(item)))
            seen.add(key(item))
    return causes


def each_entry(
    at: str, found: Mapping[str, Any] | None, key_rule: Rule, rule: Rule, most: int = -1, key_max: int = LABEL_MAX
) -> list[FieldError]:
    """A map: not more than ``most`` entries, each in order; complaints about keys name the map."""
    entries = found or {}
    if 0 <= most < len(entries):
        return [too_many(at, len(entries), most)]
    causes: list[FieldError] = []
    for name, item in entries.items():
        causes += key_rule(at, name)
        causes += rule(f"{at}[{_shortened(name, key_max)}]", item)
    return causes


def _shortened(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    left = most - len("...")
    return f"{text[: (left + 1) // 2]}...{text[len(text) - left // 2 :]}"


driver = csi_driver
"""Drivers of devices are named as those of storage are."""


def label(at: str, name: str) -> list[FieldError]:
    """Devices, requests, counters and their sets."""
    return named(at, name, names.dns1123_label)


def device_class(at: str, name: str) -> list[FieldError]:
    return named(at, name, names.dns1123_subdomain) if name else [required(at)]


def pool(at: str, name: str) -> list[FieldError]:
    """Subdomains, separated by slashes."""
    if not name:
        return [required(at)]
    causes = [too_long(at, POOL_MAX)] if len(name) > POOL_MAX else []
    return causes + [cause for part in name.split("/") for cause in named(at, part, names.dns1123_subdomain)]


def identifier(at: str, name: str) -> list[FieldError]:
    causes = [too_long(at, _ID_MAX)] if len(name) > _ID_MAX else []
    return causes + named(at, name, names.c_identifier)


def qualified(at: str, name: str) -> list[FieldError]:
    """``name`` or ``domain/name``: an attribute or a capacity; a second slash upstream overlooks."""
    parts = name.split("/")
    if len(parts) == 1:
        return identifier(at, name)
    if len(parts) > 2:
        return []
    domain, rest = parts
    causes = csi_driver(at, domain) if domain else [invalid(at, "", "the domain must not be empty")]
    return causes + (identifier(at, rest) if rest else [invalid(at, "", "the name must not be empty")])


def fully_qualified(at: str, name: str) -> list[FieldError]:
    causes = qualified(at, name)
    if "/" not in name:
        text = "a fully qualified name must be a domain and a name separated by a slash"
        causes.append(invalid(at, name, text))
    return causes


def entries(at: str, found: Mapping[str, Any] | None, rule: Rule) -> list[FieldError]:
    """A map by qualified names: attributes and capacities."""
    return each_entry(at, found, qualified, rule, key_max=_KEY_MAX)
